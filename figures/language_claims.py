"""The paper's claims asked of language models: answers from the ledger of a sweep on text, seed by seed.

Fewer bits per byte are better, so a difference is given as the bits per byte that one arm wins over another.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import holm, paired_interval, paired_p_value
from commons.verdicts import above, below, opposite, recovers
from figures import claims
from figures.claims import Answer, Finding, gain_of, needed
from figures.published import RANDOM_MASK, sign_alignment

if TYPE_CHECKING:
    from sparse_training.sweeps import Ledger
    from sparse_training.sweeps.ledger import Record
    from sparse_training.sweeps.table import Comparison

Line = Mapping[str, Any]  # of a ledger
Measure = Callable[[Line], float | None]

UNIT = "bits per byte won"
EFFECT = 0.02  # bits per byte: about a hundredth of what these networks reach, and the smallest gain that counts
CONTEXT = 128  # bytes of a crop where a run says nothing else

PLAIN, SIGN_IN, RATES, ACDC, DENSE = "plain", "Sign-In", "layer rates", "AC/DC", "dense"
FINAL, EARLY = "AC/DC's mask, final signs", "AC/DC's mask, signs of epoch 4"
RANDOM, MAGNITUDES = "AC/DC's mask, random signs", "AC/DC's mask, random signs, learned magnitudes"
ARMS = (PLAIN, SIGN_IN, RATES, ACDC, DENSE, FINAL, EARLY, RANDOM, MAGNITUDES)

TO_SPARSE = "a random mask trained from scratch loses to dense-to-sparse training (AC/DC)"
BETTER = "Sign-In trains better than plain weights under the same mask"
THAN_RATES = "Sign-In trains better than plain weights whose layers have rates of their own"
LAST_BLOCK = "Sign-In flips most near the output (last block against the mean of all others)"
FURTHER = "the last block is further ahead with Sign-In than with plain training"


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of one sweep on text.

    header: what the ledger says of the sweep.   comparisons: the rows of its table.   arms: lines of the ledger, of the
    runs that did not diverge, by arm and seed.
    """

    header: "Record"
    comparisons: "tuple[Comparison, ...]"
    arms: Mapping[str, Mapping[int, Line]]

    @classmethod
    def of(cls, ledger: "Ledger", sweep: str) -> "Runs":
        from sparse_training.sweeps.table import compare, header_of

        comparisons = tuple(compare(ledger, sweep))
        arms = {
            each.arm: {seed: line for seed, line in each.records.items() if line["diverged"] is None}
            for each in comparisons
            if not each.point
        }
        return cls(header_of(ledger, sweep), comparisons, arms)

    @property
    def sweep(self) -> str:
        """The name of the sweep."""
        return str(self.header["sweep"])

    @property
    def rung(self) -> str:
        """What this experiment is called beside others."""
        return f"language, {self.epochs} epochs"

    @property
    def lines(self) -> list[Line]:
        """Those of all arms."""
        return [line for runs in self.arms.values() for line in runs.values()]

    @property
    def epochs(self) -> int:
        """Epochs of the longest run."""
        return max((line["metrics"]["epochs"] for line in self.lines), default=0)

    @property
    def bytes_read(self) -> int:
        """Bytes that the longest run trains on; those that come again count again."""
        return max((_bytes_read(line) for line in self.lines), default=0)

    def pairs(self, first: str, second: str, measure: Measure) -> tuple[list[float], list[float]]:
        """What is measured of two arms, on the seeds that both have."""
        own, other = self.arms.get(first, {}), self.arms.get(second, {})
        values = [(measure(own[seed]), measure(other[seed])) for seed in sorted(own.keys() & other.keys())]
        both = [(a, b) for a, b in values if a is not None and b is not None]
        return [a for a, _ in both], [b for _, b in both]

    @property
    def sign_ins(self) -> list[str]:
        """The arms of Sign-In, which differ in β: "Sign-In", which is β = 1, "Sign-In, β = 0.1", ..."""
        return [arm for arm in self.arms if arm.partition(",")[0] == SIGN_IN] or [SIGN_IN]


def bits(line: Line) -> float | None:
    """Bits per byte of the held-out text."""
    found: float | None = line["metrics"]["bits_per_byte"]
    return found


def flipped(line: Line) -> float | None:
    """Active weights that end with another sign than they began with, in %."""
    return _shares(line, lambda name: "all").get("all")


def flipped_by_kind(line: Line) -> dict[str, float]:
    """The share of such weights by the kind of matrix (q, k, v, ...), and of all, in %."""
    from sparse_training.kinds import by_kind

    found = _shares(line, lambda name: next(iter(by_kind([name]))))
    return found | _shares(line, lambda name: "all")


def last_block_ahead(line: Line) -> float | None:
    """The share of such weights in the last block minus its mean over all other blocks, in % of their weights."""

    def block(name: str) -> int | None:
        told = re.match(r"blocks\.(\d+)\.", name)
        return int(told[1]) if told else None

    shares = [share for _, share in sorted(_shares(line, block).items())]
    return shares[-1] - float(np.mean(shares[:-1])) if len(shares) > 1 else None


