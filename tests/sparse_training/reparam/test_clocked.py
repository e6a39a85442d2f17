"""Adam beside masks that change and factors that are reset: clocks of single weights, and what becomes of averages."""

import pytest
import torch
from torch import Tensor, nn

from commons import InputError
from sparse_training.masks import Masks
from sparse_training.reparam import SignIn, Sparse, sparsify
from sparse_training.reparam.clocked import ClockedAdamW
from sparse_training.runs.optimizers import AdamW

LR, BETAS = 1e-3, (0.9, 0.999)
JUMP = (1 - BETAS[0]) / (1 - BETAS[1]) ** 0.5  # of Adam's first step, where its count of steps is large: 3.16


def network(active: Tensor, reparam: SignIn | None = None) -> Sparse:
    model = nn.Linear(active.shape[1], active.shape[0], bias=False).double()
    torch.manual_seed(0)
    nn.init.normal_(model.weight)
    return sparsify(model, Masks({"weight": active}), reparam)


def optimizer_of(sparse: Sparse, clock: str, **settings: float) -> torch.optim.Optimizer:
    optimizer = AdamW(lr=LR, betas=BETAS, eps=1e-12, clock=clock, **settings).build(  # type: ignore[arg-type]
        [{"params": list(sparse.model.parameters()), "weight_decay": 0.0}]
    )
    sparse.attach(optimizer)
    return optimizer


def step(sparse: Sparse, optimizer: torch.optim.Optimizer, gradient: Tensor) -> Tensor:
    """∂L/∂θ = gradient; returns by how much θ moved."""
    before = sparse.weights()["weight"].clone()
    optimizer.zero_grad()
    (sparse.model.weight * gradient).sum().backward()  # type: ignore[operator]
    optimizer.step()
    return sparse.weights()["weight"] - before


def late(optimizer: torch.optim.Optimizer) -> None:
    """Let the one count of steps be large."""
    for state in optimizer.state.values():
        state["step"].fill_(10_000)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5)])
def test_without_growth_it_is_torchs_adamw(betas: tuple[float, float]) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(5, 4), torch.randn(40, 5, 4)
    ends = []
    for kind in (torch.optim.AdamW, ClockedAdamW):
        parameter = nn.Parameter(start.clone())
        optimizer = kind([parameter], lr=0.01, betas=betas, weight_decay=0.1)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        ends.append(parameter.detach())
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("clock", "length"), [("weight", 1.0), ("run", JUMP)])
@pytest.mark.parametrize("reparam", [None, SignIn()], ids=["plain", "sign-in"])
def test_a_grown_weight_steps_as_at_first_by_its_own_clock_and_thrice_as_far_by_the_runs(
    clock: str, length: float, reparam: SignIn | None
) -> None:
    active = torch.ones(3, 4, dtype=torch.bool)
    active[0] = False
    sparse = network(active, reparam)
    optimizer = optimizer_of(sparse, clock)
    gradient = torch.ones(3, 4, dtype=torch.float64)
    for _ in range(5):
        optimizer.zero_grad()
        for parameter in sparse.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    if clock == "run":
        late(optimizer)
    sparse.set_masks(Masks({"weight": ~active}), optimizer)
    moved = step(sparse, optimizer, gradient)
    torch.testing.assert_close(moved[0], torch.full((4,), -LR * length, dtype=torch.float64), rtol=2e-2, atol=0)
    assert not bool(moved[1:].any())
    if clock == "weight":
        for state in optimizer.state.values():
            assert torch.equal(state["clock"], (~active).double())


def test_the_rate_of_a_grown_weight_rises() -> None:
    active = torch.ones(1, 2, dtype=torch.bool)
    sparse = network(active)
    optimizer = optimizer_of(sparse, "weight", grown_warm_up=4)
    moved = [float(step(sparse, optimizer, torch.ones(1, 2, dtype=torch.float64))[0, 0]) for _ in range(6)]
    assert moved == pytest.approx([-LR * share for share in (0.25, 0.5, 0.75, 1, 1, 1)], rel=1e-6)
    with pytest.raises(InputError, match="grown_warm_up=4 is not 0 with clock='run'"):
        AdamW(grown_warm_up=4)


def trained(momentum: str, clock: str, signs: int = 1) -> tuple[Sparse, torch.optim.Optimizer, Tensor]:
    """Sign-In's factors after many steps of one gradient, at m of the given sign, and that gradient."""
    sparse = network(torch.ones(2, 3, dtype=torch.bool), SignIn(momentum=momentum))
    optimizer = optimizer_of(sparse, clock)
    gradient = torch.tensor([[1.0, -2.0, 0.5], [3.0, -0.1, 1.0]], dtype=torch.float64)
    if signs < 0:
        with torch.no_grad():
            for parameter in sparse.layers[0].parameters:
                parameter.neg_()  # θ stays
    for _ in range(50):
        step(sparse, optimizer, gradient)
    return sparse, optimizer, gradient


def in_units(moved: Tensor, sparse: Sparse, gradient: Tensor) -> Tensor:
    """A step of θ in units of −η sign(g) (|m| + |w|), which is what steps of ±η of both factors give."""
    m, w = (factor.detach() for factor in sparse.layers[0].parameters)
    return moved / (-LR * gradient.sign() * (m.abs() + w.abs()))


@pytest.mark.parametrize("signs", [1, -1])
def test_transport_lets_both_factors_go_on_as_if_the_gradients_had_met_the_new_ones(signs: int) -> None:
    sparse, optimizer, gradient = trained("transport", "run", signs)
    sparse.reset(optimizer)
    units = in_units(step(sparse, optimizer, gradient), sparse, gradient)
    torch.testing.assert_close(units, torch.ones_like(units), rtol=2e-2, atol=0)


def test_kept_averages_go_on_too_but_against_the_gradient_where_the_reset_turns_m() -> None:
    """Adam divides by the size of each factor's gradients, so their scale does not matter; their sign does."""
    for signs, direction in ((1, 1.0), (-1, -1.0)):
        sparse, optimizer, gradient = trained("keep", "run", signs)
        sparse.reset(optimizer)
        units = in_units(step(sparse, optimizer, gradient), sparse, gradient)
        assert bool((units * direction > 0.7).all())


@pytest.mark.parametrize(("clock", "length"), [("run", JUMP), ("weight", 1.0)])
def test_zeroed_averages_jump_unless_the_clock_is_the_weights_own(clock: str, length: float) -> None:
    sparse, optimizer, gradient = trained("zero", clock)
    if clock == "run":
        late(optimizer)
    sparse.reset(optimizer)
    units = in_units(step(sparse, optimizer, gradient), sparse, gradient)
    torch.testing.assert_close(units, torch.full_like(units, length), rtol=2e-2, atol=0)
