"""Which reparametrizations a training method works with: each says what it does or offers, and the pair decides."""

from typing import ClassVar, Protocol

from sparse_training.reparam import Reparam, TwoFactors


class States(Protocol):
    """What a `Method` states of itself."""

    name: ClassVar[str]
    regrows: ClassVar[bool]
    owns_weight: ClassVar[bool]
    keeps_support: ClassVar[bool]


def unmet_need(method: States, reparam: Reparam | None) -> str:
    """The need of the method that `reparam` does not meet, as a clause; "" where the two work together."""
    if reparam is None:
        return ""
    if method.owns_weight and reparam.is_chart:
        return f"{method.name} writes each weight itself, and {reparam.name} would write it by factors as well"
    if not method.keeps_support and isinstance(reparam, TwoFactors) and reparam.storage == "active":
        return f"{method.name} changes the support, which {reparam.name} with storage='active' keeps"
    if method.regrows and not reparam.leaves_zero:
        return f"{method.name} frees weights that must leave 0, and under {reparam.name} a weight stays at 0"
    return ""
