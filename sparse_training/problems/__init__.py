"""Tasks on which signs decide: many small networks trained at once, in arms that differ in one thing."""

from commons.registry import Registry, subclass_of
from sparse_training.problems.base import Arm, Problem, Runs
from sparse_training.problems.digits_hard import DigitsHard
from sparse_training.problems.measuring import Measured, measure
from sparse_training.problems.neurons import Neurons
from sparse_training.problems.tables import report, write_report
from sparse_training.problems.three_layer import ThreeLayer

PROBLEMS: Registry[type[Problem]] = Registry(
    "a subclass of Problem", {kind.name: kind for kind in (Neurons, ThreeLayer, DigitsHard)}, subclass_of(Problem)
)

__all__ = [
    "PROBLEMS",
    "Arm",
    "DigitsHard",
    "Measured",
    "Neurons",
    "Problem",
    "Runs",
    "ThreeLayer",
    "measure",
    "report",
    "write_report",
]
