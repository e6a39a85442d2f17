"""The support under any optimizer, and the state tensors of each: what is masked, zeroed, transported, left alone."""

import inspect
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from commons import InputError
from sparse_training.masks import Masks, make_masks
from sparse_training.reparam import HAM, PILoT, Reparam, SignIn, Sparse, layer, sparsify
from sparse_training.reparam.optimizer_states import (
    PER_WEIGHT,
    STATES,
    Kind,
    kinds_of,
    may_overwrite_gradients,
    zero_state,
)

Optimizer = torch.optim.Optimizer
NAMED = pytest.mark.parametrize("reparam", [None, SignIn(), HAM(), PILoT()], ids=lambda r: r and r.name)


class Whitened(Optimizer):
    """Steps along (GGᵀ)^(−1/2) G, as Shampoo does; for a square weight the preconditioner has the weight's shape."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.05) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                gradient = p.grad.reshape(len(p), -1)
                held = self.state[p].setdefault("preconditioner", torch.eye(len(p), dtype=p.dtype))
                held += gradient @ gradient.T
                values, vectors = torch.linalg.eigh(held)
                p -= group["lr"] * (vectors @ torch.diag(values.rsqrt()) @ vectors.T @ gradient).view_as(p)


class Noisy(torch.optim.SGD):
    """SGD on gradients to which noise is added everywhere."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.grad += torch.randn_like(p)
        super().step()


