"""λ_max beside PyHessian, hessian-eigenthings and curvlinops, where they are installed: one value.

`make test-all` installs them, by the extra `bench`. A masked network is given to the peers as one of its active
weights alone.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from sparse_training import models
from sparse_training.masks import make_masks
from sparse_training.sharpness import HessianOperator, max_eigenvalue
from sparse_training.sharpness.batches import Batch

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


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


class Active(nn.Module):
    """A network whose only parameter is the vector of the active weights of another, (size,)."""

    def __init__(self, model: nn.Module, masks: dict[str, Tensor]) -> None:
        super().__init__()
        self.network, self.masks = [model], masks  # in a list: its parameters are none of this module
        state = dict(model.state_dict())
        self.free = nn.Parameter(torch.cat([state[name][mask] for name, mask in masks.items()]))

    def forward(self, x: Tensor) -> Tensor:
        state = dict(self.network[0].state_dict())
        for (name, mask), part in zip(
            self.masks.items(), self.free.split([int(mask.sum()) for mask in self.masks.values()]), strict=True
        ):
            # not masked_scatter, whose second derivative has a wrong shape in forward mode, which curvlinops uses
            weight = torch.zeros_like(state[name]).flatten().index_copy(0, mask.flatten().nonzero().squeeze(1), part)
            state[name] = weight.view_as(mask)
        return torch.as_tensor(functional_call(self.network[0], state, (x,)))


WEIGHTED = {
    "plain": nn.CrossEntropyLoss(),
    "weighted": nn.CrossEntropyLoss(torch.tensor([1.0, 50, 3], dtype=torch.float64)),
    "ignored": nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1),
}


@pytest.fixture(scope="module", params=WEIGHTED)
def masked(
    request: pytest.FixtureRequest, problem: tuple[nn.Module, Batch]
) -> tuple[nn.Module, nn.Module, Batch, float]:
    """The network of the active weights, the loss, the samples, and our λ_max, measured in chunks of 7."""
    model, batch = problem
    model.double()
    loss, masks = WEIGHTED[request.param], make_masks(model, 0.3, "random", seed=0)
    pair = max_eigenvalue(model, loss, batch, masks, tol=1e-8, chunk=7)
    assert pair.converged
    return Active(model, dict(masks)), loss, batch, pair.value


def test_pyhessian_on_a_masked_network(masked: tuple[nn.Module, nn.Module, Batch, float]) -> None:
    peer = pytest.importorskip("pyhessian")
    model, loss, (x, y), ours = masked
    # The weighted loss has eigenvalues −.9578 and .9627: power iteration needs some thousand products to part them.
    values, _ = peer.hessian(model, loss, data=(x, y), cuda=False).eigenvalues(maxIter=20_000, tol=1e-12)
    assert values[0] == pytest.approx(ours, rel=2e-3)


def test_hessian_eigenthings_on_a_masked_network(masked: tuple[nn.Module, nn.Module, Batch, float]) -> None:
    peer = pytest.importorskip("hessian_eigenthings")
    model, loss, batch, ours = masked
    operator = peer.HessianOperator(model, [batch], peer.supervised_loss(loss))
    found = peer.lanczos(operator, k=1, which="LA", tol=1e-8, seed=0, max_iter=80)
    assert float(found.eigenvalues[0]) == pytest.approx(ours, rel=1e-5)


def test_curvlinops_on_a_masked_network(masked: tuple[nn.Module, nn.Module, Batch, float]) -> None:
    peer = pytest.importorskip("curvlinops", exc_type=ImportError)
    from scipy.sparse.linalg import eigsh

    model, loss, batch, ours = masked
    theirs = peer.HessianLinearOperator(model, loss, list(model.parameters()), [batch], check_deterministic=False)
    value = eigsh(theirs.to_scipy(), k=1, which="LA", return_eigenvectors=False)[0]
    assert value == pytest.approx(ours, rel=1e-7)
