"""The paper's ablations as lists of variants, trained over seeds and compared in pairs with a baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from commons.checks import choice, number
from commons.registry import Registry
from commons.statistics import holm, mean_interval, paired_interval, paired_p_value
from commons.verdicts import better
from sparse_training.runs.address import address, folder_name
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.many import Done, train_all, unique

DENSITIES = (0.2, 0.1, 0.05)
SCORES = ("random", "snip", "grasp", "synflow")
SIGN_IN = "reparam=sign-in"
HAM = ("reparam=ham", "reparam.alpha=5")  # the published 200 diverges on digits at the preset's learning rate


@dataclass(frozen=True)
class Variant:
    """One row of an ablation.

    settings: `field=value` texts over the base configuration. baseline: the label of the row that this one is compared
    with, seed by seed; empty for none.
    """

    label: str
    settings: tuple[str, ...]
    baseline: str = ""


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


Folders = Mapping[str, Mapping[int, Path]]


@dataclass(frozen=True)
class Plan:
    """The runs of an ablation: variants, each trained with every seed over the base configuration, in folders below
    `runs`.

    The folders are named by everything that determines their runs, so that later calls find them again and another
    configuration gets others.

    Raises:
        InputError: no seed, two variants of one label, or a baseline that is no variant.
    """

    variants: Sequence[Variant]
    config: Config
    seeds: Sequence[int]
    runs: Path

    def __post_init__(self) -> None:
        number("seeds", len(self.seeds), at_least=1)
        labels = [variant.label for variant in self.variants]
        unique("variant", labels)
        for variant in self.variants:
            choice("baseline", variant.baseline, ["", *labels])

    def configurations(self) -> dict[tuple[str, int], Config]:
        """What is trained, by label and seed."""
        chosen = {variant.label: self.config.with_set(variant.settings) for variant in self.variants}
        return {(label, seed): replace(config, seed=seed) for label, config in chosen.items() for seed in self.seeds}

    def folders(self) -> Folders:
        """Where it is trained, by label and seed."""
        found: dict[str, dict[int, Path]] = {}
        for (label, seed), config in self.configurations().items():
            folder = self.runs / folder_name(f"{label} seed {seed}", address(config))
            found.setdefault(label, {})[seed] = folder
        return found

    def jobs(self) -> list[tuple[Config, Path]]:
        """Each configuration with its folder."""
        folders = self.folders()
        return [(config, folders[label][seed]) for (label, seed), config in self.configurations().items()]


def train_variants(plan: Plan, *, workers: int = 0, progress: Done = lambda done, total: None) -> Folders:
    """Train every variant with every seed unless it is trained; return the folders of the runs, by label and seed.

    progress: called with the numbers of finished and of all runs.

    Raises:
        InputError: what `check_runs` finds before the first step, or a run that fails.
    """
    train_all(plan.jobs(), workers, progress)
    return plan.folders()


def ablate(variants: Sequence[Variant], folders: Folders) -> list[dict[str, Any]]:
    """Compare the finished runs of `train_variants`, one row a variant.

    A row has the test accuracy in percent with half the width of its 95 % interval, the paired difference from the
    baseline in points with its 95 % interval, the p-value after Holm's correction, and the verdict on the claim that
    the variant is better than its baseline.
    """
    accuracies = {
        label: [Run(folder).summary["test_accuracy"] for folder in by_seed.values()]
        for label, by_seed in folders.items()
    }
    compared = [variant for variant in variants if variant.baseline]
    p_values = holm([paired_p_value(accuracies[v.label], accuracies[v.baseline]) for v in compared])
    adjusted = {variant.label: float(p) for variant, p in zip(compared, p_values, strict=True)}
    return [_row(variant, accuracies, adjusted.get(variant.label)) for variant in variants]


def _row(variant: Variant, accuracies: Mapping[str, list[float]], p: float | None) -> dict[str, Any]:
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
        "better": str(better(difference.mean, p)) if difference and p is not None else None,
    }
