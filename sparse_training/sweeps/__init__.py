"""Sweeps: many runs from one file, on any machines, with a ledger that loses none and a table over seeds and arms."""

from sparse_training.sweeps.execute import Settings, Sweep
from sparse_training.sweeps.ledger import Ledger
from sparse_training.sweeps.plan import Plan
from sparse_training.sweeps.reading import load_plan

__all__ = ["Ledger", "Plan", "Settings", "Sweep", "load_plan"]
