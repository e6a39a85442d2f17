"""The look at the hardest samples: what it saves on trained networks, and that it never makes a false claim."""

import numpy as np
import pytest
import torch
from fixtures.twins import Twins, twin_loss
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training.sharpness import HessianOperator, MatrixOperator, lanczos, max_eigenvalue
from sparse_training.sharpness.scout import APART, COVER, SHARE, scout
from sparse_training.sharpness.solve import largest

SAMPLES = 1200


def trained(seed: int, steps: int, noise: float = 0.0) -> tuple[nn.Module, Tensor, Tensor]:
    """A small network in float64 after some steps on labels of a random teacher."""
    torch.manual_seed(seed)
    model, teacher = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), nn.Linear(6, 3)
    x = torch.randn(SAMPLES, 6)
    y = (2 * teacher(x) + noise * torch.randn(SAMPLES, 3)).argmax(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.double(), x.double(), y


def explicit(operator: HessianOperator) -> Tensor:
    return torch.stack([operator @ row for row in torch.eye(operator.size, dtype=operator.dtype)])


def test_after_training_few_samples_carry_the_pull_and_point_to_the_top() -> None:
    model, x, y = trained(0, 300)
    operator = HessianOperator(model, cross_entropy, (x, y))
    assert operator.carrying(COVER) <= SAMPLES // SHARE
    seen = scout(operator, 0)
    assert seen is not None
    vectors = torch.linalg.eigh(explicit(operator)).eigenvectors
    assert abs(seen.direction @ vectors[:, -1]) > 0.9


def test_the_hardest_samples_are_a_hessian_of_their_own() -> None:
    model, x, y = trained(1, 100)
    operator = HessianOperator(model, cross_entropy, [(x[:700], y[:700]), (x[700:], y[700:])])
    with torch.no_grad():
        pull = torch.softmax(model(x), 1) - nn.functional.one_hot(y, 3)
    chosen = pull.norm(dim=1).topk(90).indices.sort().values
    same = HessianOperator(model, cross_entropy, (x[chosen], y[chosen]))
    assert (explicit(operator.hardest(90)) - explicit(same)).abs().max() <= 1e-13
    for chunk, graph in ((90, "kept"), (89, "rebuilt")):
        part = HessianOperator(model, cross_entropy, (x, y), graph="rebuilt", chunk=chunk).hardest(90)
        assert part.graph == graph
        assert (explicit(part) - explicit(same)).abs().max() <= 1e-13


def test_the_look_is_counted_and_saves_products() -> None:
    model, x, y = trained(0, 300)
    operator = HessianOperator(model, cross_entropy, (x, y))
    pair, plain = largest(operator, seed=0), lanczos(operator, start=operator.gradient, noise=0.5)
    assert pair.converged
    assert pair.hvps < plain.hvps
    assert pair.value == pytest.approx(plain.value, rel=1e-3)
    least, most = 1 + 2 * pair.hvps, 2 + 2 * pair.hvps + 2 * 8 / SHARE + 1 / SHARE
    assert least < pair.gradient_equivalents <= most
    assert pair.error <= 1e-3 * pair.value


def test_nothing_is_looked_at_where_there_are_too_few_samples_to_take_some() -> None:
    model, x, y = trained(0, 300)
    assert scout(HessianOperator(model, cross_entropy, (x[:400], y[:400])), 0) is None


def lopsided(seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """An untrained network of two classes whose inputs have a large mean: λ₁ stands out, and all samples pull alike."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 2)).double()
    return model, torch.randn(SAMPLES, 6, dtype=torch.float64) + 3, torch.randint(2, (SAMPLES,))


def test_where_all_samples_pull_alike_a_random_draw_shows_the_top() -> None:
    model, x, y = lopsided(0)
    operator = HessianOperator(model, cross_entropy, (x, y))
    assert operator.carrying(COVER) > SAMPLES // SHARE
    matrix, draws = explicit(operator), torch.stack([explicit(operator.drawn(150, seed)) for seed in range(40)])
    assert (draws.mean(0) - matrix).norm() <= 0.1 * matrix.norm()
    values, vectors = torch.linalg.eigh(matrix)
    seen = scout(operator, 0)
    assert seen is not None
    assert abs(seen.direction @ vectors[:, -1]) > 0.9
    assert 0.5 * values[-2] < seen.second < 0.5 * values[-1]
    fresh = HessianOperator(model, cross_entropy, (x, y))
    pair, plain = largest(fresh, seed=0), lanczos(operator, start=operator.gradient, noise=0.5)
    assert pair.hvps < plain.hvps
    assert pair.value == pytest.approx(float(values[-1]), rel=1e-3)


def test_close_eigenvalues_before_training_are_not_taken_for_one() -> None:
    """Two blocks with λ₁ ≈ λ₂ far above the rest: a draw must not let the solve end before they are told apart."""
    for seed in range(8):
        model, x, y = lopsided(seed)
        draw = np.random.default_rng(seed)
        order = torch.from_numpy(draw.permutation(SAMPLES))
        both = torch.cat([x, x[order] * (1 + draw.choice([-1, 1]) * 10 ** draw.uniform(-3, -1))], 1)
        operator = HessianOperator(Twins(model, lopsided(seed)[0]), twin_loss, (both, torch.stack([y, y[order]], 1)))
        assert scout(operator, seed) is None
        truth = float(torch.linalg.eigvalsh(explicit(operator))[-1])
        pair = largest(operator, seed=seed)
        assert abs(pair.value - truth) <= 1e-3 * truth or not pair.converged, (seed, str(pair))


def test_nothing_is_looked_at_where_samples_see_each_other() -> None:
    model, x, y = trained(0, 300)
    operator = HessianOperator(
        model, lambda output, y: cross_entropy(output - output.mean(0), y), (x, y), chunk=SAMPLES
    )
    assert scout(operator, 0) is None


def test_of_a_hundred_solves_none_misses_its_tolerance_and_says_converged() -> None:
    looked = 0
    for seed in range(50):
        steps, noise = (0, 10, 50, 200, 600)[seed % 5], (0.0, 0.1)[seed % 2]
        model, x, y = trained(seed, steps, noise)
        operator = HessianOperator(model, cross_entropy, (x, y))
        looked += scout(operator, seed) is not None
        truth = float(torch.linalg.eigvalsh(explicit(operator))[-1])
        for tol in (1e-3, 1e-4):
            pair = max_eigenvalue(model, cross_entropy, (x, y), tol=tol, seed=seed)
            assert abs(pair.value - truth) <= tol * truth or not pair.converged, (seed, tol, str(pair))
    assert looked >= 10


def test_an_eigenvalue_that_only_the_easy_samples_have_is_found() -> None:
    """Least squares where 5 % of the samples are outliers along one direction, and the rest fit along a sharper one.

    What remains is a random part of the start that is almost orthogonal to the sharper one; a second start tells it.
    """
    samples, hard, width, missed = 2000, 100, 100, 0
    for seed, ratio in enumerate([1.05, 1.1, 1.3, 2.0] * 15):
        draw = torch.Generator().manual_seed(seed)
        x = 0.02 * torch.randn(samples, width, generator=draw, dtype=torch.float64)
        x[:hard, 0] += (samples / hard) ** 0.5
        x[hard:, 1] += (ratio * samples / (samples - hard)) ** 0.5
        model = nn.Linear(width, 1, bias=False).double()
        y = model(x).detach() + 0.01 * torch.randn(samples, 1, generator=draw, dtype=torch.float64)
        y[:hard] += 5
        loss = nn.functional.mse_loss
        seen = scout(HessianOperator(model, loss, (x, y)), seed)
        assert seen is not None
        assert abs(seen.direction[0]) > 0.99
        truth = float(torch.linalg.eigvalsh(2 * x.T @ x / samples)[-1])
        for second_start in (False, True):
            pair = max_eigenvalue(model, loss, (x, y), seed=seed, second_start=second_start)
            if pair.converged and abs(pair.value - truth) > 1e-3 * truth:
                assert not second_start
                missed += 1
    assert missed <= 1


def test_a_second_eigenvalue_that_the_few_samples_hide_is_found() -> None:
    """Two blocks whose samples differ by a permutation: λ₁ and λ₂ are close on all samples, and apart on a few."""
    hidden = 0
    for seed in range(30):
        model, x, y = trained(seed, 300)
        draw = np.random.default_rng(seed)
        order = torch.from_numpy(draw.permutation(SAMPLES))
        both = torch.cat([x, x[order] * (1 + 10 ** draw.uniform(-3, -2))], 1)
        targets = torch.stack([y, y[order]], 1)
        twins = Twins(model, trained(seed, 300)[0])
        operator = HessianOperator(twins, twin_loss, (both, targets))
        values = torch.linalg.eigvalsh(explicit(operator))
        pair = largest(operator, seed=seed)
        assert abs(pair.value - values[-1]) <= 1e-3 * values[-1] or not pair.converged, (seed, str(pair))
        hidden += scout(operator, seed) is not None and bool(values[-2] > 0.97 * values[-1])
    assert hidden >= 10


def test_a_known_second_eigenvalue_ends_the_solve_earlier_only_where_it_is_clearly_below() -> None:
    values = torch.cat([torch.tensor([1.0, APART]), torch.linspace(-0.1, 0.1, 100)]).double()
    operator = MatrixOperator(torch.diag(values))
    plain = lanczos(operator)
    known, close = lanczos(operator, second=APART), lanczos(operator, second=0.9)
    assert known.hvps < plain.hvps == close.hvps
    assert known.value == pytest.approx(1.0, rel=1e-3)
    assert known.error <= 1e-3 * known.value
    assert "residual²/gap" in known.reason