class Normed(Optimizer):
    """Divides each gradient, in place, by its norm, and steps along it."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p -= 0.1 * p.grad.div_(p.grad.norm())


def network(reparam: Reparam | None, dtype: torch.dtype = torch.float32) -> Sparse:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 8, bias=False)).to(dtype)
    return sparsify(model, make_masks(model, 0.5, "random"), reparam)


def backward(sparse: Sparse) -> None:
    sparse.model.zero_grad()
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(1)).to(sparse.masks.device)
    sparse.model(x.to(next(sparse.model.parameters()).dtype)).square().mean().backward()


def off(sparse: Sparse) -> int:
    """Non-zero entries off the masks, in weights, in factors and in the merged network."""
    found = sum(int(weight[~sparse.masks[name]].count_nonzero()) for name, weight in sparse.weights().items())
    found += sum(int(p[~layer.mask].count_nonzero()) for layer in sparse._layers for p in layer.parameters)
    plain = sparse.merge()
    return found + sum(int(plain.get_parameter(n)[~mask].count_nonzero()) for n, mask in sparse.masks.items())


MIXING = {
    "muon": lambda p: torch.optim.Muon(p, lr=0.05),
    "whitened": Whitened,
    "noisy": lambda p: Noisy(p, lr=0.05, momentum=0.9),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.05),
}


@NAMED
@pytest.mark.parametrize("optimizer", MIXING)
@pytest.mark.parametrize("attached", [False, True])
def test_the_support_holds_under_optimizers_that_mix_entries(
    reparam: Reparam | None, optimizer: str, attached: bool
) -> None:
    sparse = network(reparam)
    stepper = MIXING[optimizer](sparse.model.parameters())
    if attached:
        sparse.attach(stepper)
    for _ in range(3):
        backward(sparse)

        def closure() -> Tensor:
            backward(sparse)
            return torch.zeros(())

        stepper.step(*([closure] if optimizer == "lbfgs" else []))
        if not attached:
            sparse.after_step(stepper)
        assert off(sparse) == 0
    assert all(bool(weight.any()) for weight in sparse.weights().values())


def test_state_that_is_not_per_weight_is_left_alone() -> None:
    for reparam in (None, SignIn()):
        sparse = network(reparam)
        stepper = Whitened(sparse.model.parameters())
        backward(sparse)
        stepper.step()
        before = {p: state["preconditioner"].clone() for p, state in stepper.state.items()}
        sparse.after_step(stepper)
        sparse.set_masks(make_masks(sparse.merge(), 0.5, "random", seed=3), stepper)
        assert all(torch.equal(before[p], state["preconditioner"]) for p, state in stepper.state.items())


NO_DECAY = {"Muon": {"weight_decay": 0.0}, "AdamW": {"weight_decay": 0.0}}
ARGUMENTS = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.5, "centered": True}, "Adam": {"amsgrad": True}}


def built(kind: type[Optimizer], sparse: Sparse, lr: float = 1e-3) -> Optimizer:
    return kind(sparse.model.parameters(), lr=lr, **ARGUMENTS.get(kind.__name__, {}))  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", STATES, ids=lambda kind: kind.__name__)
def test_the_table_names_every_state_tensor_and_its_start(kind: type[Optimizer]) -> None:
    sparse = network(None)
    optimizer, kinds = built(kind, sparse), STATES[kind]
    backward(sparse)
    optimizer.step()
    for parameter, state in optimizer.state.items():
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        assert set(tensors) <= set(kinds)
        for key, value in tensors.items():
            assert (kinds[key] not in PER_WEIGHT) or value.shape == parameter.shape
    before = {key: value.clone() for key, value in next(iter(optimizer.state.values())).items()}
    zero_state(optimizer)
    for state in optimizer.state.values():
        for key, value in state.items():
            assert bool(value.any()) == (kinds[key] is Kind.CONSTANT)
    for key, value in next(iter(optimizer.state.values())).items():
        assert kinds[key] is not Kind.CONSTANT or torch.equal(value, before[key])
    backward(sparse)
    optimizer.step()
    assert all(bool(weight.isfinite().all()) for weight in sparse.weights().values())


@pytest.mark.parametrize("kind", STATES, ids=lambda kind: kind.__name__)
def test_first_moments_are_linear_and_second_ones_quadratic_in_the_gradients(kind: type[Optimizer]) -> None:
    found: list[dict[str, Tensor]] = []
    for scale in (1.0, 3.0):
        parameter = nn.Parameter(torch.zeros(4, 4, dtype=torch.float64))
        optimizer = kind([parameter], lr=1e-9, **ARGUMENTS.get(kind.__name__, {}), **NO_DECAY.get(kind.__name__, {}))  # type: ignore[call-arg]
        for step in range(3):
            rng = torch.Generator().manual_seed(step // 2)
            parameter.grad = scale * torch.rand(4, 4, generator=rng, dtype=torch.float64)
            optimizer.step()
        found.append(optimizer.state[parameter])
    for key, of_kind in STATES[kind].items():
        if of_kind in (Kind.FIRST, Kind.SECOND) and key in found[0]:
            power = 1 if of_kind is Kind.FIRST else 2
            torch.testing.assert_close(found[1][key], 3.0**power * found[0][key], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("momentum", ["transport", "zero", "keep"])
@pytest.mark.parametrize("kind", STATES, ids=lambda kind: kind.__name__)
def test_training_goes_on_after_a_reset(kind: type[Optimizer], momentum: str) -> None:
    sparse = network(SignIn(momentum=momentum))
    optimizer = built(kind, sparse)
    if momentum == "transport" and Kind.SHARED in STATES[kind].values():
        with pytest.raises(InputError, match="averages for each weight alone"):
            sparse.attach(optimizer)
        return
    sparse.attach(optimizer)
    for _ in range(3):
        for _ in range(3):
            backward(sparse)
            optimizer.step()
        sparse.reset(optimizer)
    assert all(bool(weight.isfinite().all()) for weight in sparse.weights().values())
    assert off(sparse) == 0


@pytest.mark.parametrize("momentum", ["transport", "zero"])
def test_an_unknown_optimizer_is_refused_before_it_steps_where_its_state_is_needed(momentum: str) -> None:
    sparse = network(SignIn(momentum=momentum))
    unknown = Whitened(sparse.model.parameters())
    for call in (sparse.attach, sparse.after_step, sparse.reset):
        with pytest.raises(InputError, match=f"Whitened.*as momentum='{momentum}' asks.*known are SGD"):
            call(unknown)
    with pytest.raises(InputError, match="as zeroing it asks"):
        zero_state(unknown)


def test_a_subclass_is_known_by_the_step_that_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Renamed(torch.optim.SGD):
        pass

    parameter = [nn.Parameter(torch.zeros(2))]
    assert kinds_of(Renamed(parameter, lr=0.1)) is STATES[torch.optim.SGD]
    assert kinds_of(Noisy(parameter, lr=0.1)) is None
    monkeypatch.setitem(STATES, Noisy, {"momentum_buffer": Kind.FIRST})
    assert kinds_of(Noisy(parameter, lr=0.1)) == {"momentum_buffer": Kind.FIRST}


FUSED: list[Callable[..., Optimizer]] = [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
]


@pytest.mark.parametrize("reparam", [HAM(), PILoT(strength=0.1)], ids=lambda r: r.name)
@pytest.mark.parametrize("optimizer", FUSED, ids=["sgd-momentum", "sgd", "sgd-fused", "adamw-fused"])
@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("good", [0, 2])
def test_nothing_follows_a_step_that_the_scaler_skipped(
    reparam: Reparam, optimizer: Callable[..., Optimizer], attached: bool, good: int
) -> None:
    sparse = network(reparam)
    with torch.no_grad():
        sparse._layers[0].parameters[0][sparse._layers[0].mask.nonzero()[0].unbind()] = 0.0  # an active weight at 0
    stepper, scaler = optimizer(sparse.model.parameters()), torch.amp.GradScaler("cpu")
    if attached:
        sparse.attach(stepper)
    for step in range(good + 1):
        sparse.model.zero_grad()
        scaler.scale(sparse.model(torch.ones(2, 8)).square().mean()).backward()
        before = {name: weight.clone() for name, weight in sparse.weights().items()}
        if step == good:
            for layer in sparse._layers:
                for parameter in layer.parameters:
                    parameter.grad.fill_(torch.inf)
        scaler.step(stepper)
        scaler.update()
        sparse.after_step(stepper)
        same = all(torch.equal(weight, before[name]) for name, weight in sparse.weights().items())
        assert same == (step == good)


def test_each_optimizer_cares_for_the_weights_that_it_holds() -> None:
    sparse = network(HAM())
    first, second = (layer.parameters[0] for layer in sparse._layers)
    muon, adam = torch.optim.Muon([first], lr=0.01), torch.optim.AdamW([second], lr=0.01)
    for optimizer in (muon, adam):
        sparse.attach(optimizer)
    backward(sparse)
    before = second.detach().clone()
    muon.step()
    assert torch.equal(second, before)
    adam.step()
    assert off(sparse) == 0
    assert not torch.equal(second, before)


def test_the_repr_says_what_it_is() -> None:
    text = repr(network(SignIn(beta=2.0)))
    assert text.startswith("Sparse(Sequential, 2 masked weights, 64 of 128 entries active, density 50.0000%, SignIn(")
    assert "plain weights" in repr(network(None))
    assert isinstance(network(None).masks, Masks)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fmt", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("at_once", [False, True])  # as on cuda
def test_whatever_stands_off_the_mask_becomes_plus_zero_and_no_other_bit_changes(
    dtype: torch.dtype, fmt: torch.memory_format, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "launches_cost", lambda tensor: at_once)
    model = nn.Conv2d(3, 4, 3, bias=False).to(dtype).to(memory_format=fmt)  # type: ignore[call-overload]
    sparse = sparsify(model, make_masks(model, 0.5, "random"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mask, weight = sparse.masks["weight"], model.weight
    for value in (torch.nan, torch.inf, -0.0, -1.0):
        with torch.no_grad():
            weight.fill_(value)
        sparse.after_step(optimizer)
        expected = torch.full_like(weight, value).masked_fill(~mask, 0.0)
        word = {8: torch.int64, 4: torch.int32, 2: torch.int16}[weight.element_size()]
        assert torch.equal(weight.detach().view(word), expected.view(word))
        assert weight.is_contiguous(memory_format=fmt)


class Wrapper(Optimizer):
    """An optimizer in name only, as some libraries make them: it has no hooks of its own."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.inner.step()


