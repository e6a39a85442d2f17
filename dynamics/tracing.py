"""A step of the integrator as C: the functions of `dynamics.stepper` are called with symbols, which write down what
is done to them.

A symbol stands where a tensor would. Every operation on it is one statement on vectors of `dynamics/kernel.c`, in the
order in which torch would do it and rounded as torch rounds it. NumPy's functions can be called with it as well.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SETS = 2  # of vectors


class UntraceableError(Exception):
    """An operation that has no statement in C: such a system is integrated by torch's operators."""


class Program:
    """Statements in the order in which they are executed; what has been computed once is not computed again.

    Each is written for two sets of vectors in turn, so that the processor need not wait for one result before the next.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.lines: list[str] = []
        self._known: dict[str, str] = {}

    def given(self, name: str, rows: int, *, shared: bool = False) -> "Symbol":
        """The rows name[set][0], name[set][1], … of a C array of vectors; shared: all sets have the first one's."""
        return Symbol(self, [f"{name}[{'0' if shared else '@'}][{i}]" for i in range(rows)])

    def write(self, name: str, value: "Symbol") -> None:
        """Store the rows of a value in a C array of vectors, after all else."""
        self.lines += [f"{name}[@][{i}] = {row};" for i, row in enumerate(value.rows)]

    def text(self) -> str:
        """The statements for all sets, in C."""
        sets = range(SETS)
        return " ".join(line.replace("@", str(i)) for line in self.lines for i in (sets if "@" in line else (0,)))

    def statement(self, expression: str, logical: bool) -> str:
        """The name of a variable that has the value of an expression."""
        if expression not in self._known:
            self._known[expression] = f"v{len(self._known)}" + "_@" * ("@" in expression)
            kind, cast = ("M", "(M)") if logical else ("V", "")
            self.lines.append(f"const {kind} {self._known[expression]} = {cast}({expression});")
        return self._known[expression]

    def number(self, value: float) -> str:
        """The name of a vector of equal numbers."""
        value = float(value)
        if math.isnan(value):
            return self.statement("all(NAN)", False)
        return self.statement(
            f"all({'-' * (value < 0)}INFINITY)" if math.isinf(value) else f"all({value.hex()})", False
        )


