"""Streams of one seed are reproducible and distinct, and nothing leaks into torch's global random state."""

import pytest
import torch

from commons import InputError
from sparse_training.seeding import derive, generator, isolated


def test_streams_are_reproducible_and_distinct():
    keys = [(), ("order",), ("order", 0), ("order", 1), ("masks",), ("masks", 0), (0, 1), (1, 0)]
    seeds = {derive(seed, *key) for seed in range(50) for key in keys}
    assert len(seeds) == 50 * len(keys)
    assert seeds == {derive(seed, *key) for seed in range(50) for key in keys}
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert torch.equal(torch.rand(3, generator=generator(1, "a")), torch.rand(3, generator=generator(1, "a")))


def test_draws_in_a_fence_repeat_and_leave_no_trace():
    state = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with isolated(5):
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_state_is_put_back_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), isolated(5):
        torch.rand(3) @ torch.rand(2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, 0.5, 2**63, float("nan"), "one"])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(InputError, match="seed="):
        derive(seed)
