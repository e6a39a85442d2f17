"""The single neuron: exact flows, basins and times, and the theorems about them, proved by SymPy.

SymPy and SciPy are imported only when a name that needs them is used, so that a command answers at once.
"""

import importlib
from typing import TYPE_CHECKING

from commons.version import __version__ as __version__

if TYPE_CHECKING:
    from theory.basin_nd import invariant_nd as invariant_nd
    from theory.basin_nd import recovers_nd as recovers_nd
    from theory.charts import Chart as Chart
    from theory.charts import Identity as Identity
    from theory.charts import Product as Product
    from theory.charts import SignedPower as SignedPower
    from theory.discrete import beta_after_sign_steps as beta_after_sign_steps
    from theory.discrete import beta_after_steps as beta_after_steps
    from theory.discrete import beta_under_weight_decay as beta_under_weight_decay
    from theory.discrete import escape_learning_rate as escape_learning_rate
    from theory.flows import FLOWS as FLOWS
    from theory.flows import HAM as HAM
    from theory.flows import ChartFlow as ChartFlow
    from theory.flows import Flow as Flow
    from theory.flows import LayerRates as LayerRates
    from theory.flows import Power as Power
    from theory.flows import SignDescent as SignDescent
    from theory.flows import SignIn as SignIn
    from theory.flows import SignInSignDescent as SignInSignDescent
    from theory.flows import Standard as Standard
    from theory.flows import UnitSpeed as UnitSpeed
    from theory.invariants import fate as fate
    from theory.invariants import invariant as invariant
    from theory.invariants import limit_point as limit_point
    from theory.invariants import margin as margin
    from theory.invariants import recovers as recovers
    from theory.invariants import separatrix as separatrix
    from theory.metrics import Hypentropy as Hypentropy
    from theory.metrics import Hyperbolic as Hyperbolic
    from theory.metrics import MetricChart as MetricChart
    from theory.metrics import Scaled as Scaled
    from theory.network import network_gradient as network_gradient
    from theory.network import network_loss as network_loss
    from theory.network import separate_gradient as separate_gradient
    from theory.network import separate_loss as separate_loss
    from theory.probability import Balanced as Balanced
    from theory.probability import Gaussian as Gaussian
    from theory.probability import Probability as Probability
    from theory.probability import Uniform as Uniform
    from theory.probability import quadrant_share as quadrant_share
    from theory.probability import success_probability as success_probability
    from theory.proof import Proof as Proof
    from theory.proof import Step as Step
    from theory.proof import Theorem as Theorem
    from theory.redistribution import metric as metric
    from theory.redistribution import mirror_step as mirror_step
    from theory.redistribution import reset as reset
    from theory.theorems import THEOREM_5_1 as THEOREM_5_1
    from theory.theorems import THEOREM_5_2 as THEOREM_5_2
    from theory.theorems import THEOREM_5_4 as THEOREM_5_4
    from theory.theorems import THEOREMS as THEOREMS
    from theory.timing import flip_time as flip_time
    from theory.timing import time_to_loss as time_to_loss
    from theory.timing import trajectory as trajectory

_HOME = {
    "basin_nd": ["invariant_nd", "recovers_nd"],
    "network": ["network_gradient", "network_loss", "separate_gradient", "separate_loss"],
    "probability": ["Balanced", "Gaussian", "Probability", "Uniform", "quadrant_share", "success_probability"],
    "timing": ["flip_time", "time_to_loss", "trajectory"],
    "discrete": ["beta_after_sign_steps", "beta_after_steps", "beta_under_weight_decay", "escape_learning_rate"],
    "proof": ["Proof", "Step", "Theorem"],
    "theorems": ["THEOREMS", "THEOREM_5_1", "THEOREM_5_2", "THEOREM_5_4"],
    "invariants": ["fate", "invariant", "limit_point", "margin", "recovers", "separatrix"],
    "charts": ["Chart", "Identity", "Product", "SignedPower"],
    "flows": [
        *("FLOWS", "HAM", "ChartFlow", "Flow", "LayerRates", "Power", "SignDescent", "SignIn", "SignInSignDescent"),
        *("Standard", "UnitSpeed"),
    ],
    "metrics": ["Hyperbolic", "Hypentropy", "MetricChart", "Scaled"],
    "redistribution": ["metric", "mirror_step", "reset"],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module 'theory' has no attribute {name!r}")
    return getattr(importlib.import_module(f"theory.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
