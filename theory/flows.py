"""The gradient flows of a neuron: in which charts its two weights a and w are written.

A flow states what moves; `dynamics/` integrates it.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from commons import number
from commons.registry import Registry
from theory.charts import Chart, Identity, Product, SignedPower, parameters_of
from theory.metrics import Hypentropy, Hyperbolic, Scaled, SignIdentity, SignProduct


class Flow(ABC):
    """The gradient flow of a neuron a·relu(w·x) whose weight a is written in the chart `a`, and each w_i in `w`.

    Each weight moves by dθ/dt = −g(θ)·sign(∂L/∂θ)|∂L/∂θ|^{q−1}, where q = `exponent` is 2 but for sign descent.

    unit: the factor that brings invariant and margin to the form that is customary for the flow.
    """

    unit: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def a(self) -> Chart:
        """The chart of the outer weight a."""

    @property
    @abstractmethod
    def w(self) -> Chart:
        """The chart of each component of the inner weight w."""

    @property
    def exponent(self) -> float:
        """The q of the steps −sign(∇L)|∇L|^{q−1}: 2 for gradient flow, 1 for sign descent."""
        return 2.0

    @property
    def exactness(self) -> str:
        """The less exact of the two charts' `exactness`."""
        return max(self.a.exactness, self.w.exactness, key=["closed form", "symbolic", "quadrature"].index)

    @property
    def name(self) -> str:
        """The name under which FLOWS has the flow, or else where its class is defined, as "module:class"."""
        registered = (name for name, kind in FLOWS.items() if kind is type(self))
        return next(registered, f"{type(self).__module__}:{type(self).__qualname__}")

    @property
    def label(self) -> str:
        """The flow in a few words, for legends and titles."""
        return f"{self.a.formula('a')}, {self.w.formula('w')}"

    def describe(self) -> dict[str, Any]:
        """The flow in plain values for the settings of a saved result: name, label, parameters and both charts."""
        charts = {"a": self.a.describe(), "w": self.w.describe()}
        return {"name": self.name, "label": self.label, **parameters_of(self), **charts}


@dataclass(frozen=True)
class Standard(Flow):
    """Gradient flow in a and w themselves, which conserves a² − w²."""

    a = Identity()
    w = Identity()
    label = "standard flow"


@dataclass(frozen=True)
class SignIn(Flow):
    """Gradient flow in the factors of a = m_a·w_a and w = m_w·w_w, with m² − w² = β_a and β_w > 0.

    It conserves √(4a² + β_a²) − √(4w² + β_w²). The paper writes β₁ for β_a
    and β₂ for β_w, the arguments beta_a and beta_w.
    """

    beta_a: Annotated[float, "m² − w² of the factors of the outer weight a"] = 1.0
    beta_w: Annotated[float, "m² − w² of the factors of the inner weight w"] = 1.0
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

    @property
    def label(self) -> str:
        return f"Sign-In, β_a = {self.beta_a:g}, β_w = {self.beta_w:g}"


@dataclass(frozen=True)
class Power(Flow):
    """Gradient flow in a itself and in u, where w = sign(u)|u|^p; for p < 1 the chart of w is not C¹.

    It conserves a² − |w|^{2/p}/p.
    """

    p: Annotated[float, "exponent of w = sign(u)|u|^p"] = 0.5
    a = Identity()

    def __post_init__(self) -> None:
        number("p", self.p, above=0)

    @property
    def w(self) -> SignedPower:
        return SignedPower(self.p)

    @property
    def label(self) -> str:
        return f"w = sign(u)|u|^{self.p:g}"


@dataclass(frozen=True)
class LayerRates(Flow):
    """Gradient flow in a and w themselves with a learning rate for each layer: what no geometry explains away.

    It conserves a²/rate_a − w²/rate_w.
    """

    rate_a: Annotated[float, "learning rate of the outer weight a"] = 1.0
    rate_w: Annotated[float, "learning rate of the inner weight w"] = 1.0

    def __post_init__(self) -> None:
        number("rate_a", self.rate_a, above=0)
        number("rate_w", self.rate_w, above=0)

    @property
    def a(self) -> Scaled:
        return Scaled(Identity(), self.rate_a)

    @property
    def w(self) -> Scaled:
        return Scaled(Identity(), self.rate_w)

    @property
    def label(self) -> str:
        return f"layer rates, η_a = {self.rate_a:g}, η_w = {self.rate_w:g}"


@dataclass(frozen=True)
class UnitSpeed(Flow):
    """The geometry of Sign-In without its learning rate: g = √(1 + 4θ²/β²), which is 1 at θ = 0.

    It conserves (β_a/2)√(4a² + β_a²) − (β_w/2)√(4w² + β_w²), β_a and β_w being beta_a and beta_w. As β → 0 it is
    exponentiated gradient, as β → ∞ the standard flow.
    """

    beta_a: Annotated[float, "m² − w² of the factors of the outer weight a"] = 1.0
    beta_w: Annotated[float, "m² − w² of the factors of the inner weight w"] = 1.0

    def __post_init__(self) -> None:
        number("beta_a", self.beta_a, above=0)
        number("beta_w", self.beta_w, above=0)

    @property
    def a(self) -> Hypentropy:
        return Hypentropy(self.beta_a)

    @property
    def w(self) -> Hypentropy:
        return Hypentropy(self.beta_w)

    @property
    def label(self) -> str:
        return f"unit speed, β_a = {self.beta_a:g}, β_w = {self.beta_w:g}"


