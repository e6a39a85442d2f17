"""Random sign histories: the packed file gives every sign back, and one pass counts as a walk along each weight."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparse_training.signs import SignHistory, SignWriter, agreement, flip_table, flips_by_layer, pack_signs

EPOCHS = [0, 1, 2, 5, 6, 9]
SHAPES = {"first": (3, 3), "second": (2, 2, 2), "third": (1,)}


@st.composite
def histories(draw):
    """θ in {−2, …, 2} and masks, (epochs, *shape) by layer; off the mask θ is 0, as everywhere in the project."""
    count = draw(st.integers(1, len(EPOCHS)))
    weights, masks = {}, {}
    for name, shape in SHAPES.items():
        masks[name] = draw(arrays(np.bool_, (count, *shape)))
        weights[name] = draw(arrays(np.int8, (count, *shape), elements=st.integers(-2, 2))) * masks[name]
    return weights, masks


def record(weights, masks, folder):
    writer = SignWriter(Path(folder) / "signs.bin", SHAPES)
    for i in range(len(weights["first"])):
        theta = {name: torch.from_numpy(values[i]).float() for name, values in weights.items()}
        support = {name: torch.from_numpy(values[i]) for name, values in masks.items()}
        writer.write(EPOCHS[i], pack_signs(theta, support))
    return SignHistory(writer.path)


@given(histories())
def test_the_packed_file_gives_back_every_sign_and_mask(case):
    weights, masks = case
    with tempfile.TemporaryDirectory() as folder:
        history = record(weights, masks, folder)
        frames = list(history)
    assert [frame.epoch for frame in frames] == EPOCHS[: len(frames)]
    for i, frame in enumerate(frames):
        for name in SHAPES:
            np.testing.assert_array_equal(frame.signs[name], np.sign(weights[name][i]))
            np.testing.assert_array_equal(frame.active[name], masks[name][i])


def walk(theta, active):
    """One weight's flips, one at a time in float: list of (index of the epoch, survives to the end)."""
    flips, last = [], 0.0
    for i, (value, on) in enumerate(zip(theta, active, strict=True)):
        if not on:
            flips = [(j, False) for j, _ in flips]
            last = 0.0
            continue
        if value * last < 0:
            flips = [(j, False) for j, _ in flips] + [(i, True)]
        last = value if value != 0 else last
    return flips


@given(histories())
def test_flips_equal_a_walk_along_every_weight(case):
    weights, masks = case
    with tempfile.TemporaryDirectory() as folder:
        table = flip_table(record(weights, masks, folder))
    count = len(weights["first"])
    rows = {(row.layer, row.epoch): row for row in table.rows}
    for name in SHAPES:
        theta = weights[name].reshape(count, -1).astype(np.float32)
        active = masks[name].reshape(count, -1)
        walks = [walk(theta[:, k], active[:, k]) for k in range(theta.shape[1])]
        np.testing.assert_array_equal(table.flips[name].ravel(), [len(flips) for flips in walks])
        for i in range(count):
            row, before = rows[name, EPOCHS[i]], active[i - 1] if i else np.zeros_like(active[0])
            here = [survives for flips in walks for j, survives in flips if j == i]
            both = active[i] & active[0]
            assert (row.flipped, row.surviving) == (len(here), sum(here))
            assert row.cumulative == sum(j <= i for flips in walks for j, _ in flips)
            assert (row.active, row.zero) == (active[i].sum(), (active[i] & (theta[i] == 0)).sum())
            assert row.compared == (active[i] & before).sum()
            assert row.since_init.active == both.sum()
            assert row.since_init.flipped == (both & (theta[i] * theta[0] < 0)).sum()


@given(histories(), st.sampled_from([0.01, 0.25, 0.5, 1.0]))
def test_settling_is_the_first_epoch_after_which_few_still_flip(case, share):
    weights, masks = case
    with tempfile.TemporaryDirectory() as folder:
        table = flip_table(record(weights, masks, folder))
    final = sum(int(m[-1].sum()) for m in masks.values())

    def later(epoch):
        return sum(row.surviving for row in table.rows if row.epoch > epoch) / max(final, 1)

    settled = table.settling(share)
    assert settled == table.epochs[-1] or later(settled) < share
    assert all(later(epoch) >= share for epoch in table.epochs if epoch < settled)


@given(histories())
def test_every_pair_agrees_flips_or_has_a_zero(case):
    weights, masks = case
    first, last = ({n: torch.from_numpy(w[i]).float() for n, w in weights.items()} for i in (0, -1))
    start, end = ({n: torch.from_numpy(m[i]) for n, m in masks.items()} for i in (0, -1))
    forth, back = flips_by_layer(first, last, start, end), flips_by_layer(last, first, end, start)
    assert forth == back
    for counts in forth.values():
        assert counts.same + counts.flipped + counts.zero == counts.active
    negated = {name: -w for name, w in last.items()}
    flipped = flips_by_layer(first, negated, start, end)
    assert [(c.same, c.flipped) for c in flipped.values()] == [(c.flipped, c.same) for c in forth.values()]
    assert 0 <= agreement(first, last, start, end) <= 1


@given(histories())
def test_kinds_are_layers_of_one_name_and_their_counts_add_up(case):
    weights, masks = case
    with tempfile.TemporaryDirectory() as folder:
        table = flip_table(record(weights, masks, folder))
    assert table.kinds() == {name: [name] for name in SHAPES}
    named = replace(table, flips={"a.0.q.weight": 0, "a.0.o.weight": 1, "a.1.q.weight": 2})
    assert named.kinds() == {"q": ["a.0.q.weight", "a.1.q.weight"], "o": ["a.0.o.weight"]}
    parts = [table.summed("some", ["first", "third"]), table.summed("other", ["second"])]
    for total, *groups in zip(table.totals(), *parts, strict=True):
        for count in ("weights", "active", "zero", "compared", "flipped", "surviving", "cumulative"):
            assert getattr(total, count) == sum(getattr(group, count) for group in groups)
        assert total.since_init == groups[0].since_init + groups[1].since_init
