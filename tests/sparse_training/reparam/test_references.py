"""Each fast path beside a slow and obvious reference, over a hundred steps: the Sign-In step, the reset, HAM."""

import math

import pytest
import torch
from torch import Tensor, nn

from commons import InputError
from sparse_training.masks import Masks
from sparse_training.reparam import HAM, Reparam, SignIn, Sparse, sparsify
from sparse_training.reparam.sign_in import Orbit

LR, MOMENTUM, DECAY, BETA = 0.05, 0.9, 1e-2, 0.7
START = [[0.5, 1.0, -0.3], [0.2, -0.8, 1e-3]]
MASK = [[True, False, True], [False, True, True]]
DATA = torch.Generator().manual_seed(0)
X = torch.randn(8, 3, generator=DATA, dtype=torch.float64)
Y = torch.randn(8, 2, generator=DATA, dtype=torch.float64)


def network(reparam: Reparam) -> Sparse:
    layer = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(START, dtype=torch.float64))
    return sparsify(layer, Masks({"weight": torch.tensor(MASK)}), reparam)


def gradient(theta: list[list[float]]) -> list[list[float]]:
    """∂L/∂θ of L = mean (xθᵀ − y)², by hand."""
    slopes = [[0.0] * 3 for _ in range(2)]
    for x, y in zip(X.tolist(), Y.tolist(), strict=True):
        for i in range(2):
            error = sum(theta[i][j] * x[j] for j in range(3)) - y[i]
            for j in range(3):
                slopes[i][j] += 2 * error * x[j] / (len(X) * 2)
    return slopes


def orbit(theta: float, beta: float) -> tuple[float, float]:
    m = math.sqrt((math.sqrt(4 * theta**2 + beta**2) + beta) / 2)
    return m, theta / m


def sgd(value: float, slope: float, buffer: float | None) -> tuple[float, float]:
    slope += DECAY * value
    buffer = slope if buffer is None else MOMENTUM * buffer + slope
    return value - LR * buffer, buffer


def train(sparse: Sparse, reset_every: int) -> Tensor:
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    sparse.attach(optimizer)
    for step in range(100):
        if step and step % reset_every == 0:
            sparse.reset(optimizer)
        optimizer.zero_grad()
        (sparse.model(X) - Y).square().mean().backward()
        optimizer.step()
    return sparse.weights()["weight"]


def test_a_hundred_sign_in_steps_with_resets_are_those_of_the_reference() -> None:
    entries = [(i, j) for i in range(2) for j in range(3) if MASK[i][j]]
    factors = {at: orbit(START[at[0]][at[1]], BETA) for at in entries}
    buffers: dict[tuple[int, int], tuple[float | None, float | None]] = dict.fromkeys(entries, (None, None))

    def theta() -> list[list[float]]:
        return [[math.prod(factors[i, j]) if MASK[i][j] else 0.0 for j in range(3)] for i in range(2)]

    for step in range(100):
        if step and step % 25 == 0:
            factors = {at: orbit(math.prod(pair), BETA) for at, pair in factors.items()}
        slopes = gradient(theta())
        for at, (m, w) in factors.items():
            slope = slopes[at[0]][at[1]]
            (m_new, m_buffer), (w_new, w_buffer) = sgd(m, slope * w, buffers[at][0]), sgd(w, slope * m, buffers[at][1])
            factors[at], buffers[at] = (m_new, w_new), (m_buffer, w_buffer)
    expected = torch.tensor(theta(), dtype=torch.float64)
    torch.testing.assert_close(train(network(SignIn(beta=BETA)), 25), expected, rtol=1e-10, atol=1e-13)


def test_a_hundred_ham_steps_are_those_of_the_reference() -> None:
    alpha, decay = 5.0, 0.02
    theta = [[START[i][j] if MASK[i][j] else 0.0 for j in range(3)] for i in range(2)]
    buffers: list[list[float | None]] = [[None] * 3 for _ in range(2)]
    for _ in range(100):
        slopes = gradient(theta)
        for i in range(2):
            for j in range(3):
                if MASK[i][j]:
                    value, buffers[i][j] = sgd(theta[i][j], slopes[i][j], buffers[i][j])
                    sign = (value > 0) - (value < 0)
                    exponent = LR * (-alpha * sign * slopes[i][j] - decay)
                    theta[i][j] = value * math.exp(max(-5.0, min(5.0, exponent)))
    expected = torch.tensor(theta, dtype=torch.float64)
    torch.testing.assert_close(train(network(HAM(alpha, decay)), 1000), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("beta", [2**-10, 0.3, 1.0])
def test_every_half_precision_weight_is_written_to_one_rounding(dtype: torch.dtype, beta: float) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    theta = every[every.isfinite()]
    m, w = Orbit(torch.ones_like(theta, dtype=torch.bool), beta).split(theta)
    ulp = torch.nextafter(theta.abs(), torch.full_like(theta, torch.inf)).double() - theta.abs().double()
    assert m.dtype == w.dtype == dtype
    assert bool(((m * w).double() - theta.double()).abs().le(ulp).all())


def test_a_beta_that_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match=r"beta=100\.0 is not in \(0, 1\] for float16"):
        sparsify(nn.Linear(2, 2).half(), Masks({"weight": torch.ones(2, 2, dtype=torch.bool)}), SignIn(beta=100.0))
