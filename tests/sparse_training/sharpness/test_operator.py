"""H v against the explicit Hessian of the compact parametrization, and what measuring must never change."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._inductor
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from commons import InputError
from sparse_training.masks import Masks, make_masks
from sparse_training.sharpness import (
    FactorOperator,
    FlowOperator,
    HessianOperator,
    SymmetricOperator,
    in_space,
    layer_eigenvalues,
    max_eigenvalue,
)
from sparse_training.sharpness.graphs import FORWARD_CHUNK

KINDS = ("mlp", "batchnorm", "attention")


def matrix_of(operator: SymmetricOperator) -> Tensor:
    return torch.stack([operator @ row for row in torch.eye(operator.size, dtype=operator.dtype)])


@pytest.mark.parametrize("graph", ["kept", "rebuilt", "forward", pytest.param("linearized", marks=pytest.mark.slow)])
@pytest.mark.parametrize("params", ["prunable", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_product_is_that_of_the_explicit_hessian(problems: SimpleNamespace, kind: str, params: str, graph: str) -> None:
    model, (x, y) = problems.network(kind), problems.samples()
    operator = HessianOperator(model, cross_entropy, (x, y), params=params, graph=graph, chunk=10)
    explicit, found = problems.dense(model, x, y, operator.coordinates.names), matrix_of(operator)
    assert (found - explicit).abs().max() <= 1e-12
    assert (found - found.T).abs().max() <= 1e-12


@pytest.mark.parametrize("compiler", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_product_is_the_kept_one(
    problems: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, kind: str, compiler: bool
) -> None:
    if not compiler:
        monkeypatch.setattr(torch._inductor, "compile", lambda graph, inputs: graph)
    model, (x, y) = problems.network(kind), problems.samples()
    kept = HessianOperator(model, cross_entropy, (x, y), graph="kept")
    compiled = HessianOperator(model, cross_entropy, (x, y), graph="compiled", chunk=12)
    v = torch.linspace(-1, 1, kept.size, dtype=torch.float64)
    torch.testing.assert_close(compiled @ v, kept @ v, rtol=1e-12, atol=1e-12)


class Plain(torch.autograd.Function):
    """tanh without a derivative along a direction."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return slope * (1 - output**2)


class Tanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Plain.apply(x)


def test_on_cuda_products_are_forward_over_reverse_where_they_can_be(
    problems: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (x, y) = problems.network("batchnorm"), problems.samples()
    kept = HessianOperator(model, cross_entropy, (x, y))
    assert kept.graph == "kept"
    monkeypatch.setitem(FORWARD_CHUNK, "cpu", 16)  # as on cuda
    ours = HessianOperator(model, cross_entropy, (x, y))
    assert (ours.graph, ours.chunk) == ("forward", 16)
    v = torch.linspace(-1, 1, kept.size, dtype=torch.float64)
    torch.testing.assert_close(ours @ v, kept @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.in_float64(v), kept @ v, rtol=1e-12, atol=1e-12)
    assert HessianOperator(model, cross_entropy, (x, y), chunk=5).chunk == 5
    assert HessianOperator(model, cross_entropy, (x, y), memory=2000).chunk < 16
    model[3] = Tanh()
    assert HessianOperator(model, cross_entropy, (x, y)).graph == "kept"


@pytest.mark.parametrize("kind", KINDS)
def test_masked_is_the_hessian_of_the_compact_parametrization(problems: SimpleNamespace, kind: str) -> None:
    model, (x, y) = problems.network(kind), problems.samples()
    masks = make_masks(model, 0.4, "random", seed=3)
    operator = HessianOperator(model, cross_entropy, (x, y), masks)
    explicit = problems.dense(model, x, y, operator.coordinates.names, masks)
    assert operator.size == masks.active
    assert (matrix_of(operator) - explicit).abs().max() <= 1e-12
    pair = max_eigenvalue(model, cross_entropy, (x, y), masks, tol=1e-9)
    assert pair.converged
    assert abs(pair.value - torch.linalg.eigvalsh(explicit)[-1]) <= 1e-9 * pair.value


def test_batches_of_any_size_give_the_same_mean(problems: SimpleNamespace) -> None:
    model, (x, y) = problems.network("batchnorm"), problems.samples(23)
    whole = matrix_of(HessianOperator(model, cross_entropy, (x, y)))
    uneven = [(x[:11], y[:11]), (x[11:18], y[11:18]), (x[18:], y[18:])]  # the last has 5 samples
    for data in (uneven, iter(uneven), DataLoader(TensorDataset(x, y), batch_size=9)):
        assert (matrix_of(HessianOperator(model, cross_entropy, data)) - whole).abs().max() <= 1e-13


def test_a_loader_that_shuffles_and_drops_is_read_once(problems: SimpleNamespace) -> None:
    model, (x, y) = problems.network("mlp"), problems.samples(23)
    loader = DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True, drop_last=True)
    operator = HessianOperator(model, cross_entropy, loader, graph="rebuilt")
    assert operator.samples == 20
    v = torch.ones(operator.size, dtype=torch.float64)
    assert torch.equal(operator @ v, operator @ v)


