"""Everything that determines a run, as one value: presets, TOML, `field=value` texts.

It starts nothing; a run's folder holds it complete, also what was left at its default.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commons.checks import choice, number, refuse
from commons.files import read_text
from commons.registry import Registry
from sparse_training.methods import METHODS, Method, Static, unmet_need
from sparse_training.reparam import REPARAMS, Reparam
from sparse_training.runs.optimizers import OPTIMIZERS, SCHEDULES, SGD, Cosine, Optimizer, Schedule
from sparse_training.runs.toml import Tree, as_tree, from_toml, from_tree, merged, parse_settings, to_toml

VARIANTS: dict[str, Registry[Any]] = {
    "method": METHODS,
    "reparam": REPARAMS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class DataSettings:
    """Arguments of `data.load`; root "" and image_size 0 are its None."""

    name: str = "digits"
    root: str = ""
    augment: bool = True
    image_size: int = 0
    workers: int = 0


@dataclass(frozen=True)
class MaskSettings:
    """The support. density: share of the prunable weights that the trained network keeps; 1 is a dense network.

    score, distribution: as in `make_masks`; distribution "usual" is erk for random and global for the others.
    samples: training images in the batch that a score differentiates on. file: masks to take instead.
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


@dataclass(frozen=True)
class ResetSettings:
    """When a reparametrization is reset: before epochs every, 2·every, ... up to `last`; 0: never, and no last one."""

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
    """How, and never what, is computed; results are bit-identical only among equal settings.

    device: "auto" is cuda where there is one. threads: of the CPU, 0 leaves torch's own. precision: float32 or
    bfloat16 (autocast). compile: torch.compile of the network. graphs: forward and backward as one CUDA graph.
    deterministic: algorithms whose results do not vary between runs.
    """

    device: str = "auto"
    threads: int = 0
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    graphs: bool = False
    deterministic: bool = True

    def __post_init__(self) -> None:
        choice("engine.precision", self.precision, ("float32", "bfloat16"))
        number("engine.threads", self.threads, at_least=0, integer=True)


@dataclass(frozen=True)
class CheckpointSettings:
    """every: epochs between saved networks (the first and the last are always saved). resume: epochs between the
    states that a killed run goes on from."""

    every: int = 1
    resume: int = 1

    def __post_init__(self) -> None:
        number("checkpoint.every", self.every, at_least=1, integer=True)
        number("checkpoint.resume", self.resume, at_least=1, integer=True)


@dataclass(frozen=True)
class Config:
    """A run. Equal configurations on one device give bit-identical weights and metrics.

    model: a name of `models.build`. start: file of a network to begin from instead of `model`'s initialization, as
    `runs.save_network` writes it; its masks, if it has any, are the run's. clip: largest norm of the gradient of all
    active parameters, 0 for none. source: where the numbers of a preset come from.

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
    method: Method = field(default_factory=Static)
    reparam: Reparam | None = None
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
    def load(cls, path: str | Path) -> "Config":
        """Read a TOML file; what it leaves out has its default. InputError names what is wrong."""
        return cls.from_tree(from_toml(read_text(path), str(path)))

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

    def tree(self) -> Tree:
        """Nested dictionaries with every value, the defaults too."""
        return as_tree(self, VARIANTS)

    def to_toml(self) -> str:
        """TOML with every value; `load` reads it back to an equal configuration."""
        return to_toml(self.tree())


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))
