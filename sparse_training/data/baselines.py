"""What simple models give for the bytes that a network is tested on, so that its bits per byte mean something."""

import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from commons.checks import refuse
from sparse_training.data.text import Text

Codes = NDArray[np.int64]
ORDER = 5


def baselines(text: Text, order: int = ORDER, report: Callable[[int, int], object] | None = None) -> dict[str, float]:
    """Bits per byte of the labels of all test crops, by the name of the model.

    n-grams are trained on the training text, and see the held-out bytes before each label even where these belong to
    another crop. zlib and xz compress the labels one after the other and see no training text. report(done, of) is
    called after each model.

    Raises:
        InputError: the text is not read as bytes.
    """
    if text.num_classes != 256:
        refuse("tokenizer", "set", "left out: baselines are of bytes")
    train, test = (text.tokens[split].cpu().numpy() for split in ("train", "test"))
    places = text.test_places().flatten().numpy()
    labels = test[places].tobytes()
    grams = {f"{n}-gram (Kneser-Ney)": partial(kneser_ney, train, test, places, n) for n in range(2, order + 1)}
    models: dict[str, Callable[[], float]] = {
        "unigram": lambda: unigram(train, test[places]),
        **grams,
        "zlib": lambda: 8 * len(zlib.compress(labels, 9)) / len(labels),
        "xz": lambda: 8 * len(lzma.compress(labels, preset=9 | lzma.PRESET_EXTREME)) / len(labels),
    }
    found = {}
    for done, (name, measure) in enumerate(models.items(), start=1):
        found[name] = measure()
        if report is not None:
            report(done, len(models))
    return found


def unigram(train: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Bits per byte of labels under the frequencies of bytes in `train`, each counted once more than it is there."""
    counts = np.bincount(train, minlength=256) + 1
    return float(-np.log2(counts / counts.sum())[labels].mean())


def kneser_ney(train: NDArray[np.uint8], test: NDArray[np.uint8], places: Codes, order: int) -> float:
    """Bits per byte of test[places] under interpolated Kneser-Ney of an order up to 7 (Chen & Goodman 1999, eq. 26)."""
    tables = _tables(train, order)
    probability = np.full(len(places), 1 / 256)
    for n, table in enumerate(tables, start=1):
        probability = table.interpolated(_grams(test, places, n), probability)
    return float(-np.log2(probability).mean())


@dataclass(frozen=True, eq=False)
class _Table:
    """Counts of the n-grams of one order, coded as numbers of n bytes, and of their contexts of n − 1.

    grams, counts: sorted n-grams and how often each is there. contexts, totals, kinds: of each context the number of
    n-grams that begin with it, and of different ones. discount: n₁/(n₁ + 2 n₂).
    """

    grams: Codes
    counts: Codes
    contexts: Codes
    totals: Codes
    kinds: Codes
    discount: float

    @classmethod
    def of(cls, grams: Codes, counts: Codes) -> "_Table":
        contexts, first = np.unique(grams >> 8, return_index=True)
        once, twice = (int((counts == n).sum()) for n in (1, 2))
        kinds = np.diff(np.append(first, len(grams)))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        return cls(grams, counts, contexts, np.add.reduceat(counts, first), kinds, discount)

    def interpolated(self, asked: Codes, lower: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of the last byte of each n-gram, given that of the order below."""
        count = _looked_up(self.grams, self.counts, asked)
        total = _looked_up(self.contexts, self.totals, asked >> 8)
        kinds = _looked_up(self.contexts, self.kinds, asked >> 8)
        known = np.maximum(total, 1)
        mixed = np.maximum(count - self.discount, 0) / known + self.discount * kinds / known * lower
        return np.where(total > 0, mixed, lower)


def _tables(train: NDArray[np.uint8], order: int) -> list[_Table]:
    """Tables of order 1 to n: true counts at the top, below it the number of different bytes before each n-gram."""
    grams, counts = np.unique(_grams(train, np.arange(order - 1, len(train)), order), return_counts=True)
    tables = [_Table.of(grams, counts)]
    for n in range(order - 1, 0, -1):
        grams, counts = np.unique(grams & ((1 << 8 * n) - 1), return_counts=True)
        tables.append(_Table.of(grams, counts))
    return tables[::-1]


def _grams(text: NDArray[np.uint8], places: Codes, n: int) -> Codes:
    """The n bytes that end at each place as one number; before the text come line feeds."""
    padded = np.concatenate((np.full(n, ord("\n"), np.uint8), text)).astype(np.int64)
    code = np.zeros(len(places), np.int64)
    for back in range(n - 1, -1, -1):
        code = code << 8 | padded[places + n - back]
    return code


def _looked_up(keys: Codes, values: Codes, asked: Codes) -> Codes:
    """The value of each key that is asked for, 0 for one that is not there."""
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)