class Symbol:
    """The names of the rows of a tensor (rows, N), or of a tensor (N,) if it is `flat`; `logical` if it is boolean."""

    def __init__(self, program: Program, rows: Sequence[str], *, flat: bool = False, logical: bool = False) -> None:
        self.program, self.rows, self.flat, self.logical = program, list(rows), flat, logical

    @property
    def dtype(self) -> torch.dtype:
        return torch.bool if self.logical else self.program.dtype

    def dim(self) -> int:
        return 1 if self.flat else 2

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator["Symbol"]:
        return (self[i] for i in range(len(self.rows)))

    def __getitem__(self, key: "int | slice | Symbol | tuple[slice, Symbol] | None") -> "Symbol":
        where = key[-1] if isinstance(key, tuple) else key
        if isinstance(where, Symbol) and where.logical:
            return self  # all lanes are computed, and `__setitem__` picks those that were asked for
        if key is None and self.flat:
            return self._like(self.rows, flat=False)
        if self.flat or not isinstance(key, int | slice):
            raise UntraceableError(f"index {key}")
        rows = self.rows[key]
        return self._like(rows, flat=False) if isinstance(rows, list) else self._like([rows], flat=True)

    def __setitem__(self, where: "Symbol", value: "Symbol") -> None:
        self.rows = OPERATIONS["where"](where, value, self).rows

    def __bool__(self) -> bool:
        raise UntraceableError("a branch")

    def any(self) -> bool:
        """What is done if some lane asks for it is always done."""
        return True

    def _like(self, rows: Sequence[str], *, flat: bool) -> "Symbol":
        return Symbol(self.program, rows, flat=flat, logical=self.logical)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> "Symbol":
        return operation(func.__name__)(*args, **(kwargs or {}))

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **kwargs: Any) -> "Symbol":
        return operation(NUMPY.get(ufunc.__name__, ufunc.__name__))(*(_plain(x) for x in operands), **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> "Symbol":
        return operation(func.__name__)(*(_plain(x) for x in args), **kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.object_]:
        if dtype is not None:
            raise UntraceableError(f"an array of {dtype}")
        whole = np.empty((), dtype=object)  # as numpy.asarray hands it on; see `_plain`
        whole[()] = self
        return whole

    def __getattr__(self, name: str) -> Callable[..., "Symbol"]:
        if name.startswith("__"):
            raise AttributeError(name)
        function = operation(name)
        return lambda *args, **kwargs: function(self, *args, **kwargs)


def _plain(operand: Any) -> Any:
    """The symbol that `Symbol.__array__` has wrapped; anything else as it is."""
    return operand.item() if isinstance(operand, np.ndarray) and not operand.ndim else operand


def operation(name: str) -> Callable[..., Symbol]:
    """The function on symbols that torch calls by this name."""
    try:
        return OPERATIONS[name]
    except KeyError:
        raise UntraceableError(f"torch's {name}") from None


def elementwise(template: str, logical: bool = False) -> Callable[..., Symbol]:
    """The operation that a C expression in {0}, {1}, … does to each element."""

    def call(*operands: Any) -> Symbol:
        symbols = [x for x in operands if isinstance(x, Symbol)]
        program, flat = symbols[0].program, all(x.flat for x in symbols)
        count = 1 if flat else max(len(x) for x in symbols if not x.flat)
        names = [_rows(program, x, count) for x in operands]
        rows = [program.statement(template.format(*row), logical) for row in zip(*names, strict=True)]
        return Symbol(program, rows, flat=flat, logical=logical)

    return call


def _rows(program: Program, operand: Any, count: int) -> list[str]:
    """The names of `count` rows of a symbol, of one that is the same in each row, or of a number."""
    if not isinstance(operand, Symbol):
        if isinstance(operand, torch.Tensor) and operand.dim():
            raise UntraceableError("a tensor of values")
        return [program.number(operand)] * count
    if len(operand) not in (1, count):
        raise UntraceableError(f"{len(operand)} rows with {count}")
    return operand.rows * (count // len(operand))


def filled(value: float | None) -> Callable[..., Symbol]:
    """The operation that makes a tensor of one value in the form of another one."""

    def call(like: Symbol, given: float | None = None) -> Symbol:
        name = like.program.number(given if value is None else value)  # type: ignore[arg-type]
        return Symbol(like.program, [name] * len(like), flat=like.flat)

    return call


def reduced(together: Callable[[Symbol, Symbol], Symbol]) -> Callable[..., Symbol]:
    """The operation that puts the rows of a tensor together, one after the other."""

    def call(x: Symbol, dim: int = -1) -> Symbol:
        if x.flat or dim != 0:
            raise UntraceableError("a sum over starts")
        total, *rest = list(x)
        for row in rest:
            total = together(total, row)
        return total

    return call


def power(base: Any, exponent: Any) -> Symbol:
    """base**exponent as torch computes it, which knows some exponents."""
    if not isinstance(exponent, Symbol):
        special = {2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", 0.5: "root({0})", 1.0: "{0}", 0.0: "all(1)"}
        special |= {-1.0: "all(1) / {0}", -2.0: "all(1) / ({0} * {0})", -0.5: "all(1) / root({0})"}
        if float(exponent) in special:
            return elementwise(special[float(exponent)])(base)
    return elementwise("power({0}, {1})")(base, exponent)


def concatenated(parts: Sequence[Symbol], dim: int = 0) -> Symbol:
    """The rows of all parts."""
    if dim != 0 or any(part.flat for part in parts):
        raise UntraceableError("torch.cat along the starts")
    return Symbol(parts[0].program, [row for part in parts for row in part.rows])


def clamped(x: Symbol, min: float | None = None, max: float | None = None) -> Symbol:
    """X within bounds; what is no number stays so."""
    if min is not None:
        x = elementwise("pick({0} < {1}, {1}, {0})")(x, min)
    return x if max is None else elementwise("pick({0} > {1}, {1}, {0})")(x, max)


_add, _multiply, _and = elementwise("{0} + {1}"), elementwise("{0} * {1}"), elementwise("{0} & {1}", True)
OPERATIONS: dict[str, Callable[..., Symbol]] = {
    "add": _add,
    "sub": elementwise("{0} - {1}"),
    "mul": _multiply,
    "div": elementwise("{0} / {1}"),
    "neg": elementwise("-{0}"),
    "pow": power,
    "where": elementwise("pick({0}, {1}, {2})"),
    "minimum": elementwise("pick(({0} < {1}) | ({0} != {0}), {0}, {1})"),
    "maximum": elementwise("pick(({0} > {1}) | ({0} != {0}), {0}, {1})"),
    "clamp": clamped,
    "clamp_min": clamped,
    "clamp_max": lambda x, most: clamped(x, max=most),
    "abs": elementwise("size({0})"),
    "sign": elementwise("pick({0} > all(0), all(1), pick({0} < all(0), all(-1), all(0)))"),
    "square": elementwise("{0} * {0}"),
    "sqrt": elementwise("root({0})"),
    "isfinite": elementwise("{0} - {0} == all(0)", True),
    "isnan": elementwise("{0} != {0}", True),
    "zeros_like": filled(0.0),
    "ones_like": filled(1.0),
    "full_like": filled(None),
    "sum": reduced(_add),
    "all": reduced(_and),
    "cat": concatenated,
    "atan2": elementwise("each2(atan2, {0}, {1})"),
    "hypot": elementwise("each2(hypot, {0}, {1})"),
    **{name: elementwise(f"each({name}, {{0}})") for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tan")},
    **{name: elementwise(f"each({name}, {{0}})") for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    **{name: elementwise(f"each({name}, {{0}})") for name in ("atan", "asin", "acos", "erf")},
}
NUMPY = {"absolute": "abs", "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg"}
_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow"}
_LOGICAL = {"and": "{0} & {1}", "or": "{0} | {1}", "xor": "{0} ^ {1}", "lt": "{0} < {1}", "le": "{0} <= {1}"}
_LOGICAL |= {"gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "{0} == {1}", "ne": "{0} != {1}"}


def _define() -> None:
    """Give symbols the operators of Python."""
    for special, name in _BINARY.items():
        function = OPERATIONS[name]
        setattr(Symbol, f"__{special}__", function)
        setattr(Symbol, f"__r{special}__", lambda x, y, function=function: function(y, x))
    for special, template in _LOGICAL.items():
        setattr(Symbol, f"__{special}__", elementwise(template, True))
    for special in ("neg", "abs"):
        setattr(Symbol, f"__{special}__", OPERATIONS[special])
    setattr(Symbol, "__invert__", elementwise("~{0}", True))  # noqa: B010, which mypy needs


_define()
