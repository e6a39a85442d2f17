"""The problem of eight neurons: its gradients and Hessians, its starts, and a batch of seeds against single runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse_training.problems import Arm, Neurons
from sparse_training.problems.base import mean_speeds
from sparse_training.problems.measuring import measure_arm, tune
from sparse_training.problems.neurons import (
    QUADRANTS,
    STARTS,
    Weights,
    _measures,
    _on_all_inputs,
    batch_gradient,
    draw,
    recovered,
    sharpness,
)
from sparse_training.problems.tables import comparison, controls, quadrants
from theory import separate_gradient, separate_loss

SHORT = Neurons(steps=30, sign_samples=200)
ARMS = {arm.label: arm for arm in SHORT.arms()}


def flat(weights: Weights) -> list[torch.Tensor]:
    return [x[..., 0] for x in (weights.a, weights.w, weights.b, weights.v)]


@pytest.mark.parametrize("problem", [SHORT, replace(SHORT, optimizer="sgd", decay=0.1)], ids=["gd", "sgd"])
@pytest.mark.parametrize("label", list(ARMS))
def test_a_batch_of_seeds_and_rates_equals_single_runs_bit_for_bit(problem: Neurons, label: str) -> None:
    arm = ARMS[label]
    if arm.dense and problem.optimizer == "sgd":
        pytest.skip("batches of dense neurons go through matrix products")
    seeds, rates = range(3, 12), [0.05, 0.2, 0.7]
    together = problem.run(arm, seeds, rates)
    for row, column in ((0, 1), (8, 2)):
        alone = problem.run(arm, [seeds[row]], [rates[column]])
        assert alone.loss[0, 0] == together.loss[row, column]


@pytest.mark.parametrize("dense", [False, True])
def test_the_gradient_of_a_batch_is_that_of_its_loss(dense: bool) -> None:
    weights = draw([1, 2], dense)
    a, w = weights.a.requires_grad_(), weights.w.requires_grad_()
    x = torch.randn(32, 32, 2, 1, dtype=torch.float64)
    for seed in range(2):
        spread = (lambda t: t) if dense else _on_all_inputs
        heads = [(a, w), (weights.b, weights.v)]
        outputs = [(x[:, :, seed, 0] @ spread(m[:, :, seed, 0]).T).relu() @ c[:, seed, 0] for c, m in heads]
        loss = (outputs[0] - outputs[1]).square().mean() / 2
        automatic = torch.autograd.grad(loss, (a, w))
        claimed = batch_gradient(a.detach(), w.detach(), weights.b, weights.v, x)
        for one, other in zip(claimed, automatic, strict=True):
            torch.testing.assert_close(one[..., seed, 0], other[..., seed, 0], rtol=1e-10, atol=1e-12)


def test_batches_descend_the_population_loss_on_average() -> None:
    weights = draw([5])
    x = torch.randn(50_000, 32, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = batch_gradient(weights.a, weights.w, weights.b, weights.v, x)
    expected = separate_gradient(weights.a, weights.w, weights.b, weights.v, torch)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.06)


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian_of_the_loss() -> None:
    a, w, b, v = flat(draw([7]))
    theta = torch.cat([a.flatten(), w.flatten()])

    def loss(theta: torch.Tensor) -> torch.Tensor:
        return separate_loss(theta[:8, None], theta[8:].view(8, 4, 1), b, v, torch).sum()

    hessian = torch.autograd.functional.hessian(loss, theta)
    assert sharpness(a, w, b, v).item() == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-10)


def test_sharpness_at_the_teacher_is_finite_and_known() -> None:
    _, _, b, v = flat(draw([7, 8]))
    top = sharpness(b, v, b, v)
    assert (top > 3).all()  # of eight neurons of norm 1: 3.23 where signs are half and half
    assert (top < 3.5).all()


@pytest.mark.parametrize("name", list(STARTS))
def test_starts_keep_what_they_say_they_keep(name: str) -> None:
    drawn = draw(range(20))
    start = STARTS[name](drawn)
    product, before = start.a.abs()[:, None] * start.w.abs(), drawn.a.abs()[:, None] * drawn.w.abs()
    if name == "right magnitudes":
        product, before = product, drawn.v.abs()
    torch.testing.assert_close(product, before, rtol=1e-15, atol=0)
    kept = {
        "drawn": "aw",
        "rescaled": "aw",
        "right magnitudes": "aw",
        "true output signs": "w",
        "true input signs": "a",
    }
    for part, ours, drawn_part, teacher in (("a", start.a, drawn.a, drawn.b), ("w", start.w, drawn.w, drawn.v)):
        assert torch.equal(ours.sign(), (drawn_part if part in kept.get(name, "") else teacher).sign())


def test_draws_are_balanced_and_teachers_mixed() -> None:
    drawn = draw(range(50))
    torch.testing.assert_close(drawn.a.abs(), drawn.w.norm(dim=1))
    torch.testing.assert_close(drawn.v.norm(dim=1), torch.ones_like(drawn.a))
    assert (drawn.b.sum(0) == 0).all()
    assert 0.4 < (drawn.a > 0).double().mean() < 0.6


def test_a_neuron_is_recovered_wherever_it_stands() -> None:
    _, _, b, v = flat(draw([1], dense=True))
    order = torch.randperm(8)
    assert recovered(b[order], v[order], b, v, dense=True).all()
    assert not recovered(-b[order], -v[order], b, v, dense=True).any()
    assert recovered(1.05 * b, v, b, v, dense=False).all()
    assert not recovered(1.2 * b, v, b, v, dense=False).any()


def test_the_grid_grows_until_the_best_rate_is_inside() -> None:
    class Bowl(Neurons):
        def run(self, arm, seeds, rates, *, full=False):  # type: ignore[no-untyped-def]
            losses = np.abs(np.log2(np.array(rates)) - float(arm.label))[None].repeat(len(seeds), 0)
            return super().run(arm, seeds, [0.1]).__class__(losses, losses > 1e9)

    for best in (-9, -2, 6):
        lr, tried = tune(Bowl(steps=1), Arm(str(best)), [0, 1])
        assert lr == 2.0**best
        assert min(tried) < lr < max(tried)


def test_sign_in_gets_its_control_and_the_quadrants_hold_every_neuron() -> None:
    arms = [Arm("plain"), ARMS["Sign-In (β_a, β_w) = (1, .25)"]]
    measured = [m for arm in arms for m in measure_arm(SHORT, arm, 6, 4)]
    assert [m.arm.label for m in measured][2].startswith("layer rates at the speeds of Sign-In")
    rates = [way.speed((torch.ones(1),)).item() for way in measured[2].arm.ways]
    speeds = measured[1].runs.speeds
    assert rates == pytest.approx([1, speeds[1] / speeds[0]])
    assert speeds[1] > speeds[0]
    counts = sum(measured[1].runs.measures[f"starts in {name}"] for name in QUADRANTS)
    assert (counts == 8).all()
    rows = comparison(SHORT, measured)
    assert rows[0]["difference"] is None
    assert rows[1]["difference"] == pytest.approx((measured[1].runs.loss - measured[0].runs.loss).mean())
    assert len(quadrants(measured)) == 3
    (row,) = controls(measured)
    assert row["difference from them"] == pytest.approx((measured[1].runs.loss - measured[2].runs.loss).mean())
    assert row["rates, from input to output"] == f"1.00 : {rates[1]:.2f}"


def test_quadrants_and_flips_are_counted_from_the_start() -> None:
    start = draw([3])
    a, w = start.a.clone(), start.w.clone()
    a[0], w[1, 2] = -a[0], -w[1, 2]
    found = _measures(start, a, w, dense=False)
    assert found["output flips"] == 1 / 8
    assert found["input flips"] == 1 / 32
    right, half = (start.a * start.b > 0)[:, 0, 0], ((start.w * start.v).sum(1) > 0)[:, 0, 0]
    ends = (a * start.b > 0)[:, 0, 0]
    for name, here in zip(QUADRANTS, (right & half, ~right & half, right & ~half, ~right & ~half), strict=True):
        assert found[f"starts in {name}"] == here.sum()
        assert found[f"right from {name}"] == (here & ends).sum()


def test_speeds_leave_out_what_diverged() -> None:
    speeds = torch.tensor([[[1.0], [torch.nan]], [[3.0], [torch.inf]]])
    assert mean_speeds(speeds, torch.tensor([[False], [True]])) == (1, 3)


@pytest.mark.slow
def test_true_signs_recover_the_teacher_and_drawn_ones_do_not() -> None:
    problem = Neurons()
    assert problem.run(ARMS["true signs"], range(16), [0.25]).loss.max() < 1e-20
    assert problem.run(ARMS["plain"], range(16), [0.25]).loss.mean() > 0.3
    assert problem.run(ARMS["sign_init even-both"], range(16), [0.25]).loss.mean() < 0.1
