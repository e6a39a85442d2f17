"""Three questions on which the literature disagrees, each measured where it can be: flips, norms, permutations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from commons.statistics import mean_interval, paired_interval
from commons.verdicts import Verdict, above
from figures.bench import Arms
from figures.claims import IN_WORDS, Answer, Finding, gain_of, needed
from figures.experiments import LEARNED_REST, Trained
from figures.findings import MARGIN, by_seed

Row = dict[str, Any]
PARTS = ("smallest quarter of |θ₀|", "second", "third", "largest quarter of |θ₀|")
LOCKED = "most weights never flip their sign (arXiv 2602.17063)"
EARLY_FLIPS = "ever by epoch 10 (%)"
NORMALIZED = "signs suffice only with the learned normalization (arXiv 2504.05357)"
PERMUTED = "a permutation explains half of what a mask loses on another initialization (arXiv 2505.05143)"
SHARES = (EARLY_FLIPS, "ever (%)", "raw (%)", "effective (%)", "settled (%)")
OWN, OTHER, MATCHED = "mask of dense", "mask of another dense", "mask of another dense, matched"
ARMS = (OWN, OTHER, MATCHED)


def fate_rows(trained: Sequence[Trained]) -> list[Row]:
    """One row a network and quarter of its weights by |θ₀|, and one for all: shares of active weights in percent."""
    from sparse_training.runs.run import Run
    from sparse_training.signs import Fates, fates

    rows = []
    for network in trained:
        run = Run(network.path)
        weights, masks = [run.weights(epoch) for epoch in run.epochs], run.masks()
        early = fates([w for epoch, w in zip(run.epochs, weights, strict=True) if epoch <= 10], masks)
        parts = fates(weights, masks)
        both = [*zip(PARTS, parts, early, strict=True), ("all", sum(parts, Fates()), sum(early, Fates()))]
        for part, whole, first in both:
            shares = {f"{name} (%)": 100 * share for name, share in whole.shares().items()}
            own = {"model": network.model, "arm": network.arm, "seed": network.seed, "weights": part}
            rows.append(own | {EARLY_FLIPS: 100 * first.shares()["ever"]} | shares)
    return rows


def flips_finding(rows: Sequence[Row]) -> Finding:
    """Whether more than half of the active weights never flip in plain training by random masks."""
    answers = []
    for model in dict.fromkeys(row["model"] for row in rows):
        plain = [row for row in rows if (row["model"], row["arm"], row["weights"]) == (model, "random", "all")]
        kept = mean_interval([100 - row["ever (%)"] for row in plain])
        kinds = ("raw", "effective", "settled")
        texts = [f"{kind} {np.mean([row[f'{kind} (%)'] for row in plain]):.1f}" for kind in kinds]
        early = f"{np.mean([row[EARLY_FLIPS] for row in plain]):.1f} flip within ten epochs"
        measured = f"{kept} % never flip; {', '.join(texts)}; {early}"
        answers.append(Answer(f"digits, {model}", measured, above(kept, 50.0)))
    return Finding(LOCKED, "Sign-In's paper says that many flip in the first ten epochs", tuple(answers))


def normalization_finding(starts: Sequence[Mapping[str, Any]], signs: str) -> Finding:
    """Whether keeping the learned normalization adds to the start with final signs; only the cnn has one."""
    if not any(row["source"] == "cnn" for row in starts):
        return Finding(NORMALIZED, IN_WORDS)
    kept, drawn = (by_seed(starts, "accuracy", source="cnn", start=start) for start in (LEARNED_REST, signs))
    return Finding(NORMALIZED, IN_WORDS, (gain_of("digits, cnn", kept, drawn, "points", MARGIN),))


def permutation_finding(arms: Arms) -> Finding:
    """Whether matching neurons wins back half of the error that a mask from another initialization adds."""
    own, other, matched = (np.array(arms.values(arm)) for arm in ARMS)
    lost, more = paired_interval(other, own), (other - matched) - (other - own) / 2
    excess = mean_interval(more)
    measured = f"{lost.signed('points lost')}, {paired_interval(other, matched).signed('won back')}"
    # where nothing is lost there is nothing to explain
    verdict = above(excess) if lost.low > 0 else Verdict.NOT_RESOLVED
    return Finding(PERMUTED, "in words: much of it", (Answer("digits-hard", measured, verdict, needed(more)),))