def test_a_wrapper_without_hooks_is_followed_at_every_call_and_cannot_be_attached() -> None:
    found = []
    for wrapped in (False, True):
        sparse = network(HAM())
        optimizer: Optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.1)
        if wrapped:
            optimizer = Wrapper(optimizer)
            with pytest.raises(InputError, match=r"Wrapper.*step hooks; attach the one that it wraps"):
                sparse.attach(optimizer)
        for _ in range(3):
            backward(sparse)
            optimizer.step()
            sparse.after_step(optimizer)
        found.append(sparse.weights())
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())


@pytest.mark.parametrize("kind", STATES, ids=lambda kind: kind.__name__)
def test_only_optimizers_that_may_overwrite_gradients_work_on_copies(kind: type[Optimizer]) -> None:
    offered = inspect.signature(kind.__init__).parameters
    options = [{"foreach": lists} for lists in (False, True)] if "foreach" in offered else [{}]
    for extra in ({"weight_decay": 0.1}, {"maximize": True}, {"momentum": 0.9, "nesterov": True}, {"amsgrad": True}):
        options += [option | extra for option in options[:2] if set(extra) <= set(offered)]
    for option in options:
        parameter = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
        optimizer = kind([parameter], lr=0.1, **option)  # type: ignore[call-arg]
        for seed in (1, 2):
            parameter.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))
            given = parameter.grad.clone()
            optimizer.step()
        assert torch.equal(parameter.grad, given) is not may_overwrite_gradients(optimizer), option
    assert may_overwrite_gradients(Noisy([parameter], lr=0.1))