@dataclass(frozen=True)
class HAM(Flow):
    """The flow of Hyperbolic Aware Minimization without its decay, g = 1 + α|θ|; α = 0 is the standard flow.

    It conserves E_a(a) − E_w(w) with E = (2/α)(|θ| − ln(1 + α|θ|)/α). alpha_a, alpha_w: the α of each layer, ≥ 0.
    """

    alpha_a: Annotated[float, "α ≥ 0 of the outer weight a"] = 1.0
    alpha_w: Annotated[float, "α ≥ 0 of the inner weight w"] = 1.0

    def __post_init__(self) -> None:
        number("alpha_a", self.alpha_a, at_least=0)
        number("alpha_w", self.alpha_w, at_least=0)

    @property
    def a(self) -> Hyperbolic:
        return Hyperbolic(self.alpha_a)

    @property
    def w(self) -> Hyperbolic:
        return Hyperbolic(self.alpha_w)

    @property
    def label(self) -> str:
        return f"HAM, α_a = {self.alpha_a:g}, α_w = {self.alpha_w:g}"


@dataclass(frozen=True)
class SignDescent(Flow):
    """a and w step by −sign(∇L)|∇L|^{q−1}: sign descent, the limit of Adam, for q = 1, and gradient flow for q = 2.

    With one input it conserves |a|^q − |w|^q. For q < 2 a weight that the loss pushes to 0 arrives in finite time.
    """

    q: Annotated[float, "1 ≤ q ≤ 2 of the steps −sign(∇L)|∇L|^{q−1}"] = 1.0

    def __post_init__(self) -> None:
        number("q", self.q, at_least=1, at_most=2)

    @property
    def exponent(self) -> float:
        return self.q

    @property
    def a(self) -> SignIdentity:
        return SignIdentity(self.q)

    @property
    def w(self) -> SignIdentity:
        return SignIdentity(self.q)

    @property
    def label(self) -> str:
        return "sign descent" if self.q == 1 else f"steps of power {self.q - 1:g}"


@dataclass(frozen=True)
class SignInSignDescent(Flow):
    """The factors of a and of w step by −sign(∇L)|∇L|^{q−1}, which keeps |m|^q − |w|^q, λ_a and λ_w.

    With one input it conserves √(4|a|^q + λ_a²) − √(4|w|^q + λ_w²). q = 2 is Sign-In, with β for λ. lambda_a and
    lambda_w are λ_a and λ_w.
    """

    lambda_a: Annotated[float, "|m|^q − |w|^q of the factors of the outer weight a"] = 1.0
    lambda_w: Annotated[float, "|m|^q − |w|^q of the factors of the inner weight w"] = 1.0
    q: Annotated[float, "1 ≤ q ≤ 2 of the steps −sign(∇L)|∇L|^{q−1}"] = 1.0
    unit = 2.0

    def __post_init__(self) -> None:
        number("lambda_a", self.lambda_a, above=0)
        number("lambda_w", self.lambda_w, above=0)
        number("q", self.q, at_least=1, at_most=2)

    @property
    def exponent(self) -> float:
        return self.q

    @property
    def a(self) -> SignProduct:
        return SignProduct(self.lambda_a, self.q)

    @property
    def w(self) -> SignProduct:
        return SignProduct(self.lambda_w, self.q)

    @property
    def label(self) -> str:
        steps = "sign descent" if self.q == 1 else f"steps of power {self.q - 1:g}"
        return f"Sign-In under {steps}, λ_a = {self.lambda_a:g}, λ_w = {self.lambda_w:g}"


@dataclass(frozen=True)
class ChartFlow(Flow):
    """The flow of any two charts, chart_a for a and chart_w for w; q < 2 is that of sign descent and its like.

    A parametrization of your own is a subclass of `Chart` with one method.
    """

    chart_a: Chart
    chart_w: Chart
    q: float = 2.0

    @property
    def exponent(self) -> float:
        return self.q

    @property
    def a(self) -> Chart:
        return self.chart_a

    @property
    def w(self) -> Chart:
        return self.chart_w


def _maker(part: object) -> Callable[..., Flow] | None:
    """What FLOWS keeps of a part: a class or function as it is, and for a flow a function that returns it."""
    if isinstance(part, Flow):
        return lambda: part
    return part if callable(part) else None


FLOWS: Registry[Callable[..., Flow]] = Registry(
    "a flow, or a class or function that makes one",
    {
        "standard": Standard,
        "sign-in": SignIn,
        "power": Power,
        "layer-rates": LayerRates,
        "unit-speed": UnitSpeed,
        "ham": HAM,
        "sign-descent": SignDescent,
        "sign-in-sign-descent": SignInSignDescent,
    },
    accept=_maker,
)
"""The flows by name. Each entry is called with the flow's parameters, which `parameters` lists."""


class Parameter(NamedTuple):
    """A number that a flow takes: its default (None: it must be given) and what it means."""

    default: float | None
    text: str


def parameters(maker: Callable[..., Flow]) -> dict[str, Parameter]:
    """The parameters of an entry of FLOWS, by its signature; `Annotated[float, "..."]` there says what one means."""
    found = {}
    for name, given in inspect.signature(maker, eval_str=True).parameters.items():
        default = None if given.default is inspect.Parameter.empty else given.default
        found[name] = Parameter(default, next(iter(getattr(given.annotation, "__metadata__", ())), ""))
    return found


def restored(described: Mapping[str, Any]) -> Flow | None:
    """The flow that `Flow.describe` described, or None for one whose class FLOWS does not have.

    The charts of such a flow are code, and a description is only data: nothing in it is executed.
    """
    maker = FLOWS.get(described.get("name", ""))
    if maker is None:
        return None
    return maker(**{name: described[name] for name in parameters(maker) if name in described})
