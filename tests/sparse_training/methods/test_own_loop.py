"""Training methods in a loop of one's own: the same bits as in the loop that calls their moments, and restarts."""

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training import HAM, SignIn, make_masks, prunable, sparsify
from sparse_training.methods import ACDC, METHODS, SET, STR, Method, RiGL, Start, Training
from sparse_training.reparam import REPARAMS, Reparam, Sparse
from sparse_training.reparam.optimizer_states import STATES

STEPS, EPOCH = 12, 3
SHORT = {"every": 2, "rewind": 0.3, "begin_at": 0.1, "end_at": 0.9, "initial": -3.0, "share": 0.5}


def made(name: str) -> Method:
    own = {field.name for field in fields(METHODS[name])}
    return METHODS[name](**{key: value for key, value in SHORT.items() if key in own})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def batch(step: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(step)
    return torch.randn(16, 6, generator=rng), torch.randint(0, 4, (16,), generator=rng)


def density(method: Method) -> float:
    return 0.5 if method.name != "str" else 1.0


def own(method: Method, reparam: Reparam | None, steps: int = STEPS) -> tuple[Sparse, torch.optim.Optimizer, object]:
    model = network()
    masks = make_masks(model, 1.0 if method.begins_dense else 0.5, "random", "erk")
    sparse = sparsify(model, masks, reparam)
    method.prepare(sparse)  # before the optimizer, so that thresholds decay as weights do
    optimizer = torch.optim.Adam(sparse.parameter_groups(1e-2), lr=1e-2)
    return sparse, optimizer, method.attach(sparse, optimizer, steps, density=density(method), steps_per_epoch=EPOCH)


def loop(sparse: Sparse, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        cross_entropy(sparse.model(x), y).backward()
        optimizer.step()


class Derived(torch.optim.Adam):
    """An optimizer whose step is that of its base class, once it works."""

    works = True

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        if not self.works:
            raise RuntimeError("a step that fails")
        super().step()


def test_a_step_that_calls_that_of_a_base_class_is_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATES, Derived, STATES[torch.optim.Adam])
    torch.optim.Adam([nn.Parameter(torch.zeros(1))])  # from now on torch calls hooks in the step of Adam too
    ends = []
    for kind in (torch.optim.Adam, Derived):
        model = network()
        sparse = sparsify(model, make_masks(model, 0.5, "random"), HAM())
        optimizer = kind(sparse.model.parameters(), lr=1e-2)
        attached = RiGL(every=2).attach(sparse, optimizer, STEPS)
        loop(sparse, optimizer, range(3))
        if kind is Derived:
            Derived.works = False
            with pytest.raises(RuntimeError, match="fails"):
                loop(sparse, optimizer, range(3, 4))
            Derived.works = True
        loop(sparse, optimizer, range(3, 6))
        assert attached.training.step == 6
        ends.append((sparse.masks, sparse.weights()))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(weight, ends[1][1][name]) for name, weight in ends[0][1].items())


