"""λ_max beside PyHessian, hessian-eigenthings and curvlinops, where they are installed: one value."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparse_training import models
from sparse_training.sharpness import HessianOperator, max_eigenvalue
from sparse_training.sharpness.batches import Batch

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def problem() -> tuple[nn.Module, Batch]:
    model = models.build("mlp", in_channels=1, image_size=4, num_classes=3, seed=0).double().eval()
    draw = torch.Generator().manual_seed(0)
    return model, (
        torch.randn(40, 1, 4, 4, generator=draw, dtype=torch.float64),
        torch.randint(3, (40,), generator=draw),
    )


def ours(problem: tuple[nn.Module, Batch]) -> float:
    pair = max_eigenvalue(problem[0], cross_entropy, problem[1], params="all", tol=1e-8)
    assert pair.converged
    return pair.value


def test_pyhessian(problem: tuple[nn.Module, Batch]) -> None:
    peer = pytest.importorskip("pyhessian")
    model, (x, y) = problem
    values, _ = peer.hessian(model.float(), nn.CrossEntropyLoss(), data=(x.float(), y), cuda=False).eigenvalues(
        maxIter=500, tol=1e-7
    )
    model.double()
    assert values[0] == pytest.approx(ours(problem), rel=2e-3)


def test_hessian_eigenthings(problem: tuple[nn.Module, Batch]) -> None:
    peer = pytest.importorskip("hessian_eigenthings")
    model, batch = problem
    operator = peer.HessianOperator(model, [batch], peer.supervised_loss(cross_entropy))
    found = peer.lanczos(operator, k=1, which="LA", tol=1e-8, seed=0, max_iter=80)
    assert float(found.eigenvalues[0]) == pytest.approx(ours(problem), rel=1e-5)


def test_curvlinops_product_and_eigsh(problem: tuple[nn.Module, Batch]) -> None:
    peer = pytest.importorskip("curvlinops", exc_type=ImportError)
    from scipy.sparse.linalg import eigsh

    model, batch = problem
    theirs = peer.HessianLinearOperator(model, nn.CrossEntropyLoss(), list(model.parameters()), [batch]).to_scipy()
    operator = HessianOperator(model, cross_entropy, batch, params="all")
    v = np.random.default_rng(0).standard_normal(operator.size)
    assert operator.coordinates.names == [name for name, _ in model.named_parameters()]
    assert np.allclose(theirs @ v, (operator @ torch.from_numpy(v)).numpy(), rtol=1e-9, atol=1e-12)
    value = eigsh(theirs, k=1, which="LA", return_eigenvectors=False)[0]
    assert value == pytest.approx(ours(problem), rel=1e-7)
