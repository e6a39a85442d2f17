"""Vector fields for torch at d = 1, generated from the symbolic gradients and metrics of theory/.

Each half-plane has a field of its own, which is smooth: the kink of the loss at w = 0 lies between the two.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import sympy as sp
import torch

from commons import refuse
from theory.charts import Chart, Identity, Product, SignedPower
from theory.flows import Flow
from theory.neuron import loss_negative, loss_positive

State = tuple[torch.Tensor, ...]
Field = Callable[[State, Sequence[torch.Tensor]], State]


class HalfPlane:
    """The d = 1 flow on one side of w = 0, in the coordinates (a, y), where w = side·y^power and y ≥ 0.

    exponent: the q of dθ/dt = −g(θ)·sign(∂L/∂θ)|∂L/∂θ|^{q−1}, 2 for gradient flow and 1 for sign descent.

    The power is 1 for a chart that is regular at 0. If the speed of w is 0 or infinite at w = 0, the power is such
    that y moves at a finite speed there that is not 0, so that arriving at the wall and leaving it are ordinary steps.

    rough: whether the field is not differentiable everywhere, so that the error of a step is underestimated.
    """

    def __init__(self, chart_of_a: Chart, chart_of_w: Chart, side: int, exponent: float = 2.0) -> None:
        if chart_of_a.order != 1:
            refuse("flow", chart_of_a, "a flow whose chart of a is regular at 0, which this integrator asks for")
        order = sp.nsimplify(chart_of_w.order)
        self.side, self.exponent = side, exponent
        self.regular = order == 1
        power = order / (2 - order) if order < 2 else order
        if side < 0:
            power = order / (2 - 2 * order) if order < 1 else order
        self.power, self.order = float(power), float(order)
        self.crosses = order < 2 if side > 0 else order < 1
        q = sp.nsimplify(exponent, rational=True)
        if q < 2:
            self.crosses, self.power = True, 1.0 if side > 0 else float(1 / (2 - q))
            power = sp.Integer(1) if side > 0 else 1 / (2 - q)
            self.regular = power == 1
        a, y = sp.Symbol("a", real=True), sp.Symbol("y", positive=True)
        chart_a, self._a_names, names_a = _symbolic(chart_of_a, "a")
        chart_w, self._w_names, names_w = _symbolic(chart_of_w, "w")
        w = sp.Symbol("w", real=True)
        loss = (loss_positive if side > 0 else loss_negative)(a, w)
        at = {w: side * y**power}
        if q == 2:  # factored before y comes in: a polynomial in y^1999, as for p = 1.999, takes SymPy for ever
            speed_a = sp.factor(-_metric(chart_a, a) * loss.diff(a)).subs(at)
        else:
            speed_a = -_metric(chart_a, a) * _drive(loss.diff(a).subs(at), q)
        metric_w = _metric(chart_w, w).subs(at)
        speed_y = -metric_w * _drive(loss.diff(w).subs(at), q) / (side * power * y ** (power - 1))
        self._real = self.regular and q == 2  # whether the field has values behind the wall as well
        self.rough = self.order < 1 or q < 2 or speed_a.has(sp.Abs)
        if q == 2:
            speed_y = sp.factor(speed_y) if self.regular else sp.expand(sp.powsimp(speed_y))
        else:  # torch cannot take the root of a constant such as ½
            speed_a, speed_y = sp.N(speed_a, 17), sp.N(speed_y, 17)
        speeds = [speed_a, speed_y]
        rates = [_metric(c, sp.Integer(0)) if c.order == 1 else sp.Integer(1) for c in (chart_a, chart_w)]
        self._rates = sp.lambdify([*names_a, *names_w], rates, modules="torch")
        self._function = sp.lambdify([a, y, *names_a, *names_w], speeds, modules="torch", cse=True)

    def __call__(self, state: State, parameters: Sequence[torch.Tensor]) -> State:
        a, y = state
        speed_a, speed_y = self._function(a, y if self._real else y.clamp_min(0), *parameters)
        return speed_a, speed_y

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self._a_names + self._w_names

    def parameters(self, flow: Flow) -> list[float]:
        """The values of flow's parameters, in the order in which the field takes them."""
        return [getattr(flow.a, n) for n in self._a_names] + [getattr(flow.w, n) for n in self._w_names]

    def spread(self, parameters: Sequence[torch.Tensor]) -> float:
        """The root of the larger metric at the saddle, at least 1: how far orbits of a small invariant reach."""
        return math.sqrt(max(1.0, *(float(torch.as_tensor(rate).max()) for rate in self._rates(*parameters))))

    def weight(self, y: torch.Tensor) -> torch.Tensor:
        """The w of a coordinate y."""
        return self.side * (y if self.power == 1 else y.clamp_min(0) ** self.power)

    def coordinate(self, w: torch.Tensor) -> torch.Tensor:
        """The y of a weight on this side."""
        return self.side * w if self.power == 1 else (self.side * w) ** (1 / self.power)


def half_plane(flow: Flow, side: int) -> HalfPlane:
    """The field of flow on side = +1 (w > 0) or −1; one object for every β of Sign-In, so that it is compiled once.

    Raises:
        InputError: the chart of a is not regular at 0, or a chart cannot be told from others by its hash.
    """
    charts = [Product(1.0) if type(chart) is Product else chart for chart in (flow.a, flow.w)]
    try:
        return _half_plane(charts[0], charts[1], side, flow.exponent)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        refuse("flow", flow, "made of hashable charts", "a dataclass is one with @dataclass(frozen=True)")


@lru_cache(maxsize=64)
def _half_plane(chart_a: Chart, chart_w: Chart, side: int, exponent: float) -> HalfPlane:
    return HalfPlane(chart_a, chart_w, side, exponent)


def _drive(slope: sp.Expr, q: sp.Rational) -> sp.Expr:
    """sign(slope)|slope|^{q−1}, factor by factor, so that powers of y that cancel are gone before y is 0."""
    if q == 2:
        return slope
    factors = sp.factor(slope).as_powers_dict().items()
    size = sp.Mul(*(sp.Abs(base) ** (power * (q - 1)) for base, power in factors))
    return sp.sign(sp.factor(slope)) * size


def _symbolic(chart: Chart, layer: str) -> tuple[Chart, tuple[str, ...], list[sp.Symbol]]:
    """A Product with a symbol in the place of its β, its parameter and the symbol; any other chart as it is."""
    if type(chart) is not Product:
        return chart, (), []
    twin, symbol = copy.copy(chart), sp.Symbol(f"beta_{layer}", positive=True)
    object.__setattr__(twin, "beta", symbol)
    return twin, ("beta",), [symbol]


def _metric(chart: Chart, theta: sp.Expr) -> sp.Expr:
    """g(θ), with numbers in the place of constants such as √3, of which torch cannot take the root."""
    metric = chart.metric_expression(theta)
    return metric if type(chart) in (Identity, Product, SignedPower) else sp.N(metric, 17)
