"""Changing a support keeps its count, keeps what is large, and grows what scores highest."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.masks import Masks
from sparse_training.methods.support import keep_largest, replace


@st.composite
def layers(draw):
    seed, size = draw(st.integers(0, 10**6)), draw(st.integers(1, 60))
    rng = torch.Generator().manual_seed(seed)
    mask = torch.rand(size, generator=rng) < draw(st.floats(0, 1))
    weight = torch.randint(-3, 4, (size,), generator=rng).float() * mask
    return weight, mask, draw(st.integers(0, size)), torch.randint(0, 4, (size,), generator=rng).float()


@given(layers())
def test_as_many_grow_as_are_dropped(case):
    weight, mask, count, growth = case
    after = replace(weight, mask, count, growth)
    assert after.sum() == mask.sum()
    assert (mask & ~after).sum() == (after & ~mask).sum() <= count


@given(layers())
def test_what_is_dropped_is_smallest_and_what_grows_scores_highest(case):
    weight, mask, count, growth = case
    after = replace(weight, mask, count, growth)
    dropped, kept, grown = mask & ~after, mask & after, after & ~mask
    if dropped.any():
        larger = int((weight[kept].abs() < weight[dropped].abs().max()).sum())
        assert larger <= count - int(dropped.sum())  # those that were dropped and came back at once
    if grown.any():
        assert growth[grown].min() >= max(growth[~after].tolist(), default=-1.0)


@given(layers(), st.floats(0.05, 1))
def test_the_largest_are_kept_within_the_support(case, density):
    weight, mask, _, _ = case
    within = Masks({"w": mask})
    kept = keep_largest({"w": weight}, density)["w"]
    assert int(kept.sum()) == max(1, round(density * mask.numel()))
    if not kept.all():
        assert weight[kept].abs().min() >= weight[~kept].abs().max()
    if int(mask.sum()) >= kept.sum():
        nested = keep_largest({"w": weight}, density, within)["w"]
        assert not (nested & ~mask).any()
        assert nested.sum() == kept.sum()
