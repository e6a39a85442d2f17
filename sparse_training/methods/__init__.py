"""Training methods by name, each one class with the three moments of `Method`.

They decide which weights are active and when; scores, schedules and the loop live elsewhere.
"""

from sparse_training.methods.lifecycle import Method, Training
from sparse_training.methods.static import Static

METHODS: dict[str, type[Method]] = {method.name: method for method in (Static,)}

__all__ = ["METHODS", "Method", "Static", "Training"]
