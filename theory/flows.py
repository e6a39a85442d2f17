"""The gradient flows of a neuron: which charts its two weights a and w are written in.

A flow states what moves and never moves it; `dynamics/` integrates.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from commons import number
from theory.charts import Chart, Identity, Product, SignedPower


class Flow(ABC):
    """The gradient flow of a neuron whose a and w (each component of it) are written in the charts `a` and `w`.

    `unit` scales invariant and margin to the form that is customary for the flow.
    """

    unit: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def a(self) -> Chart: ...

    @property
    @abstractmethod
    def w(self) -> Chart: ...

    @property
    def source(self) -> str:
        """The less exact of the sources of the two charts."""
        return max(self.a.source, self.w.source, key=["closed form", "symbolic", "quadrature"].index)


@dataclass(frozen=True)
class Standard(Flow):
    """Gradient flow in a and w themselves; invariant a² − w²."""

    a = Identity()
    w = Identity()


@dataclass(frozen=True)
class SignIn(Flow):
    """a = m_a·w_a and w = m_w·w_w with m² − w² = β_a, β_w > 0; invariant √(4a² + β_a²) − √(4w² + β_w²)."""

    beta_a: float = 1.0
    beta_w: float = 1.0
    unit = 2.0

    def __post_init__(self) -> None:
        number("beta_a", self.beta_a, above=0)
        number("beta_w", self.beta_w, above=0)

    @property
    def a(self) -> Product:
        return Product(self.beta_a)

    @property
    def w(self) -> Product:
        return Product(self.beta_w)


@dataclass(frozen=True)
class Power(Flow):
    """w = sign(u)|u|^p and a as it is; invariant a² − |w|^{2/p}/p. For p < 1 the chart of w is not C¹."""

    p: float
    a = Identity()

    def __post_init__(self) -> None:
        number("p", self.p, above=0)

    @property
    def w(self) -> SignedPower:
        return SignedPower(self.p)


@dataclass(frozen=True)
class ChartFlow(Flow):
    """The flow of any two charts; a parametrization of your own is a subclass of `Chart` with one method."""

    chart_a: Chart
    chart_w: Chart

    @property
    def a(self) -> Chart:
        return self.chart_a

    @property
    def w(self) -> Chart:
        return self.chart_w
