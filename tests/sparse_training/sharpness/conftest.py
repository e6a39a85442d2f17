"""Networks small enough for an explicit Hessian in float64."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster so, and two test processes do not wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Attention(nn.Module):
    """One attention block over 4 tokens of width 4."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(len(x), 2, 4)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(mixed.mean(1))


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "attention":
        return Attention().double()
    if kind == "batchnorm":
        model = nn.Sequential(
            nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(3, 3)
        ).double()
        model(torch.randn(32, 8).double())
        return model
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def samples(n: int = 23) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 8, generator=draw, dtype=torch.float64), torch.randint(3, (n,), generator=draw)


def dense(model: nn.Module, x: Tensor, y: Tensor, names: list[str], masks: dict[str, Tensor] | None = None) -> Tensor:
    """Explicit Hessian in the compact parametrization: only active weights are variables at all."""
    state = {name: p.detach() for name, p in model.state_dict().items()}
    active = [(masks or {}).get(name, torch.ones_like(state[name], dtype=torch.bool)) for name in names]
    free = torch.cat([state[name][mask] for name, mask in zip(names, active, strict=True)])

    def loss(flat: Tensor) -> Tensor:
        parts, changed = flat.split([int(mask.sum()) for mask in active]), dict(state)
        for name, mask, part in zip(names, active, parts, strict=True):
            changed[name] = torch.zeros_like(state[name]).masked_scatter(mask, part)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return cross_entropy(functional_call(model, changed, (x,)), y)

    modes = model.training
    model.eval()
    matrix = torch.autograd.functional.hessian(loss, free)
    model.train(modes)
    return matrix


@pytest.fixture(scope="session")
def problems() -> SimpleNamespace:
    return SimpleNamespace(network=network, samples=samples, dense=dense)
