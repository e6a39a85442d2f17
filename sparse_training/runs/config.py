"""`Config`: everything that determines a run, as one value, from presets, TOML files and `field=value` texts.

A run's folder holds the complete configuration, also the settings that were left at their defaults.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.checks import choice, number, refuse
from commons.files import read_text
from commons.registry import Registry
from sparse_training.masks import DISTRIBUTIONS, SCORES
from sparse_training.methods import METHODS, Method, Static, unmet_need
from sparse_training.reparam import REPARAMS, SCALINGS, Reparam, Scaling
from sparse_training.runs.optimizers import OPTIMIZERS, SCHEDULES, SGD, Cosine, Optimizer, Schedule
from sparse_training.runs.toml import Tree, as_tree, from_toml, from_tree, merged, parse_settings, to_toml
from sparse_training.runs.trust import Trust, check_trusted, code_in
from sparse_training.sign_init import SIGN_INITS

if TYPE_CHECKING:
    import torch

    from sparse_training.data import Data

VARIANTS: dict[str, Registry[Any]] = {
    "method": METHODS,
    "reparam": REPARAMS,
    "scaling": SCALINGS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
PRECISIONS = ("float32", "tf32", "bfloat16")
PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class DataSettings:
    """The data set. name: one of `data.DATASETS`. root: the folder of its files. augment: crops and mirror images.

    image_size: the side of the images in pixels. workers: threads that decode, 0 for one a core. context: tokens of a
    crop of text. crops: crops of an epoch. test_crops: crops of the held-out text that are tested. tokenizer: of text.
    All are arguments of `data.load`. TOML has no null: "" and 0 mean None.
    """

    name: str = "digits"
    root: str = ""
    augment: bool = True
    image_size: int = 0
    workers: int = 0
    context: int = 0
    crops: int = 0
    test_crops: int = 0
    tokenizer: str = ""

    def load(self, *, device: "torch.device | str" = "cpu", augment: bool | None = None, root: str = "") -> "Data":
        """The data set. augment, root: in place of these settings.

        Raises:
            InputError: as `data.load`.
        """
        from sparse_training import data

        return data.load(
            self.name,
            root or self.root or None,
            device=device,
            augment=self.augment if augment is None else augment,
            image_size=self.image_size or None,
            workers=self.workers,
            context=self.context or None,
            crops=self.crops or None,
            test_crops=self.test_crops or None,
            tokenizer=self.tokenizer or None,
        )


@dataclass(frozen=True)
class MaskSettings:
    """Which weights are active. density: share of the prunable weights that the trained network keeps; 1 is dense.

    score, distribution: as in `make_masks`; the distribution "usual" is `masks.usual_distribution(score)`.
    samples: number of training images in the batch that a score differentiates on. include, exclude: as in
    `masks.prunable`. file: a file of masks to use instead of computing them; "" means none.
    """

    density: float = 1.0
    score: str = "random"
    distribution: str = "usual"
    samples: int = 256
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    file: str = ""

    def __post_init__(self) -> None:
        hint = f"did you mean {self.density / 100:g}?" if 1 < self.density <= 100 else ""
        number("mask.density", self.density, above=0, at_most=1, hint=hint)
        number("mask.samples", self.samples, at_least=1, integer=True)
        if ":" not in self.score:
            choice("mask.score", self.score, SCORES)
        if ":" not in self.distribution:
            choice("mask.distribution", self.distribution, ["usual", *DISTRIBUTIONS])


@dataclass(frozen=True)
class SignInitSettings:
    """Which signs the weights begin with. name: one of `sign_init.SIGN_INITS`; "" leaves the signs as they were drawn.

    samples: number of training images that the method may look at.
    """

    name: str = ""
    samples: int = 512

    def __post_init__(self) -> None:
        number("sign_init.samples", self.samples, at_least=1, integer=True)
        if self.name and ":" not in self.name:
            choice("sign_init.name", self.name, SIGN_INITS)


@dataclass(frozen=True)
class ResetSettings:
    """When a reparametrization is reset: before the epochs every, 2·every, 3·every, ... (from 0) up to epoch `last`.

    every=0 means never, and last=0 means that there is no last reset.
    """

    every: int = 1
    last: int = 0

    def __post_init__(self) -> None:
        number("reset.every", self.every, at_least=0, integer=True)
        number("reset.last", self.last, at_least=0, integer=True)

    def before(self, epoch: int) -> bool:
        """Whether to reset before the epoch with this index (from 0)."""
        return bool(self.every and epoch and epoch % self.every == 0 and (not self.last or epoch <= self.last))


@dataclass(frozen=True)
class EngineSettings:
    """How a run is computed. Two runs have bit-identical results only if these settings are equal.

    device: a torch device; "auto" is cuda where there is one. threads: number of CPU threads; 0 leaves torch's own.
    precision: "float32"; "tf32", on cuda, where products and convolutions of float32 numbers round these to 10 bits;
    or "bfloat16" (autocast). Masks are scored in float32 under each of them. channels_last: memory format of the
    network. compile: compile the network with torch.compile. graphs: on cuda, replay the forward and backward pass as
    a CUDA graph, except for the last, shorter batch of an epoch; and the optimizer's step, with what reparametrization
    and masks do after it, as another one, if all that takes part in it may be recorded. deterministic: use only
    algorithms whose results do not vary between runs. accumulate: pieces of a batch that are passed one
    after the other, so that it takes the memory of one; their gradients add up to those of the batch.
    """

    device: str = "auto"
    threads: int = 0
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    graphs: bool = False
    deterministic: bool = True
    accumulate: int = 1

    def __post_init__(self) -> None:
        number("engine.accumulate", self.accumulate, at_least=1, integer=True)
        choice("engine.precision", self.precision, PRECISIONS)
        number("engine.threads", self.threads, at_least=0, integer=True)


@dataclass(frozen=True)
class CheckpointSettings:
    """What a run saves. every: epochs between saved networks; the first and the last are always saved.

    resume: epochs between the states from which a killed run goes on.
    """

    every: int = 1
    resume: int = 1

    def __post_init__(self) -> None:
        number("checkpoint.every", self.every, at_least=1, integer=True)
        number("checkpoint.resume", self.resume, at_least=1, integer=True)


@dataclass(frozen=True)
class Config:
    """A run. Equal configurations on one device give bit-identical weights and metrics.

    The sections data, mask, sign_init, method, reparam, scaling, reset, optimizer, schedule, engine and checkpoint are
    values of their own; reparam is None for plain weights, and scaling None where nothing multiplies gradients or
    learning rates. model: a name in `models.MODELS`, or "package.module:callable". epochs, batch_size: how often the
    training set is gone through, and images a step over all processes. seed: determines the weights, the masks and the
    order of the data. label_smoothing: of the cross-entropy, in [0, 1). clip: the largest norm that the gradient of all
    active parameters may have; 0 means no limit. start: a file of a network, as `runs.save_network` writes it, to begin
    from instead of the initialization; its masks, if it has any, are the run's.
    tensorboard: also write TensorBoard's files. source: where the numbers of a preset come from.

    Raises:
        InputError: a value out of range.
    """

    model: str = "mlp"
    seed: int = 0
    epochs: int = 30
    batch_size: int = 128
    label_smoothing: float = 0.0
    clip: float = 0.0
    start: str = ""
    tensorboard: bool = False
    source: str = ""
    data: DataSettings = DataSettings()
    mask: MaskSettings = MaskSettings()
    sign_init: SignInitSettings = SignInitSettings()
    method: Method = field(default_factory=Static)
    reparam: Reparam | None = None
    scaling: Scaling | None = None
    reset: ResetSettings = ResetSettings()
    optimizer: Optimizer = field(default_factory=SGD)
    schedule: Schedule = field(default_factory=Cosine)
    engine: EngineSettings = EngineSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()

    def __post_init__(self) -> None:
        number("seed", self.seed, at_least=0, below=2**63, integer=True)
        number("epochs", self.epochs, at_least=1, integer=True)
        number("batch_size", self.batch_size, at_least=1, integer=True)
        number("label_smoothing", self.label_smoothing, at_least=0, below=1)
        number("clip", self.clip, at_least=0)
        need = unmet_need(self.method, self.reparam)
        if self.reparam is not None and need:
            refuse("reparam.name", self.reparam.name, f"defined with method={self.method.name!r}", need)

    @classmethod
    def preset(cls, name: str) -> "Config":
        """A preset by name; `presets()` lists them."""
        choice("preset", name, presets())
        return cls.load(PRESETS / f"{name}.toml")

    @classmethod
    def load(cls, path: str | Path, trust: Trust = False) -> "Config":
        """Read the TOML file at `path`; what it leaves out has its default.

        trust: the code that the file may name, as a list of "package.module:callable", or True for any.

        Raises:
            InputError: the file cannot be read, something in it is wrong, or it names code that is not trusted.
        """
        return cls.from_tree(read_settings(path, trust))

    @classmethod
    def from_tree(cls, tree: Tree) -> "Config":
        """Build from nested dictionaries, as `tree` gives them."""
        config: Config = from_tree(cls, tree, VARIANTS)
        return config

    def with_set(self, texts: Iterable[str]) -> "Config":
        """A copy with settings such as `optimizer.lr=0.2`, `reparam=sign-in`, `reparam.beta=[0.5, 2]`."""
        return self.with_tree(parse_settings(texts))

    def with_tree(self, change: Tree) -> "Config":
        """A copy with the values of nested dictionaries."""
        return self.from_tree(merged(self.tree(), change, VARIANTS))

    def with_data(self, text: str) -> "Config":
        """A copy on the data set that `--data` names, or `with_root` the path that it names."""
        from sparse_training.data.named import named

        name, root = named(text)
        return self.with_set([f"data.name={name}"]) if name else self.with_root(root)

    def with_root(self, root: str) -> "Config":
        """A copy whose data lie at `root`; one on Python's own sources reads the text there in their place."""
        name = "text" if self.data.name == "python-text" else self.data.name
        return replace(self, data=replace(self.data, root=root, name=name))

    def tree(self) -> Tree:
        """Nested dictionaries with every value, the defaults too."""
        return as_tree(self, VARIANTS)

    @property
    def code(self) -> list[str]:
        """The names of code to import in this configuration, as "package.module:callable"."""
        return list(code_in(self.tree(), VARIANTS).values())

    def to_toml(self) -> str:
        """TOML with every value; `load` reads it back to an equal configuration."""
        return to_toml(self.tree())


def read_settings(path: str | Path, trust: Trust = False) -> Tree:
    """The settings that a TOML file holds, as nested dictionaries; trust and errors as in `Config.load`."""
    tree = from_toml(read_text(path), str(path))
    check_trusted(tree, VARIANTS, trust, str(path))
    return tree


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))
