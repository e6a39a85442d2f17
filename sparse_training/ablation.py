"""The paper's ablations as lists of variants, trained over seeds and compared in pairs with a baseline."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from commons.checks import choice, number
from commons.parallel import run_jobs
from commons.registry import Registry
from commons.statistics import holm, mean_interval, paired_interval, paired_p_value
from commons.verdicts import better
from sparse_training.runs.config import Config
from sparse_training.sweeps import Plan, Settings, Sweep
from sparse_training.sweeps.here import check_here, run_here
from sparse_training.sweeps.job import configuration_of
from sparse_training.sweeps.plan import Treatment
from sparse_training.training.many import Done, train_one, unique

DENSITIES = (0.2, 0.1, 0.05)
SCORES = ("random", "snip", "grasp", "synflow")
SIGN_IN = "reparam=sign-in"
HAM = ("reparam=ham", "reparam.alpha=5")  # the published 200 diverges on digits at the preset's learning rate


@dataclass(frozen=True)
class Variant:
    """One row of an ablation.

    settings: `field=value` texts over the base configuration. baseline: the label of the row that this one is compared
    with, seed by seed; empty for none.

    grid: learning rates to choose the best one from, on other seeds; empty for the configured one. speeds_of: the label
    of an earlier row whose mean speeds by layer become this one's layer rates. decay_of: likewise, for the weight decay
    with which plain weights have the equilibria of that row. `tuning.tuned` finds all three.
    """

    label: str
    settings: tuple[str, ...]
    baseline: str = ""
    grid: tuple[float, ...] = ()
    speeds_of: str = ""
    decay_of: str = ""


Ablation = Callable[[], list[Variant]]
ABLATIONS: Registry[Ablation] = Registry("a function without arguments that returns a list of Variant")


@ABLATIONS.register("scratch")
def scratch() -> list[Variant]:
    """Training from scratch at 90 % sparsity: a dense network, a random mask, and Sign-In under the same mask."""
    masked = ("mask.density=0.1", "mask.score=random")
    return [
        Variant("dense", ()),
        Variant("random", masked, "dense"),
        Variant("sign-in", (*masked, SIGN_IN, "reset.every=5"), "random"),
    ]


@ABLATIONS.register("reset")
def reset() -> list[Variant]:
    """Train with and without the reset, and with a plain weight."""
    return [
        Variant("plain", ("mask.density=0.1",)),
        Variant("Sign-In without reset", ("mask.density=0.1", SIGN_IN, "reset.every=0"), "plain"),
        Variant("Sign-In, reset each epoch", ("mask.density=0.1", SIGN_IN), "Sign-In without reset"),
        Variant("Sign-In, reset, momentum zeroed", ("mask.density=0.1", SIGN_IN, "reparam.momentum=zero"), "plain"),
        Variant(
            "Sign-In, reset, momentum transported", ("mask.density=0.1", SIGN_IN, "reparam.momentum=transport"), "plain"
        ),
    ]


@ABLATIONS.register("period")
def period() -> list[Variant]:
    """Vary the number of epochs between resets."""
    base = Variant("reset every 1", ("mask.density=0.1", SIGN_IN, "reset.every=1"))
    return [base] + [
        Variant(f"reset every {p}", ("mask.density=0.1", SIGN_IN, f"reset.every={p}"), base.label) for p in (2, 5, 10)
    ]


@ABLATIONS.register("beta")
def beta() -> list[Variant]:
    """Compare β = 1 with other values, and with values that grow or shrink toward the output."""
    base = Variant("β = 1", ("mask.density=0.1", SIGN_IN))
    return [base] + [
        Variant(f"β = {b}", ("mask.density=0.1", SIGN_IN, f"reparam.beta={b}"), base.label)
        for b in ("0.25", "4.0", "[0.5, 2.0]", "[0.25, 4.0]", "[2.0, 0.5]")
    ]


@ABLATIONS.register("density")
def density() -> list[Variant]:
    """Compare a plain weight with Sign-In at three densities."""
    found = []
    for share in DENSITIES:
        plain = f"density {share:g}, plain"
        found.append(Variant(plain, (f"mask.density={share}",)))
        found.append(Variant(f"density {share:g}, Sign-In", (f"mask.density={share}", SIGN_IN), plain))
    return found


@ABLATIONS.register("initialization")
def initialization() -> list[Variant]:
    """Prune at initialization by four scores, each plain, with Sign-In and with HAM, at three densities."""
    found = [Variant("dense", ())]
    for share, score in product(DENSITIES, SCORES):
        settings = (f"mask.density={share}", f"mask.score={score}")
        plain = f"{score} {1 - share:.0%}, plain"
        found.append(Variant(plain, settings, "dense"))
        found.append(Variant(f"{score} {1 - share:.0%}, Sign-In", (*settings, SIGN_IN), plain))
        found.append(Variant(f"{score} {1 - share:.0%}, HAM (α = 5)", (*settings, *HAM), plain))
    return found


@ABLATIONS.register("mechanism")
def mechanism() -> list[Variant]:
    """Sign-In, UnitSpeed, HAM and SparseOpt beside their controls at 10 %, each at its best learning rate.

    Weight decay is matched everywhere: θ decays by the same factor a step where the gradient is 0.
    """
    masked, layerwise = ("mask.density=0.1",), "reparam.beta=[0.25, 4.0]"
    plain, one, by_layer = "plain", "Sign-In, β = 1", "Sign-In, β = 0.25 to 4"
    rates = "layer rates at the speeds of "
    found = [
        Variant(plain, masked),
        Variant(one, (*masked, SIGN_IN), rates + one),
        Variant(rates + one, masked, plain, speeds_of=one),
        Variant(by_layer, (*masked, SIGN_IN, layerwise), rates + by_layer),
        Variant(rates + by_layer, masked, plain, speeds_of=by_layer),
        Variant("plain at the decay of " + by_layer, masked, plain, decay_of=by_layer),
        Variant("UnitSpeed, β = 1", (*masked, "reparam=unit-speed", "reparam.beta=1.0"), plain),
        Variant("UnitSpeed, β = rms", (*masked, "reparam=unit-speed"), plain),
        Variant("HAM, α = 5", (*masked, *HAM), plain),
        Variant("HAM, α = 200", (*masked, "reparam=ham"), plain),
        Variant("SparseOpt", (*masked, "scaling=sparse-opt"), plain),
        Variant("lr × 1/√density", (*masked, "scaling=root-density"), plain),
    ]
    return [replace(variant, grid=(0.05, 0.1, 0.2, 0.4)) for variant in found]


Folders = Mapping[str, Mapping[int, Path]]


def sweep_of(variants: Sequence[Variant], config: Config, seeds: Sequence[int], runs: Path) -> Sweep:
    """The sweep of an ablation: variants over the base configuration, each with every seed.

    Its ledger and its run folders lie in `runs`, under addresses, so that later calls and other ablations find them.

    Raises:
        InputError: no seed, two variants of one label, or a baseline that is no variant.
    """
    number("seeds", len(seeds), at_least=1)
    labels = [variant.label for variant in variants]
    unique("variant", labels)
    for variant in variants:
        choice("baseline", variant.baseline, ["", *labels])
    treatments = tuple(Treatment(variant.label, {}, config.with_set(variant.settings)) for variant in variants)
    return Sweep(Plan("ablation", treatments, tuple(seeds)), Settings(runs, runs / "ledger.jsonl"))


def folders_of(sweep: Sweep) -> Folders:
    """Where the runs of an ablation lie, by label and seed."""
    found: dict[str, dict[int, Path]] = {}
    for job in sweep.jobs:
        found.setdefault(job.arm, {})[job.seed] = job.folder
    return found


def train_variants(
    sweep: Sweep, *, workers: int = 0, progress: Done = lambda done, total: None, may_diverge: bool = False
) -> None:
    """Train every variant with every seed unless the ledger has it.

    progress: called with the numbers of finished and of all runs. may_diverge: whether a run that diverges is a result.

    Raises:
        InputError: what `check_here` finds before the first step, or a run that fails.
    """
    check_here(sweep, workers)
    run_here(sweep, workers, progress, may_diverge=may_diverge)


def restore_folders(sweep: Sweep, workers: int = 0) -> None:
    """Train again those finished runs of an ablation whose folders are gone, for callers that need the networks."""
    jobs = {job.folder: job for job in sweep.jobs if not (job.folder / "summary.json").exists()}
    for _ in run_jobs(train_one, [(configuration_of(job), folder) for folder, job in jobs.items()], workers):
        pass


def ablate(variants: Sequence[Variant], sweep: Sweep) -> list[dict[str, Any]]:
    """Compare the finished runs of `train_variants`, one row a variant.

    A row has the test accuracy in percent with half the width of its 95 % interval, the paired difference from the
    baseline in points with its 95 % interval, the p-value after Holm's correction, and the verdict on the claim that
    the variant is better than its baseline. A variant with a grid has its learning rate too, and the number of its runs
    that diverged; these count with accuracy 0.
    """
    accuracies: dict[str, list[float]] = {}
    diverged: Counter[str] = Counter()
    for job in sweep.jobs:
        line = sweep.ledger.at(job.address)[0]
        diverged[job.arm] += line["diverged"] is not None
        accuracies.setdefault(job.arm, []).append(0.0 if line["diverged"] else line["metrics"]["test_accuracy"])
    compared = [variant for variant in variants if variant.baseline]
    p_values = holm([paired_p_value(accuracies[v.label], accuracies[v.baseline]) for v in compared])
    adjusted = {variant.label: float(p) for variant, p in zip(compared, p_values, strict=True)}
    return [_row(variant, accuracies, diverged, adjusted.get(variant.label)) for variant in variants]


def _row(
    variant: Variant, accuracies: Mapping[str, list[float]], diverged: Mapping[str, int], p: float | None
) -> dict[str, Any]:
    own = mean_interval(accuracies[variant.label])
    difference = paired_interval(accuracies[variant.label], accuracies[variant.baseline]) if variant.baseline else None
    rate = next((text.partition("=")[2] for text in reversed(variant.settings) if text.startswith("optimizer.lr=")), "")
    return {
        "variant": variant.label,
        **({"lr": float(rate), "diverged": diverged[variant.label]} if variant.grid else {}),
        "seeds": own.n,
        "accuracy %": round(own.mean, 3),
        "±": round((own.high - own.low) / 2, 3),
        "against": variant.baseline or None,
        "difference": round(difference.mean, 3) if difference else None,
        "low": round(difference.low, 3) if difference else None,
        "high": round(difference.high, 3) if difference else None,
        "p (Holm)": p,
        "better": str(better(difference.mean, p)) if difference and p is not None else None,
    }
