"""Training with one mask from the first step to the last; with density 1 this is dense training.

It never changes the support.
"""

from dataclasses import dataclass
from typing import ClassVar

from sparse_training.methods.lifecycle import Method


@dataclass
class Static(Method):
    """Every moment as `Method` has it."""

    name: ClassVar[str] = "static"
