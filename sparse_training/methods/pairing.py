"""Which reparametrizations a training method works with: each says what it does or offers, and the pair decides."""

from typing import ClassVar, Protocol

from sparse_training.reparam import Reparam


class States(Protocol):
    """What a `Method` states of itself."""

    name: ClassVar[str]
    regrows: ClassVar[bool]
    owns_weight: ClassVar[bool]


def unmet_need(method: States, reparam: Reparam | None) -> str:
    """The need of the method that `reparam` does not meet, as a clause; "" where the two work together."""
    if reparam is None:
        return ""
    if method.owns_weight and reparam.is_chart:
        return f"{method.name} writes each weight itself, and {reparam.name} would write it by factors as well"
    if method.regrows and not reparam.leaves_zero:
        return f"{method.name} frees weights that must leave 0, and under {reparam.name} a weight stays at 0"
    return ""
