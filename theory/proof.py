"""Theorems whose proofs are relations that SymPy decides; a step that it cannot decide fails the proof.

An equation must simplify to exact zero. An inequality must come with a certificate: an expression that is equal to the
difference of its sides, and whose sign SymPy reads off the assumptions on its symbols.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

QUADRANTS = ("a > 0, w > 0", "a < 0, w > 0", "a > 0, w < 0", "a < 0, w < 0")
FLIPPED = {sp.Gt: sp.Lt, sp.Lt: sp.Gt, sp.Ge: sp.Le, sp.Le: sp.Ge}
SIGN = {sp.Gt: "is_positive", sp.Lt: "is_negative", sp.Ge: "is_nonnegative", sp.Le: "is_nonpositive"}
CALCULUS = (sp.Derivative, sp.Integral, sp.Limit, sp.Sum, sp.Subs)


@dataclass(frozen=True)
class Step:
    """One claim of a proof.

    says: the claim in words.   relation: an unevaluated SymPy relation; symbols carry the hypotheses as assumptions.
    certificate: for an inequality, an expression equal to left − right whose sign SymPy reads off the assumptions.
    """

    says: str
    relation: Relational
    certificate: sp.Expr | None = None

    @property
    def claim(self) -> str:
        return f"{self.says}: {self.relation.lhs} {self.relation.rel_op} {self.relation.rhs}"

    @cached_property
    def holds(self) -> bool:
        """Whether SymPy decides the relation true; where SymPy gives up or raises, it does not."""
        try:
            return self._decided()
        except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
            return False

    def _decided(self) -> bool:
        difference = self.relation.lhs.doit() - self.relation.rhs.doit()
        if isinstance(self.relation, sp.Eq):
            return vanishes(difference)
        if self.certificate is None or getattr(self.certificate, SIGN[self.relation.func]) is not True:
            return False
        return vanishes(difference - self.certificate)

    def mutants(self) -> Iterator["Step"]:
        """The step with one sign, exponent or inequality of its claim flipped, once for each that it has."""
        kind, left, right = self.relation.func, self.relation.lhs, self.relation.rhs
        if kind in FLIPPED:
            yield self._with(FLIPPED[kind], left, right)
        if left != 0 and right != 0:
            yield self._with(kind, -left, right)
        yield from (self._with(kind, changed, right) for changed in _changes(left) if changed != left)
        yield from (self._with(kind, left, changed) for changed in _changes(right) if changed != right)

    def _with(self, kind: Callable[..., Relational], left: sp.Expr, right: sp.Expr) -> "Step":
        return Step(self.says, kind(left, right, evaluate=False), self.certificate)


@dataclass(frozen=True)
class Proof:
    """The steps of a theorem, decided. `holds` is true only if every step is."""

    steps: tuple[Step, ...]

    @property
    def holds(self) -> bool:
        return bool(self.steps) and all(step.holds for step in self.steps)


@dataclass(frozen=True)
class Theorem:
    """A statement about the single neuron.

    name: such as "Theorem 5.1".   title: what it is about.   steps: a function that returns the steps of its proof.
    statement: in LaTeX, as are hypotheses.   paper: what the paper says.   differs: what is changed, and why.
    table: what it says of each of the four sign quadrants, in the order of QUADRANTS.
    predict: the statement as a function on numbers.
    """

    name: str
    title: str
    hypotheses: tuple[str, ...]
    statement: str
    paper: str
    differs: str
    table: tuple[str, str, str, str]
    predict: Callable[..., Any]
    steps: tuple[Step, ...]

    def prove(self) -> Proof:
        """Decide every step; about a second a theorem."""
        return Proof(self.steps)


def equal(says: str, left: Any, right: Any) -> Step:
    """The step left = right."""
    return Step(says, sp.Eq(left, right, evaluate=False))


def positive(says: str, expression: Any, certificate: Any) -> Step:
    """The step expression > 0."""
    return Step(says, sp.Gt(expression, 0, evaluate=False), sp.sympify(certificate))


def negative(says: str, expression: Any, certificate: Any) -> Step:
    """The step expression < 0."""
    return Step(says, sp.Lt(expression, 0, evaluate=False), sp.sympify(certificate))


def at_least(says: str, left: Any, right: Any, certificate: Any) -> Step:
    """The step left ≥ right."""
    return Step(says, sp.Ge(left, right, evaluate=False), sp.sympify(certificate))


def vanishes(expression: sp.Expr) -> bool:
    """Whether SymPy simplifies the expression to exact zero; a value away from 0 at a random point refutes it first."""
    if expression == 0:
        return True
    if expression.has(sp.zoo, sp.nan, sp.oo) or expression.has(sp.Limit, sp.Integral) or _refuted(expression):
        return False
    return any(rewrite(expression) == 0 for rewrite in (sp.expand, sp.simplify, _by_radicals))


def _by_radicals(expression: sp.Expr) -> sp.Expr:
    return sp.simplify(sp.radsimp(sp.together(sp.expand_trig(expression))))


def _refuted(expression: sp.Expr) -> bool:
    if expression.has(AppliedUndef):
        return False
    if expression.has(sp.Sum, sp.Indexed):
        expression = expression.subs({n: 2 for n in expression.free_symbols if n.is_integer}).doit()
        expression = expression.xreplace({entry: sp.Dummy(real=True) for entry in expression.atoms(sp.Indexed)})
    rng = random.Random(0)
    for _ in range(2):
        point = {
            symbol: sp.Rational(rng.randint(3, 40), 17) * (-1 if symbol.is_negative else 1)
            for symbol in sorted(expression.free_symbols, key=sp.default_sort_key)
        }
        value = expression.subs(point).evalf(30)
        if value.is_number and not abs(value) < 1e-18:
            return True
    return False


def _changes(expression: sp.Expr) -> Iterator[sp.Expr]:
    """The expression with one term or argument negated, or one exponent negated or raised by one."""
    arguments = expression.args
    if isinstance(expression, sp.Add):
        for i, term in enumerate(arguments):
            yield sp.Add(*arguments[:i], -term, *arguments[i + 1 :])
    if isinstance(expression, sp.Pow):
        base, exponent = arguments
        yield base**-exponent
        yield base ** (exponent + 1)
    if isinstance(expression, sp.Function) and len(arguments) == 1 and not isinstance(expression, AppliedUndef):
        yield expression.func(-arguments[0])
    inner = 1 if isinstance(expression, CALCULUS) else len(arguments)
    for i in range(0 if expression.is_Atom else inner):
        for changed in _changes(arguments[i]):
            yield expression.func(*arguments[:i], changed, *arguments[i + 1 :])
