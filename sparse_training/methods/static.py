"""Training with one mask from the first step to the last; with density 1 this is dense training."""

from dataclasses import dataclass
from typing import ClassVar

from sparse_training.methods.method import Method


@dataclass(frozen=True)
class Static(Method):
    """Each moment does what `Method` says: the masks of the configuration stay throughout."""

    name: ClassVar[str] = "static"
    keeps_support: ClassVar[bool] = True
