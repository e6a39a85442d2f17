"""The problem of hard digits: its splits, masks and starts, and its training against a plain torch loop."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training.problems import DigitsHard
from sparse_training.problems.digits_hard import ORIGINS, _splits, _spread
from sparse_training.problems.networks import outputs
from sparse_training.seeding import generator
from sparse_training.sign_init import SIGN_INITS

SHORT = DigitsHard(width=12, density=0.2, samples=300, steps=8, sign_samples=80)
ARMS = {arm.label: arm for arm in SHORT.arms()}
WEIGHTS = 64 * 12 + 12 * 12 + 12 * 10


def test_every_image_is_in_one_split_of_each_seed_s_own() -> None:
    (x, y), (tx, ty) = _splits((3, 5), 300)
    assert x.shape == (2, 300, 64)
    assert tx.shape == (2, 1497, 64)
    for first, rest in ((x, tx), (y, ty)):
        both = torch.cat([first, rest], 1).double()
        assert torch.equal(both[0].sort(0).values, both[1].sort(0).values)
    assert not torch.equal(y[0], y[1])
    assert torch.equal(_splits((5,), 300)[0][0][0], x[1])


def test_training_is_that_of_a_plain_loop() -> None:
    seed, lr = 7, 0.02
    start, masks, _ = SHORT._start(ARMS["plain"], (seed,))
    weights = [w[0].clone().requires_grad_() for w in start]
    engine = torch.optim.Adam(weights, lr=lr)
    (x, y), (tx, ty) = _splits((seed,), 300)
    for step, index in enumerate(torch.randint(300, (8, 32), generator=generator(seed, "digits-hard", "batches"))):
        engine.param_groups[0]["lr"] = lr * (1 - step / 8)
        engine.zero_grad()
        cross_entropy(outputs(weights, x[0, index]), y[0, index]).backward()
        for weight, mask in zip(weights, masks, strict=True):
            assert weight.grad is not None
            weight.grad *= mask[0]
        engine.step()
    wrong = (outputs(weights, tx[0]).argmax(-1) != ty[0]).double().mean()
    found = SHORT.run(ARMS["plain"], [5, seed], [0.01, lr])
    assert found.loss[1, 1] == pytest.approx(wrong.item(), abs=2 / 1497)


@pytest.mark.parametrize("label", list(ARMS))
def test_every_arm_keeps_as_many_weights_and_only_signs_of_the_draw_change(label: str) -> None:
    arm, seeds = ARMS[label], (0, 1)
    start, masks, cost = SHORT._start(arm, seeds)
    for index in range(2):
        active = sum(int(mask[index].sum()) for mask in masks)
        assert active == (WEIGHTS if arm.dense else round(0.2 * WEIGHTS))
    origin = ORIGINS.get(arm.start)
    assert (cost > 0) == (origin is not None and origin.signs in SIGN_INITS)
    if origin is not None and not arm.dense:
        unsigned, same, _ = SHORT._start(replace(arm, start=_drawn_with(origin.mask)), seeds)
        for w, own, mask, other in zip(start, unsigned, masks, same, strict=True):
            assert torch.equal(mask, other)
            assert torch.equal(w.abs(), own.abs())
            assert ((w != 0) == (mask > 0)).all()


def _drawn_with(mask: str) -> str:
    return next(label for label, origin in ORIGINS.items() if origin.mask == mask and origin.signs == "drawn")


@pytest.mark.parametrize("label", ["dense", "Sign-In β = 1", "mask of dense, its signs"])
def test_training_stays_on_the_support_and_one_seed_is_that_seed_alone(label: str) -> None:
    several = SHORT.run(ARMS[label], [4, 9], [0.01], full=True)
    alone = SHORT.run(ARMS[label], [9], [0.01], full=True)
    assert several.loss[1, 0] == pytest.approx(alone.loss[0, 0], abs=2 / 1497)
    assert len(several.speeds) == 3
    assert list(several.measures) == [f"flips, layer {layer}" for layer in (1, 2, 3)]
    assert all(((shares >= 0) & (shares <= 1)).all() for shares in several.measures.values())


def test_masked_layers_give_as_much_as_dense_ones() -> None:
    stream = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 200, 100, generator=stream)
    mask = (torch.rand(3, 200, 100, generator=stream) < 0.1).float()
    spread = _spread(weight, mask)
    torch.testing.assert_close(spread.square().sum((-1, -2)), weight.square().sum((-1, -2)), rtol=0.1, atol=0.0)
    assert ((spread != 0) == (mask > 0)).all()


def test_too_many_training_images_are_refused() -> None:
    with pytest.raises(InputError, match="samples=1700"):
        DigitsHard(samples=1700)
