"""The digits experiments of `reproduce`: which networks are trained, from which starts, and what is read off them.

Each job leaves its result in a file and is done when that file stands; all numbers come from sparse_training/.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.files import write_json
from commons.parallel import run_jobs

if TYPE_CHECKING:
    from sparse_training.runs.run import Run

PRESETS = {"mlp": "digits-mlp", "cnn": "digits-cnn"}
ARMS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "random": ("mask.density=0.1", "mask.score=random"),
    "sign-in": ("mask.density=0.1", "mask.score=random", "reparam=sign-in", "reset.every=5"),
}
SOURCE = "magnitude pruning"  # gradual, of the dense network: where the transplants come from
# sparser than the arms: at 0.1 every start of digits does equally well; at 0.02 the cnn's source itself fails
SOURCE_SETTINGS = {
    "mlp": ("mask.density=0.02", "method=gmp"),
    "cnn": ("mask.density=0.05", "method=gmp"),
}
EARLY = (1, 3)  # of 30 epochs; the paper's are 10 and 30 of its 100
# name of the start: (signs, magnitudes), all under the learned mask
CELLS = {
    **{f"signs of epoch {k} + learned mask": (f"epoch:{k}", "random") for k in EARLY},
    "final signs + learned mask": ("final", "random"),
    "final magnitudes + learned mask": ("random", "learned"),
    "final signs + final magnitudes + learned mask": ("final", "learned"),
    "random init + learned mask": ("random", "random"),
}

Advance = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Trained:
    """A network of the experiments: the run in `path`, of this model, arm (or start) and seed."""

    model: str
    arm: str
    seed: int
    path: Path

    @property
    def run(self) -> "Run":
        from sparse_training.runs.run import Run

        return Run(self.path)

    @property
    def curvature(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(_curvature_file(self.path).read_text(encoding="utf-8"))
        return found


def run_all(out: Path, seeds: int, device: str, workers: int, advance: Advance) -> tuple[list[Trained], list[Trained]]:
    """Train everything that is not there yet; returns (the arms, the transplants with their sources).

    advance(what, done, total) is called as jobs end.
    """
    arms = [Trained(m, a, s, _place(out, m, a, s)) for m in PRESETS for a in ARMS for s in range(seeds)]
    sources = [Trained(m, SOURCE, s, _place(out, m, SOURCE, s)) for m in PRESETS for s in range(seeds)]
    cells = [Trained(s.model, c, s.seed, _place(out, s.model, c, s.seed)) for s in sources for c in CELLS]

    first = [(PRESETS[t.model], ARMS[t.arm], t.seed, device, t.path) for t in arms]
    first += [(PRESETS[t.model], SOURCE_SETTINGS[t.model], t.seed, device, t.path) for t in sources]
    _work("training", _train, first, workers, advance)
    by_seed = {(t.model, t.seed): t.path for t in sources}
    second = [(by_seed[t.model, t.seed], *CELLS[t.arm], t.seed, device, t.path) for t in cells]
    _work("transplanting", _transplant, second, workers, advance)
    _work("curvature", _measure_curvature, [(t.path, t.seed, device) for t in (*arms, *sources)], workers, advance)
    return arms, [*sources, *cells]


def _work(what: str, job: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int, advance: Advance) -> None:
    advance(what, 0, len(jobs))
    for done, _ in enumerate(run_jobs(job, jobs, workers), start=1):
        advance(what, done, len(jobs))


def _place(out: Path, model: str, arm: str, seed: int) -> Path:
    return out / "runs" / model / arm.replace(" + ", "+").replace(" ", "-") / f"seed-{seed}"


def _train(preset: str, settings: Sequence[str], seed: int, device: str, path: Path) -> None:
    from sparse_training.runs.config import Config
    from sparse_training.training.loop import train

    path.parent.mkdir(parents=True, exist_ok=True)
    train(Config.preset(preset).with_set([*settings, f"seed={seed}", f"engine.device={device}"]), path)


def _transplant(source: Path, signs: str, magnitudes: str, seed: int, device: str, path: Path) -> None:
    """Train the source's network from a start of its own mask and chosen signs and magnitudes; nothing else is kept."""
    from sparse_training import models
    from sparse_training.runs.checkpoint import save_network
    from sparse_training.runs.run import Run
    from sparse_training.seeding import derive
    from sparse_training.training.loop import train
    from sparse_training.transplant import Cell, Source, build_start

    run = Run(source)
    first, last = run.network(0), run.network()
    fresh = models.build(run.config.model, **last.info["inputs"], seed=derive(seed, "transplant"))
    start = build_start(
        Cell(signs=signs, magnitudes=magnitudes),
        Source(first.state, last.state, run.masks(), lambda epoch: run.weights(epoch)),
        fresh.state_dict(),
        seed,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}-start.safetensors")
    save_network(file, start.state, start.masks)
    train(run.config.with_set(["method=static", f"start={file}", f"engine.device={device}"]), path)


def _measure_curvature(path: Path, seed: int, device: str) -> None:
    """The maximum Hessian eigenvalue of the trained network by power iteration, on all training images."""
    from torch.nn.functional import cross_entropy

    from sparse_training import data
    from sparse_training.runs.run import Run
    from sparse_training.sharpness import HessianOperator, power_iteration

    file = _curvature_file(path)
    if file.exists():
        return
    run = Run(path)
    samples = data.load(run.config.data.name, device=device).samples("train")
    operator = HessianOperator(run.model().to(device), cross_entropy, samples, masks=run.masks())
    pair = power_iteration(operator, seed=seed)
    numbers = {key: value for key, value in asdict(pair).items() if key != "vector"}
    write_json(file, {key: None if value != value else value for key, value in numbers.items()})


def _curvature_file(path: Path) -> Path:
    return path.with_name(f"{path.name}-curvature.json")
