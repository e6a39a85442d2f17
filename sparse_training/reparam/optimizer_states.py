"""What the state tensors of known optimizers mean, so that they are masked, zeroed and transported only as they may be.

The shape of a tensor does not tell: a square preconditioner has the shape of a square weight.
"""

import inspect
from collections.abc import Mapping
from enum import Enum

import torch
from torch import Tensor, optim

from commons.checks import refuse
from sparse_training.reparam.clocked import ClockedAdamW


class Kind(Enum):
    """What a state tensor of an optimizer holds.

    FIRST: one entry a weight, linear in the gradients, such as a momentum. SECOND: one entry a weight, a sum, mean or
    maximum of squared gradients. RUNNING: one entry a weight that starts at 0 and is neither of these, such as an
    average of updates. SHARED: an average that several weights share; it starts at 0. CONSTANT: a count, a rate or a
    step size, which does not start at 0.
    """

    FIRST = "first"
    SECOND = "second"
    RUNNING = "running"
    SHARED = "shared"
    CONSTANT = "constant"


PER_WEIGHT = frozenset({Kind.FIRST, Kind.SECOND, Kind.RUNNING})

_STEP = {"step": Kind.CONSTANT}
_ADAM = {"exp_avg": Kind.FIRST, "exp_avg_sq": Kind.SECOND, "max_exp_avg_sq": Kind.SECOND, **_STEP}

STATES: dict[type[optim.Optimizer], Mapping[str, Kind]] = {
    optim.SGD: {"momentum_buffer": Kind.FIRST},
    optim.Muon: {"momentum_buffer": Kind.FIRST},  # an average of gradients; only the update mixes entries
    optim.Adam: _ADAM,
    optim.AdamW: _ADAM,
    ClockedAdamW: {"exp_avg": Kind.FIRST, "exp_avg_sq": Kind.SECOND, "clock": Kind.RUNNING},
    optim.NAdam: {**_ADAM, "mu_product": Kind.CONSTANT},
    optim.RAdam: _ADAM,
    optim.Adamax: {"exp_avg": Kind.FIRST, "exp_inf": Kind.RUNNING, **_STEP},
    optim.Adagrad: {"sum": Kind.SECOND, **_STEP},
    optim.Adadelta: {"square_avg": Kind.SECOND, "acc_delta": Kind.RUNNING, **_STEP},
    optim.RMSprop: {
        "square_avg": Kind.SECOND,
        "momentum_buffer": Kind.RUNNING,  # of gradients that are divided by their scale already
        "grad_avg": Kind.FIRST,
        **_STEP,
    },
    optim.Rprop: {"prev": Kind.FIRST, "step_size": Kind.CONSTANT, **_STEP},
    optim.ASGD: {"ax": Kind.RUNNING, "eta": Kind.CONSTANT, "mu": Kind.CONSTANT, **_STEP},
    optim.Adafactor: {"row_var": Kind.SHARED, "col_var": Kind.SHARED, "variance": Kind.SECOND, **_STEP},
}
"""The meaning of every state tensor, by class of optimizer; an entry of one's own makes another optimizer known."""

_OURS = frozenset(STATES)


def kinds_of(optimizer: optim.Optimizer) -> Mapping[str, Kind] | None:
    """The meaning of the optimizer's state tensors by name, or None for an optimizer that is not in `STATES`.

    A subclass that makes the step of a known optimizer has its state too.
    """
    kind = _stepping_as(optimizer)
    return None if kind is None else STATES[kind]


def _stepping_as(optimizer: optim.Optimizer) -> type[optim.Optimizer] | None:
    """The class in `STATES` whose step the optimizer makes."""
    for kind in type(optimizer).__mro__:
        if kind in STATES:
            same = inspect.unwrap(type(optimizer).step) is inspect.unwrap(kind.step)
            return kind if same or kind is type(optimizer) else None
    return None


def known_kinds(optimizer: optim.Optimizer, use: str) -> Mapping[str, Kind]:
    """As `kinds_of`; raises InputError, which says what the state was needed for, if the optimizer is not known."""
    kinds = kinds_of(optimizer)
    if kinds is None:
        names = ", ".join(known.__name__ for known in STATES)
        hint = f"known are {names}; add yours to sparse_training.reparam.optimizer_states.STATES"
        refuse("optimizer", type(optimizer).__name__, f"one whose state is known, as {use} asks", hint)
    return kinds


def overwrites_gradients(optimizer: optim.Optimizer) -> bool:
    """Whether the optimizer is known to leave something else in `.grad` than the gradient that it was given.

    SGD with Nesterov's momentum over lists of tensors, which is torch's choice on cuda, does.
    """
    for group in optimizer.param_groups:
        lists = group.get("foreach")
        if lists is None:
            lists = not group.get("fused") and all(parameter.is_cuda for parameter in group["params"])
        if lists and group.get("nesterov"):
            return True
    return False


def may_overwrite_gradients(optimizer: optim.Optimizer) -> bool:
    """Whether it is known to do so, or nothing is known of it, as of all but the optimizers of this file."""
    return _stepping_as(optimizer) not in _OURS or overwrites_gradients(optimizer)


@torch.no_grad()
def zero_state(optimizer: optim.Optimizer) -> None:
    """Set momentum and running averages of every parameter to 0; counts and step sizes stay.

    Raises:
        InputError: an optimizer whose state is not known.
    """
    kinds = known_kinds(optimizer, "zeroing it")
    for state in optimizer.state.values():
        for key, value in state.items():
            if isinstance(value, Tensor) and kinds.get(key, Kind.CONSTANT) is not Kind.CONSTANT:
                value.zero_()