def curvature(line: Line) -> float | None:
    """λ_max of the last network."""
    return line["sharpness"]["value"] if line["sharpness"] else None


def _shares(line: Line, group: Callable[[str], Any]) -> dict[Any, float]:
    """Flipped weights by a group of layers, in %; a layer whose group is None counts nowhere."""
    flips = line["flips"] or {"columns": [], "layers": {}}
    counts: dict[Any, tuple[int, int]] = {}
    for name, row in flips["layers"].items():
        own, key = dict(zip(flips["columns"], row, strict=True)), group(name)
        flipped, compared = counts.get(key, (0, 0))
        counts[key] = flipped + own["flipped"], compared + own["compared"]
    return {
        key: 100 * flipped / compared for key, (flipped, compared) in counts.items() if key is not None and compared
    }


def _bytes_read(line: Line) -> int:
    settings = line["settings"]
    crop = settings["data"].get("context", CONTEXT)
    return int(line["metrics"]["epochs"] * settings["data"]["crops"] * crop)


def findings_of(runs: Runs) -> list[Finding]:
    """Each claim that can be asked of language models with the answer of one sweep, also where it was not tested."""
    before, after = (RANDOM_MASK.value(f"CIFAR-10, ResNet-20, {arm}", "90 %") for arm in ("random", "random + Sign-In"))
    final = "final signs + learned mask"
    return [
        _won(runs, claims.LOSES, "–", DENSE, PLAIN),
        _won(runs, TO_SPARSE, claims.IN_WORDS, ACDC, PLAIN),
        _won(runs, claims.SIGNS, sign_alignment(final, "random init + learned mask"), FINAL, RANDOM),
        *_recoveries(runs),
        *(_won(runs, BETTER, f"CIFAR-10, ResNet-20: {before} → {after}", arm, PLAIN) for arm in runs.sign_ins),
        *(_won(runs, THAN_RATES, "–", arm, RATES) for arm in runs.sign_ins),
        *(found for arm in runs.sign_ins for found in _of_flips_and_curvature(runs, arm)),
    ]


def _of_flips_and_curvature(runs: Runs, arm: str) -> list[Finding]:
    """What is claimed of Sign-In beside its loss; arm: one of its arms."""
    ahead, _ = runs.pairs(arm, arm, last_block_ahead)
    return [
        _held(runs, arm, claims.MORE, runs.pairs(arm, PLAIN, flipped), "% of weights"),
        _held(runs, arm, LAST_BLOCK, (ahead, [0.0] * len(ahead)), "% of weights"),
        _held(runs, arm, FURTHER, runs.pairs(arm, PLAIN, last_block_ahead), "% of weights"),
        _held(runs, arm, claims.FLATTER, runs.pairs(arm, PLAIN, curvature), "in λ_max", less=True),
    ]


def _rung(runs: Runs, arm: str) -> str:
    """What this experiment is called beside others, with the β of an arm of Sign-In that has another than 1."""
    beta = arm.removeprefix(SIGN_IN)
    return runs.rung + beta if beta.startswith(",") else runs.rung


def _won(runs: Runs, claim: str, published: str, better: str, than: str) -> Finding:
    """Whether an arm has fewer bits per byte than another, by a gain that counts."""
    own, other = runs.pairs(better, than, bits)
    if not own:
        return Finding(claim, published)
    return Finding(claim, published, (gain_of(_rung(runs, better), other, own, UNIT, EFFECT, 3),))


def _recoveries(runs: Runs) -> list[Finding]:
    """Which starts on AC/DC's mask do as well as AC/DC, within the smallest gain that counts; p-values are Holm's."""
    asked = (
        (claims.RECOVERS, "final signs + learned mask", FINAL),
        (claims.EARLY, "signs of epoch 30 + learned mask", EARLY),
        (claims.MAGNITUDES, "final magnitudes + learned mask", MAGNITUDES),
    )
    pairs = {claim: pair for claim, _, start in asked if (pair := runs.pairs(ACDC, start, bits))[0]}
    adjusted = dict(zip(pairs, holm([paired_p_value(*pair) for pair in pairs.values()]), strict=True))
    found = []
    for claim, row, _ in asked:
        answers: tuple[Answer, ...] = ()
        if claim in pairs:
            difference = paired_interval(*pairs[claim])
            verdict = recovers(difference, float(adjusted[claim]), EFFECT)
            verdict = opposite(verdict) if claim == claims.MAGNITUDES else verdict
            missing = needed(np.subtract(*pairs[claim]), EFFECT)
            answers = (Answer(runs.rung, difference.signed(UNIT, 3), verdict, missing),)
        found.append(Finding(claim, sign_alignment(row), answers))
    return found


def _held(
    runs: Runs, arm: str, claim: str, pair: tuple[list[float], list[float]], unit: str, less: bool = False
) -> Finding:
    """Whether the first values, which are of `arm`, exceed the second, or for `less` stay under them."""
    if not pair[0]:
        return Finding(claim, claims.IN_WORDS)
    difference, missing = paired_interval(*pair), needed(np.subtract(*pair))
    verdict = below(difference) if less else above(difference)
    return Finding(claim, claims.IN_WORDS, (Answer(_rung(runs, arm), difference.signed(unit), verdict, missing),))
