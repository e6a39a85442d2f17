"""What float32 does to λ_max is part of the stated error: against float64, on networks that round badly and on many."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training.masks import Masks, make_masks
from sparse_training.sharpness import HessianOperator, in_space, lanczos, max_eigenvalue, power_iteration
from sparse_training.sharpness.base import EXACT

TOLERANCES = (1e-3, 1e-5, 2e-6)


def layernorm(seed: int, scale: float = 100.0, n: int = 24) -> tuple[nn.Module, Tensor, Tensor]:
    """A trained LayerNorm MLP whose n inputs are `scale` times too large."""
    torch.manual_seed(seed)
    x, y = torch.randn(n, 8) * scale, torch.randint(3, (n,))
    hidden = [nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 16), nn.LayerNorm(16), nn.GELU()]
    model = nn.Sequential(*hidden, nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, x, y


def test_an_error_covers_what_float32_does_and_no_claim_goes_beyond_it() -> None:
    unsure = 0
    for seed, n in ((15, 24), (16, 64), (42, 24)):
        model, x, y = layernorm(seed, n=n)
        truth = max_eigenvalue(model, cross_entropy, (x, y), dtype=torch.float64, tol=1e-10).value
        for tol in TOLERANCES:
            pair = max_eigenvalue(model, cross_entropy, (x, y), tol=tol, seed=seed)
            assert abs(pair.value - truth) <= pair.error, (seed, tol, str(pair), truth)
            assert pair.error <= tol * pair.value or not pair.converged
            if not pair.converged:
                assert "float64" in pair.reason
                unsure += 1
    assert unsure == 6


def test_spaces_powers_and_pieces_measure_their_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = layernorm(15)
    single, double = (
        HessianOperator(model, cross_entropy, (x, y), dtype=dtype, chunk=20) for dtype in (None, torch.float64)
    )
    for space in ("theta", "factors", "flow"):
        operator, exact = in_space(single, space, 0.5), in_space(double, space, 0.5)
        v = torch.linspace(-1, 1, operator.size)
        v = v / v.norm()
        difference = float(((operator @ v).double() - exact @ v.double()).norm())
        with monkeypatch.context() as patch:
            patch.setattr("sparse_training.sharpness.operator.FEW", 0)
            assert difference <= operator.rounding(v).vector <= 30 * difference
        assert operator.rounding(v).vector == torch.inf
        assert (operator.in_float64(v.double()) - exact @ v.double()).norm() <= 0.05 * difference
        for solve in (lanczos, power_iteration):
            truth = lanczos(exact, tol=1e-9, max_products=3000)
            pair = solve(operator, tol=1e-4, max_products=3000)
            assert abs(pair.value - truth.value) <= pair.error, (space, str(pair))


@pytest.mark.parametrize("seed", [139, 515, 1099])
def test_a_sample_that_rounds_worst_is_found_though_its_output_hardly_differs(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """In these networks the samples whose outputs differ most between the precisions hold little of the rounding."""
    monkeypatch.setattr("sparse_training.sharpness.operator.FEW", 0)
    model, loss, data, masks, chunk = random_network(seed)
    single, double = (
        HessianOperator(model, loss, data, masks, dtype=dtype, chunk=chunk) for dtype in (None, torch.float64)
    )
    v = lanczos(double).vector.float()
    rounded = (single @ v).double() - double @ v.double()
    found = single.rounding(v)
    assert rounded.norm() <= found.vector
    assert abs(v.double() @ rounded) <= found.value <= 2 * found.vector


def test_samples_without_a_derivative_are_told_apart_by_outputs_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 6), nn.Flatten(), nn.Linear(24, 3))
    x, y = torch.randint(20, (400, 4)), torch.randint(3, (400,))
    single, double = (HessianOperator(model, cross_entropy, (x, y), dtype=dtype) for dtype in (None, torch.float64))
    v = lanczos(double).vector.float()
    assert single.unseen > HessianOperator(model[2], cross_entropy, (torch.randn(400, 24), y)).unseen > double.unseen
    assert ((single @ v).double() - double @ v.double()).norm() <= single.rounding(v).vector
    assert double.rounding(v.double()) == EXACT


def test_all_samples_are_asked_in_float64_only_near_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, ask = [], HessianOperator.in_float64

    def counted(self: HessianOperator, v: Tensor) -> Tensor:
        calls.append(len(v))
        return ask(self, v)

    monkeypatch.setattr(HessianOperator, "in_float64", counted)
    model, x, y = layernorm(1, scale=1.0, n=1100)
    pair = max_eigenvalue(model, cross_entropy, (x, y), make_masks(model, 0.5, "random", seed=0))
    assert pair.converged
    assert not calls
    operator = HessianOperator(model, cross_entropy, (x, y), make_masks(model, 0.5, "random", seed=0))
    before = operator.gradient_equivalents
    assert operator.rounding(pair.vector).vector > 0
    assert operator.gradient_equivalents - before <= 1.3
    assert max_eigenvalue(model, cross_entropy, (x, y), make_masks(model, 0.5, "random", seed=0), tol=1e-4).converged
    assert not calls
    model, x, y = layernorm(15)
    assert not max_eigenvalue(model, cross_entropy, (x, y), tol=2e-6).converged
    assert len(calls) == 1


def test_a_network_that_is_float32_only_says_that_its_rounding_is_unknown() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.table = nn.Linear(8, 3), [torch.eye(3)]

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.layer(x) @ self.table[0])

    pair = max_eigenvalue(Single(), cross_entropy, (torch.randn(20, 8), torch.arange(20) % 3))
    assert pair.converged
    assert "rounding could not be measured" in pair.reason


class Attention(nn.Module):
    """One attention block with a normalization, over 2 tokens of width 4."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(len(x), 2, 4)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return torch.as_tensor(self.head(self.norm(tokens + mixed).mean(1)))