@pytest.mark.parametrize("kind", KINDS)
def test_network_is_the_same_afterwards(problems: SimpleNamespace, kind: str) -> None:
    model, data = problems.network(kind), problems.samples()
    model.train()
    model[0].eval() if isinstance(model, nn.Sequential) else None
    cross_entropy(model(data[0]), data[1]).backward()
    modes = [module.training for module in model.modules()]
    before, slopes = (
        copy.deepcopy(model.state_dict()),
        [p.grad.clone() for p in model.parameters() if p.grad is not None],
    )
    state = torch.get_rng_state()
    max_eigenvalue(model, cross_entropy, data, graph="rebuilt")
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(slopes, after, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_training_mode_is_measured_in_evaluation_mode(problems: SimpleNamespace) -> None:
    model, data = problems.network("batchnorm"), problems.samples()
    evaluated = matrix_of(HessianOperator(model.eval(), cross_entropy, data))
    assert torch.equal(matrix_of(HessianOperator(model.train(), cross_entropy, data)), evaluated)


def test_a_later_training_step_does_not_reach_the_operator(problems: SimpleNamespace) -> None:
    model, data = problems.network("mlp"), problems.samples()
    for graph in ("kept", "rebuilt"):
        operator = HessianOperator(model, cross_entropy, data, graph=graph)
        before = matrix_of(operator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        assert torch.equal(matrix_of(operator), before)


class Ignoring(nn.Module):
    """The second layer takes no part, and the loss is linear in the third."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.used(x))


def test_parameter_that_the_loss_ignores_has_no_curvature(problems: SimpleNamespace) -> None:
    model, data = Ignoring().double(), problems.samples()
    operator = HessianOperator(model, cross_entropy, data)
    found = matrix_of(operator)
    assert operator.size == 48
    assert not found[24:].any()
    assert found[:24, :24].any()
    linear = max_eigenvalue(model, lambda output, y: output.mean(), data)
    assert (linear.value, linear.converged) == (0.0, True)


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False)).double()
    model[2].weight = model[0].weight
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.arange(9) % 3
    operator = HessianOperator(model, cross_entropy, (x, y))

    def loss(flat: Tensor) -> Tensor:
        w = flat.view(3, 3)
        return cross_entropy(torch.tanh(x @ w.T) @ w.T, y)

    explicit = torch.autograd.functional.hessian(loss, model[0].weight.detach().reshape(-1))
    assert (matrix_of(operator) - explicit).abs().max() <= 1e-12


def test_gauss_newton_is_the_hessian_of_a_linear_model_and_psd_else(problems: SimpleNamespace) -> None:
    data = problems.samples()
    linear = nn.Linear(8, 3).double()
    pair = [matrix_of(HessianOperator(linear, cross_entropy, data, curvature=c)) for c in ("hessian", "gauss-newton")]
    assert (pair[0] - pair[1]).abs().max() <= 1e-12
    model = problems.network("mlp")
    for graph in ("kept", "rebuilt"):
        operator = HessianOperator(model, cross_entropy, data, curvature="gauss-newton", graph=graph, chunk=7)
        assert "Gauss-Newton" in str(operator)
        assert torch.linalg.eigvalsh(matrix_of(operator))[0] >= -1e-12


def test_spaces_are_the_hessians_of_the_factored_loss(problems: SimpleNamespace) -> None:
    model, (x, y) = problems.network("mlp"), problems.samples()
    hessian = HessianOperator(model, cross_entropy, (x, y), params=["2.weight"])
    factors, flow = in_space(hessian, "factors", 0.7), in_space(hessian, "flow", 0.7)
    assert isinstance(factors, FactorOperator)
    assert isinstance(flow, FlowOperator)

    def loss(flat: Tensor) -> Tensor:
        m, w = flat.chunk(2)
        logits = torch.nn.functional.linear(model[:2](x), (m * w).view(3, 6), model[2].bias)
        return cross_entropy(logits, y)

    explicit = torch.autograd.functional.hessian(loss, torch.cat([factors.m, factors.w]).detach())
    assert (matrix_of(factors) - explicit).abs().max() <= 1e-12
    theta = model[2].weight.detach().reshape(-1)
    metric = torch.diag(torch.sqrt(4 * theta**2 + 0.7**2))
    similar = torch.linalg.eigvals(metric @ matrix_of(hessian)).real.sort().values
    assert torch.allclose(torch.linalg.eigvalsh(matrix_of(flow)), similar, atol=1e-12)


def test_memory_decides_between_kept_and_rebuilt(problems: SimpleNamespace) -> None:
    model, data = problems.network("batchnorm"), problems.samples()
    plenty = HessianOperator(model, cross_entropy, data, memory=10**9)
    little = HessianOperator(model, cross_entropy, data, memory=3_000)
    assert (plenty.graph, little.graph) == ("kept", "rebuilt")
    assert little.chunk < 23
    assert (matrix_of(plenty) - matrix_of(little)).abs().max() <= 1e-13
    some = HessianOperator(model, cross_entropy, data, memory=6_000, chunk=4)
    assert some.graph == "rebuilt"
    assert (matrix_of(plenty) - matrix_of(some)).abs().max() <= 1e-13
    assert 2 < (some.gradient_equivalents - 1) / some.products < 3  # some graphs were kept, and some were not


def test_what_all_samples_share_counts_once_in_the_memory_that_a_graph_is_expected_to_take() -> None:
    wide = torch.nn.Sequential(torch.nn.Linear(500, 400), torch.nn.ReLU(), torch.nn.Linear(400, 3))
    data = torch.randn(2000, 500), torch.randint(3, (2000,))
    # 800 numbers a sample in the hidden layer's graph, a hundred times less than the weights' 200,000
    assert HessianOperator(wide, cross_entropy, data, memory=2000 * 4 * 4 * 800).graph == "kept"


def test_scipy_view(problems: SimpleNamespace) -> None:
    from scipy.sparse.linalg import eigsh

    model, data = problems.network("mlp"), problems.samples()
    operator = HessianOperator(model, cross_entropy, data)
    value = eigsh(operator.linear_operator(), k=1, which="LA", return_eigenvectors=False, tol=1e-10)[0]
    assert value == pytest.approx(max_eigenvalue(model, cross_entropy, data, tol=1e-9).value, rel=1e-9)


def test_blocks_are_the_diagonal_blocks(problems: SimpleNamespace) -> None:
    model, data = problems.network("mlp"), problems.samples()
    whole = matrix_of(HessianOperator(model, cross_entropy, data))
    pairs = layer_eigenvalues(model, cross_entropy, data, tol=1e-8)
    assert list(pairs) == ["0.weight", "2.weight"]
    for pair, block in zip(pairs.values(), (whole[:48, :48], whole[48:, 48:]), strict=True):
        assert pair.value == pytest.approx(float(torch.linalg.eigvalsh(block)[-1]), rel=1e-8)


@pytest.mark.parametrize("tol", [1e-3, 1e-4])
def test_no_network_of_a_hundred_misses_a_tolerance_it_claims(problems: SimpleNamespace, tol: float) -> None:
    missed = []
    for seed in range(100):
        torch.manual_seed(seed)
        model, data = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double(), problems.samples(5 + seed)
        masks = make_masks(model, 0.3 + 0.007 * seed, "random", seed=seed)
        truth = float(torch.linalg.eigvalsh(matrix_of(HessianOperator(model, cross_entropy, data, masks)))[-1])
        pair = max_eigenvalue(model, cross_entropy, data, masks, tol=tol, seed=seed)
        if not pair.converged or abs(pair.value - truth) > tol * truth:
            missed.append((seed, pair.value / truth - 1))
    assert not missed


def test_one_sample_has_a_hessian(problems: SimpleNamespace) -> None:
    model, (x, y) = problems.network("mlp"), problems.samples(1)
    explicit = problems.dense(model, x, y, ["0.weight", "2.weight"])
    pair = max_eigenvalue(model, cross_entropy, (x, y), tol=1e-8)
    assert pair.value == pytest.approx(float(torch.linalg.eigvalsh(explicit)[-1]), rel=1e-8)


def test_mistakes_are_named(problems: SimpleNamespace) -> None:
    model, (x, y) = problems.network("mlp"), problems.samples()
    for loss, data, options, message in (
        (cross_entropy, (x[:0], y[:0]), {}, "no sample"),
        (cross_entropy, (x, y[:3]), {}, "equally many rows"),
        (cross_entropy, (x, y), {"params": ["0.wieght"]}, "did you mean 0.weight?"),
        (cross_entropy, (x, y), {"masks": {"0.weight": torch.zeros(6, 8)}}, "boolean"),
        (cross_entropy, (x, y), {"masks": Masks({n: torch.zeros(s).bool() for n, s in SHAPES.items()})}, "active"),
        (lambda o, t: cross_entropy(o, t, reduction="sum"), [(x, y), (x, y)], {}, "mean over independent samples"),
        (lambda o, t: o.mean() * torch.nan, (x, y), {}, "loss=nan"),
        (torch.ones(()), (x, y), {}, "loss='Tensor' is not a function"),
        (cross_entropy, (x, y), {"graph": "linearized", "curvature": "gauss-newton"}, "graph="),
    ):
        with pytest.raises(InputError, match=message.replace("?", r"\?")):
            HessianOperator(model, loss, data, **options)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"0\.weight"):
        max_eigenvalue(model, cross_entropy, (x, y))


SHAPES = {"0.weight": (6, 8), "2.weight": (3, 6)}
