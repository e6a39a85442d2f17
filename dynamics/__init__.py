"""Integration of the flows that theory/ states, from many starts at once, and the discrete maps beside them.

Names are imported when they are used, so that a command answers at once.
"""

import importlib
from typing import TYPE_CHECKING

from commons.version import __version__ as __version__

if TYPE_CHECKING:
    from dynamics.comparison import by_quadrant as by_quadrant
    from dynamics.comparison import differences as differences
    from dynamics.comparison import flow_named as flow_named
    from dynamics.decay import integrate_decay as integrate_decay
    from dynamics.discrete import Descent as Descent
    from dynamics.discrete import adam as adam
    from dynamics.discrete import gradient_descent as gradient_descent
    from dynamics.discrete import sgd as sgd
    from dynamics.factors import integrate_factors as integrate_factors
    from dynamics.nd import integrate_nd as integrate_nd
    from dynamics.outcome import Outcome as Outcome
    from dynamics.outcome import Reason as Reason
    from dynamics.phase import phase_diagram as phase_diagram
    from dynamics.results import PhaseDiagram as PhaseDiagram
    from dynamics.results import Sweep as Sweep
    from dynamics.sampling import sample_paths as sample_paths
    from dynamics.trajectories import Trajectories as Trajectories
    from dynamics.trajectories import integrate as integrate

_HOME = {
    "results": ["PhaseDiagram", "Sweep"],
    "discrete": ["Descent", "adam", "gradient_descent", "sgd"],
    "trajectories": ["Trajectories", "integrate"],
    "outcome": ["Outcome", "Reason"],
    "comparison": ["by_quadrant", "differences", "flow_named"],
    "phase": ["phase_diagram"],
    "sampling": ["sample_paths"],
    "factors": ["integrate_factors"],
    "decay": ["integrate_decay"],
    "nd": ["integrate_nd"],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module 'dynamics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dynamics.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