def by_moments(method: Method, reparam: Reparam | None, start_masks: Callable[[nn.Module], object]) -> Sparse:
    model = network()
    common = {
        "density": density(method),
        "steps_per_epoch": EPOCH,
        "cycle_steps": STEPS // method.cycles(density(method)),
        "total_steps": STEPS,
        "generator": torch.Generator(),
        "memory": {},
    }
    start = Start(
        **common,
        model=model,
        prunable=tuple(prunable(model)),
        reparam=reparam,
        start_masks=lambda: make_masks(model, 0.5, "random", "erk"),
    )
    sparse = method.begin(start)
    optimizer = torch.optim.Adam(sparse.parameter_groups(1e-2), lr=1e-2)
    sparse.attach(optimizer)

    def gradient(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return sparse.dense_gradient(lambda: cross_entropy(model(x), y))

    training = Training(**common, sparse=sparse, optimizer=optimizer, dense_gradient=gradient)
    for step in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(model(batch(step)[0]), batch(step)[1]).backward()
        if not method.on_gradient(training, batch(step)):
            optimizer.step()
        training.step += 1
        method.on_step(training)
    return sparse


PAIRS = [(name, None) for name in METHODS] + [("rigl", "sign-in"), ("acdc", "sign-in"), ("gmp", "unit-speed")]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_steps_of_an_optimizer_are_the_moments_of_a_method(name: str, kind: str | None) -> None:
    method, reparam = made(name), REPARAMS[kind]() if kind else None
    if name == "set":
        pytest.skip("it draws from its own stream, which its seed determines")
    sparse, optimizer, _ = own(method, reparam)
    loop(sparse, optimizer, range(STEPS))
    other = by_moments(method, reparam, network)
    assert sparse.masks == other.masks
    for weight, expected in zip(sparse.weights().values(), other.weights().values(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=0, atol=0)
    if name != "str":
        assert sparse.masks.density == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_restart_goes_on_bit_for_bit(name: str, kind: str | None) -> None:
    method, reparam = made(name), REPARAMS[kind]() if kind else None
    whole, optimizer, _ = own(method, reparam)
    loop(whole, optimizer, range(STEPS))
    first, optimizer, attached = own(method, reparam)
    loop(first, optimizer, range(5))
    states = [{**part.state_dict()} for part in (attached, first.model, optimizer)]
    second, optimizer, attached = own(method, reparam)
    for part, state in zip((attached, second.model, optimizer), states, strict=True):
        part.load_state_dict(state)
    loop(second, optimizer, range(5, STEPS))
    assert whole.masks == second.masks
    for weight, expected in zip(second.weights().values(), whole.weights().values(), strict=True):
        assert torch.equal(weight, expected)


def test_rigl_sees_the_gradient_of_all_backward_passes_of_a_step() -> None:
    """Two halves of a batch, accumulated under factors, grow what the whole batch grows without."""
    grown = []
    for reparam in (None, SignIn()):
        sparse, optimizer, _ = own(RiGL(every=1, fraction=0.5), reparam)
        x, y = batch(0)
        for step in range(2):
            optimizer.zero_grad()
            for part in (slice(0, 8), slice(8, 16)):
                (cross_entropy(sparse.model(x[part]), y[part]) / 2).backward()
            if step == 1:
                seen = sparse.gradient_at_hand()
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            optimizer.step()
        grown.append(seen)
    for name, gradient in grown[0].items():
        torch.testing.assert_close(grown[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_thresholds_join_an_optimizer_that_was_built_before() -> None:
    model = network()
    sparse = sparsify(model, make_masks(model, 1.0, "random"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    STR(initial=-3.0).attach(sparse, optimizer, STEPS)
    assert len(optimizer.param_groups[-1]["params"]) == 2
    loop(sparse, optimizer, range(2))
    assert all(layer.module.parametrizations.weight[0].s.grad is not None for layer in sparse.layers)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        (ACDC(), {"density": 0.1}, "dense, as acdc begins"),
        (SET(), {}, "steps_per_epoch"),
        (RiGL(), {"total_steps": 0}, "total_steps"),
    ],
)
def test_what_a_method_misses_is_named(method: Method, options: dict[str, float], words: str) -> None:
    model = network()
    sparse = sparsify(model, make_masks(model, 0.5, "random"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=words):
        method.attach(sparse, optimizer, **{"total_steps": 10, **options})
    with pytest.raises(InputError, match="stays at 0"):
        RiGL().attach(sparsify(network(), sparse.masks, REPARAMS["spred"]()), optimizer, 10)


def test_a_step_that_a_scaler_skips_is_no_step_of_the_method() -> None:
    sparse, optimizer, attached = own(RiGL(every=2), SignIn())
    scaler, before = torch.amp.GradScaler("cpu", init_scale=4.0), sparse.masks
    for step in range(3):
        x, y = batch(step)
        optimizer.zero_grad()
        scaler.scale(cross_entropy(sparse.model(x), y) * (torch.inf if step == 2 else 1)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert attached.training.step == 2
    assert sparse.masks == before
    assert all(bool(weight.isfinite().all()) for weight in sparse.weights().values())
