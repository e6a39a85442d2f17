"""Baselines of text: probabilities sum to one, and n-grams learn what n − 1 bytes tell, and no more."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_training import data
from sparse_training.data.baselines import _tables, baselines, kneser_ney, unigram
from sparse_training.data.text import Text


@settings(max_examples=25)
@given(st.binary(min_size=6, max_size=200), st.binary(min_size=4, max_size=4), st.integers(1, 5))
def test_probabilities_of_all_bytes_sum_to_one(train: bytes, before: bytes, order: int) -> None:
    probability = np.full(256, 1 / 256)
    for n, table in enumerate(_tables(np.frombuffer(train, np.uint8), order), start=1):
        context = int.from_bytes(before[5 - n :])
        probability = table.interpolated((context << 8) + np.arange(256), probability)
    assert probability.sum() == pytest.approx(1)
    assert bool((probability > 0).all())


def test_counts_below_the_top_are_of_different_bytes_before() -> None:
    """In "San Francisco" style: a byte that follows one other only counts once, however often it is there."""
    train = np.frombuffer(b"ab" * 50 + b"acbcdc", np.uint8)
    lower = _tables(train, 2)[0]
    counts = dict(zip(lower.grams.tolist(), lower.counts.tolist(), strict=True))
    assert counts == {ord("a"): 1, ord("b"): 2, ord("c"): 3, ord("d"): 1}


def test_an_order_suffices_where_it_tells_the_next_byte() -> None:
    """A sequence in which 2 bytes tell the next one and 1 does not."""
    cycle = b"aabacbbcc"  # de Bruijn: each pair of letters once, so a pair tells what comes
    train, test = (np.frombuffer(cycle * n, np.uint8) for n in (200, 20))
    places = np.arange(5, len(test))
    assert kneser_ney(train, test, places, 2) == pytest.approx(np.log2(3), abs=0.05)
    assert kneser_ney(train, test, places, 3) < 0.05
    assert unigram(train, test) == pytest.approx(np.log2(3), abs=0.5)


def test_baselines_are_of_the_tested_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [bytes(rng.integers(97, 123, size=4, dtype=np.uint8)) for _ in range(30)]
    text = b"".join(b" ".join(words[i] for i in rng.integers(0, 30, 8)) + b"\n" for _ in range(3000))
    (tmp_path / "text").write_bytes(text)
    found = data.load("text", tmp_path / "text", context=16, test_crops=50)
    assert isinstance(found, Text)
    bits = baselines(found)
    labels = b"".join(bytes(row.tolist()) for _, y in found.test(50) for row in y)
    assert len(labels) == 50 * 16
    assert bits["zlib"] == pytest.approx(8 * len(zlib.compress(labels, 9)) / len(labels))
    assert bits["5-gram (Kneser-Ney)"] < bits["3-gram (Kneser-Ney)"] < bits["2-gram (Kneser-Ney)"] < bits["unigram"]
    entropy = np.log2(30) / 5  # a byte of a word and its space, of which 4 bytes before tell all but the first
    assert entropy < bits["5-gram (Kneser-Ney)"] < 1.25 * entropy
