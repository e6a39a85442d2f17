"""The single neuron: exact flows, basins and times, and the theorems about them, proved by SymPy.

It never imports torch, and imports SymPy and SciPy only when a name that needs them is used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theory.invariants import invariant as invariant
    from theory.invariants import limit_point as limit_point
    from theory.invariants import margin as margin
    from theory.invariants import recovers as recovers
    from theory.invariants import separatrix as separatrix
    from theory.parametrization import Chart as Chart
    from theory.parametrization import ChartFlow as ChartFlow
    from theory.parametrization import Flow as Flow
    from theory.parametrization import Identity as Identity
    from theory.parametrization import Power as Power
    from theory.parametrization import Product as Product
    from theory.parametrization import SignedPower as SignedPower
    from theory.parametrization import SignIn as SignIn
    from theory.parametrization import Standard as Standard
    from theory.parametrization import metric as metric
    from theory.parametrization import reset as reset

_HOME = {
    "invariants": ["invariant", "limit_point", "margin", "recovers", "separatrix"],
    "parametrization": [
        "Chart",
        "ChartFlow",
        "Flow",
        "Identity",
        "Power",
        "Product",
        "SignIn",
        "SignedPower",
        "Standard",
        "metric",
        "reset",
    ],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module 'theory' has no attribute {name!r}")
    return getattr(importlib.import_module(f"theory.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
