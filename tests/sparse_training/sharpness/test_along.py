"""Sharpness along a run: what the solve before saves, that it hides nothing, and a smallest eigenvalue that is 0."""

import copy

import numpy as np
import torch
from fixtures.twins import Twins, twin_loss
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training.sharpness import HessianOperator, MatrixOperator, lanczos
from sparse_training.sharpness.along import Question, along
from sparse_training.sharpness.solve import largest
from sparse_training.sharpness.sources import Checkpoint, Samples, Source


def run_of(steps: list[int], seed: int = 0) -> Source:
    """A small network after so many steps on labels of a random teacher, in float64."""
    torch.manual_seed(seed)
    model, teacher = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), nn.Linear(6, 3)
    x = torch.randn(1200, 6)
    y = (2 * teacher(x)).argmax(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    networks = []
    for step in range(1, max(steps) + 1):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        if step in steps:
            networks.append(Checkpoint(step, copy.deepcopy(model).double(), None))
    return Source(lambda: iter(networks), len(networks), Samples([(x.double(), y)]))


def top_two(operator: HessianOperator) -> Tensor:
    return torch.linalg.eigvalsh(torch.stack([operator @ row for row in torch.eye(operator.size).double()]))[-2:]


def test_a_solve_that_knows_the_one_before_takes_fewer_products_and_is_right() -> None:
    source = run_of(list(range(400, 600, 50)))
    warm = [(checkpoint, pair) for checkpoint, _, pair in along(source, Question(tol=1e-4))]
    alone = [next(along(Source(lambda c=c: iter([c]), 1, source.samples), Question(tol=1e-4)))[2] for c, _ in warm]
    for checkpoint, pair in warm:
        second, truth = top_two(HessianOperator(checkpoint.model, cross_entropy, source.samples.batches)).tolist()
        assert pair.converged
        assert abs(pair.value - truth) <= 1e-4 * truth
        assert pair.beside is not None
        assert pair.beside.share >= second / truth - 0.05
    assert sum(pair.hvps for _, pair in warm[1:]) <= 0.8 * sum(pair.hvps for pair in alone[1:])


def test_an_eigenvalue_that_has_come_close_since_is_not_taken_for_the_first() -> None:
    """Two blocks with λ₂ = .79 λ₁ after 140 steps and .98 after 160; a residual alone looks small after 5 products."""
    seed, steps = 14, (140, 160)
    torch.manual_seed(seed)
    one, teacher = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), nn.Linear(6, 3)
    x = torch.randn(1200, 6)
    y = (2 * teacher(x)).argmax(1)
    draw = np.random.default_rng(seed)
    order = torch.from_numpy(draw.permutation(1200))
    model = Twins(one, copy.deepcopy(one))
    x = torch.cat([x, x[order] * (1 + 10 ** draw.uniform(-3, -0.5))], 1)
    y = torch.stack([y, y[order]], 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    batches, operators = torch.Generator().manual_seed(seed), []
    for step in range(1, steps[-1] + 1):
        rows = torch.randint(1200, (200,), generator=batches)
        optimizer.zero_grad()
        twin_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        if step in steps:
            operators.append(HessianOperator(copy.deepcopy(model).double(), twin_loss, (x.double(), y)))
    before = largest(operators[0], seed=seed)
    assert before.beside is not None
    assert before.beside.share < 0.8
    second, truth = top_two(operators[1]).tolist()
    assert second > 0.98 * truth
    pair = largest(operators[1], before.vector, beside=before.beside, seed=seed)
    assert abs(pair.value - truth) <= 1e-3 * truth or not pair.converged, (str(pair), truth)


def test_a_smallest_eigenvalue_of_zero_is_certified_to_a_share_of_the_largest() -> None:
    source = run_of([100])
    question = Question(which="smallest", curvature="gauss-newton")
    ((_, operator, pair),) = along(source, question)  # which is singular: the softmax has one direction too many
    largest = lanczos(operator).value
    assert pair.converged
    assert "0 to 1e-05 of the largest magnitude" in pair.reason
    assert abs(pair.value) <= pair.error + 1e-12
    assert pair.error <= 1e-5 * largest


def test_a_smallest_eigenvalue_that_is_not_zero_keeps_its_relative_error() -> None:
    for least in (1e-3, -1e-3):
        operator = MatrixOperator(torch.diag(torch.tensor([least, *np.linspace(0.5, 1, 50)], dtype=torch.float64)))
        pair = lanczos(operator, which="smallest", zero=1e-5)
        assert pair.converged
        assert abs(pair.value - least) <= 1e-3 * abs(least)
        assert "magnitude" not in pair.reason