def random_network(seed: int) -> tuple[nn.Module, Callable[..., object], tuple[Tensor, Tensor], Masks, int]:
    """A small network after some steps, with its loss, samples, masks and a chunk size, all drawn by the seed."""
    torch.manual_seed(seed)
    kinds = {
        "mlp": lambda: nn.Sequential(nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3)),
        "layernorm": lambda: nn.Sequential(nn.Linear(8, 7), nn.LayerNorm(7), nn.GELU(), nn.Linear(7, 3)),
        "batchnorm": lambda: nn.Sequential(nn.Linear(8, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3)),
        "attention": Attention,
    }
    model: nn.Module = list(kinds.values())[seed % 4]()
    n = int(torch.randint(12, 600, ()))
    x, y = torch.randn(n, 8) * float(10 ** torch.empty(()).uniform_(-1, 2)), torch.randint(3, (n,))
    weight = torch.rand(3) * 5 + 0.1
    losses = (
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight),
        nn.CrossEntropyLoss(weight, ignore_index=1, label_smoothing=0.05),
        lambda output, y: (cross_entropy(output, y, reduction="none"), weight.to(output)[y]),
    )
    loss = losses[seed // 4 % 5]
    masks = make_masks(model, 0.4 + 0.6 * float(torch.rand(())), "random", seed=seed)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range((0, 10, 100)[seed % 3]):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, loss, (x, y), masks, (n, 1 + n // 3)[seed % 2]


def counts(seeds: range, tolerances: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6)) -> Counter[str]:
    """How many solves converged, and how many of them, and of all, were further from the truth than they said."""
    found: Counter[str] = Counter()
    for seed in seeds:
        model, loss, data, masks, chunk = random_network(seed)
        exact = HessianOperator(model, loss, data, masks, dtype=torch.float64)
        truth = float(torch.linalg.eigvalsh(torch.stack([exact @ row for row in torch.eye(exact.size).double()]))[-1])
        for tol in tolerances:
            pair = max_eigenvalue(model, loss, data, masks, tol=tol, seed=seed, chunk=chunk)
            beyond = abs(pair.value - truth) > pair.error
            found[f"solves at {tol:g}"] += 1
            found[f"converged at {tol:g}"] += pair.converged
            found[f"converged beyond its error at {tol:g}"] += pair.converged and beyond
            found[f"converged beyond its tolerance at {tol:g}"] += pair.converged and abs(pair.value / truth - 1) > tol
            found[f"not converged and beyond its error at {tol:g}"] += not pair.converged and beyond
            if pair.converged and beyond:
                print(seed, tol, pair, truth)
    return found


def test_ten_random_networks_claim_nothing_beyond_their_error() -> None:
    found = counts(range(10), (1e-3, 1e-5))
    assert not any(number for what, number in found.items() if what.startswith("converged beyond")), found


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000, 125))  # parts of a minute, which the workers of pytest share
def test_a_thousand_random_networks_claim_nothing_beyond_their_error(first: int) -> None:
    found = counts(range(first, first + 125))
    print("\n".join(f"{what}: {number}" for what, number in found.items()))
    assert not any(number for what, number in found.items() if what.startswith("converged beyond")), found
