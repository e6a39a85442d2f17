"""Training methods by name, each one class with the three moments of `Method`.

They decide which weights are active and when; the loop that calls them lives in training/.
"""

from commons.registry import Registry, subclass_of
from sparse_training.methods.acdc import ACDC
from sparse_training.methods.gmp import GMP
from sparse_training.methods.iterative import IMP, LRR
from sparse_training.methods.lifecycle import Start, Training
from sparse_training.methods.method import Method
from sparse_training.methods.own_loop import Attached
from sparse_training.methods.pairing import unmet_need
from sparse_training.methods.rigl import RiGL
from sparse_training.methods.set import SET
from sparse_training.methods.soft_threshold import STR
from sparse_training.methods.static import Static

METHODS: Registry[type[Method]] = Registry(
    "a subclass of Method",
    {method.name: method for method in (Static, GMP, ACDC, STR, RiGL, SET, IMP, LRR)},
    accept=subclass_of(Method),
)

__all__ = [
    "ACDC",
    "GMP",
    "IMP",
    "LRR",
    "METHODS",
    "SET",
    "STR",
    "Attached",
    "Method",
    "RiGL",
    "Start",
    "Static",
    "Training",
    "unmet_need",
]
