"""The paper's ablations as lists of variants, trained over seeds and compared in pairs with a baseline.

It reports what was measured and calls nothing a success.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from commons.checks import choice, number
from commons.parallel import run_jobs
from commons.statistics import holm, mean_interval, paired_interval, paired_p_value
from sparse_training.runs.config import Config
from sparse_training.training.loop import train

DENSITIES = (0.2, 0.1, 0.05)
SCORES = ("random", "snip", "grasp", "synflow")
SIGN_IN = "reparam=sign-in"
HAM = ("reparam=ham", "reparam.alpha=5")  # the published 200 diverges on digits at the preset's learning rate


@dataclass(frozen=True)
class Variant:
    """A row: settings over the preset's, and the label of the row that it is compared with, seed by seed."""

    label: str
    settings: tuple[str, ...]
    baseline: str = ""


def reset() -> list[Variant]:
    """With and without the reset, against a plain weight."""
    return [
        Variant("plain", ("mask.density=0.1",)),
        Variant("Sign-In without reset", ("mask.density=0.1", SIGN_IN, "reset.every=0"), "plain"),
        Variant("Sign-In, reset each epoch", ("mask.density=0.1", SIGN_IN), "Sign-In without reset"),
        Variant("Sign-In, reset, momentum zeroed", ("mask.density=0.1", SIGN_IN, "reparam.momentum=zero"), "plain"),
        Variant(
            "Sign-In, reset, momentum transported", ("mask.density=0.1", SIGN_IN, "reparam.momentum=transport"), "plain"
        ),
    ]


def period() -> list[Variant]:
    """Epochs between resets."""
    base = Variant("reset every 1", ("mask.density=0.1", SIGN_IN, "reset.every=1"))
    return [base] + [
        Variant(f"reset every {p}", ("mask.density=0.1", SIGN_IN, f"reset.every={p}"), base.label) for p in (2, 5, 10)
    ]


def beta() -> list[Variant]:
    """One β against β that grows or shrinks toward the output."""
    base = Variant("β = 1", ("mask.density=0.1", SIGN_IN))
    return [base] + [
        Variant(f"β = {b}", ("mask.density=0.1", SIGN_IN, f"reparam.beta={b}"), base.label)
        for b in ("0.25", "4.0", "[0.5, 2.0]", "[0.25, 4.0]", "[2.0, 0.5]")
    ]


def density() -> list[Variant]:
    """Plain against Sign-In at three densities."""
    found = []
    for share in DENSITIES:
        plain = f"density {share:g}, plain"
        found.append(Variant(plain, (f"mask.density={share}",)))
        found.append(Variant(f"density {share:g}, Sign-In", (f"mask.density={share}", SIGN_IN), plain))
    return found


def initialization() -> list[Variant]:
    """Pruning at initialization by four scores, each plain, with Sign-In and with HAM, at three densities."""
    found = [Variant("dense", ())]
    for share, score in product(DENSITIES, SCORES):
        settings = (f"mask.density={share}", f"mask.score={score}")
        plain = f"{score} {1 - share:.0%}, plain"
        found.append(Variant(plain, settings, "dense"))
        found.append(Variant(f"{score} {1 - share:.0%}, Sign-In", (*settings, SIGN_IN), plain))
        found.append(Variant(f"{score} {1 - share:.0%}, HAM (α = 5)", (*settings, *HAM), plain))
    return found


ABLATIONS: dict[str, Callable[[], list[Variant]]] = {
    kind.__name__: kind for kind in (reset, period, beta, density, initialization)
}


def ablate(
    name: str,
    config: Config,
    seeds: Sequence[int],
    runs: Path,
    *,
    workers: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Train every variant of an ablation with every seed, in folders below `runs` that later calls find again.

    Returns one row a variant: test accuracy in percent with the half width of its 95 % interval, and the paired
    difference from its baseline in points with its 95 % interval and the p-value after Holm's correction.

    Raises:
        InputError: an unknown ablation, or no seed.
    """
    variants = ABLATIONS[choice("ablation", name, ABLATIONS)]()
    number("seeds", len(seeds), at_least=1)
    jobs = []
    for (index, variant), seed in product(enumerate(variants), seeds):
        chosen = config.with_set([*variant.settings, f"seed={seed}"])
        jobs.append((chosen.to_toml(), str(runs / name / f"{index:02}" / f"seed-{seed}")))
    accuracies: dict[int, float] = {}
    for done, (job, accuracy) in enumerate(run_jobs(_trained, jobs, workers), start=1):
        accuracies[job] = accuracy
        progress(done, len(jobs))
    by_label = {
        variant.label: [accuracies[index * len(seeds) + k] for k in range(len(seeds))]
        for index, variant in enumerate(variants)
    }
    compared = [variant for variant in variants if variant.baseline]
    p_values = holm([paired_p_value(by_label[v.label], by_label[v.baseline]) for v in compared])
    adjusted = {variant.label: float(p) for variant, p in zip(compared, p_values, strict=True)}
    return [_row(variant, by_label, adjusted.get(variant.label)) for variant in variants]


def _row(variant: Variant, accuracies: dict[str, list[float]], p: float | None) -> dict[str, Any]:
    own = mean_interval(accuracies[variant.label])
    difference = paired_interval(accuracies[variant.label], accuracies[variant.baseline]) if variant.baseline else None
    return {
        "variant": variant.label,
        "seeds": own.n,
        "accuracy %": round(own.mean, 3),
        "±": round((own.high - own.low) / 2, 3),
        "against": variant.baseline or None,
        "difference": round(difference.mean, 3) if difference else None,
        "low": round(difference.low, 3) if difference else None,
        "high": round(difference.high, 3) if difference else None,
        "p (Holm)": p,
    }


def _trained(toml: str, out: str) -> float:
    """Test accuracy in percent of a run, trained now or earlier."""
    from sparse_training.runs.toml import from_toml

    Path(out).parent.mkdir(parents=True, exist_ok=True)
    return train(Config.from_tree(from_toml(toml, out)), out).test_accuracy