def test_an_entry_of_ones_own_does_not_say_that_gradients_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATES, Normed, {})
    sparse = network(HAM())
    optimizer = Normed(sparse.model.parameters(), {"lr": 0.1})
    assert may_overwrite_gradients(optimizer)
    sparse.attach(optimizer)
    backward(sparse)
    given = [parameter.grad.clone() for parameter in sparse.model.parameters() if parameter.grad is not None]
    optimizer.step()
    assert all(torch.equal(p.grad, old) for p, old in zip(sparse.model.parameters(), given, strict=True))


@pytest.mark.parametrize("attached", [True, False])
def test_ham_steps_from_the_gradient_that_an_optimizer_overwrites(attached: bool) -> None:
    found = []
    for lists in (False, True):  # over lists of tensors, Nesterov's momentum is added to the gradient in place
        sparse = network(HAM(), torch.float64)
        optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.1, momentum=0.9, nesterov=True, foreach=lists)
        if attached or lists:
            sparse.attach(optimizer)
        for _ in range(3):
            backward(sparse)
            given = [parameter.grad for parameter in sparse.model.parameters()]
            values = [gradient.clone() for gradient in given if gradient is not None]
            optimizer.step()
            sparse.after_step(optimizer)
            assert all(parameter.grad is old for parameter, old in zip(sparse.model.parameters(), given, strict=True))
            assert all(torch.equal(old, value) for old, value in zip(given, values, strict=True) if old is not None)
        found.append(sparse.weights())
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=1e-12, atol=0)


def test_ham_refuses_gradients_that_were_overwritten_before_it_came() -> None:
    sparse = network(HAM())
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.1, momentum=0.9, nesterov=True, foreach=True)
    backward(sparse)
    optimizer.step()
    with pytest.raises(InputError, match=r"SGD.*attached before its first step, as HAM asks"):
        sparse.after_step(optimizer)
