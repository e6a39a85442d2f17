"""The numbers of a run by name, and formulas over them, which are read as arithmetic and never executed as code."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from commons.checks import nearest, refuse

OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
METRICS = (
    "epochs",
    "steps",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "bits_per_byte",
    "density",
    "sign_passes",
)
FLIPS = ("weights", "active", "zero", "compared", "flipped", "flips", "same")  # counts, summed over the layers
STARTS = ("redrawn_signs", "redrawn_magnitudes", "final_signs")  # of runs that start from another run
NAMES = (*METRICS, *FLIPS, *STARTS, "settled", "lambda_max", "seconds")
HIGHER_IS_BETTER = ("train_accuracy", "test_accuracy")
LOWER_IS_BETTER = ("train_loss", "test_loss", "bits_per_byte")
FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "log": math.log, "sqrt": math.sqrt, "max": max, "min": min}


def numbers(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, float | None]:
    """The numbers of a run in a ledger, by the names in `NAMES`, and its derived columns; None for what it lacks.

    flipped, same: active weights with the opposite of their first sign, or with that sign, of those `compared`. flips:
    changes of sign in all epochs. settled: the epoch after which fewer than 1 % flip. final_signs: share of the active
    weights that start with the last sign of the run that they start from. seconds: of training.
    """
    flips, sharpness = record["flips"], record["sharpness"]
    found: dict[str, float | None] = {**dict.fromkeys(NAMES), **(record["metrics"] or {})}
    if flips:
        found |= {name: sum(row[i] for row in flips["layers"].values()) for i, name in enumerate(flips["columns"])}
        found["settled"] = flips["settled"]
    found |= {name: (record["start"] or {}).get(name) for name in STARTS}
    found["lambda_max"] = sharpness["value"] if sharpness else None
    found["seconds"] = record["seconds"]["training"]
    return found | {name: Formula(name, text)(found) for name, text in columns.items()}


def names_of(columns: Mapping[str, str]) -> list[str]:
    """The names that `numbers` gives."""
    return [*NAMES, *columns]


class Formula:
    """A formula such as `train_accuracy - test_accuracy` or `100 * flipped / active`.

    It may use numbers, + - * / **, parentheses, abs, log, sqrt, max, min, and the names of a run's numbers.

    Raises:
        InputError: the text is anything else.
    """

    def __init__(self, name: str, text: Any) -> None:
        self.name = name
        try:
            self._tree = ast.parse(str(text), mode="eval").body
            self._check(self._tree)
        except (SyntaxError, ValueError):
            refuse(
                f"columns.{name}", text, "a formula over a run's numbers", f"allowed are {' '.join(FUNCTIONS)} + - * /"
            )

    def __call__(self, numbers: Mapping[str, float | None]) -> float | None:
        """Its value, or None where a number that it needs is missing or it is not defined.

        Raises:
            InputError: it names a number that no run has.
        """
        missing = next((name for name in self.names() if name not in numbers), None)
        if missing is not None:
            refuse(f"columns.{self.name}", missing, f"one of {', '.join(numbers)}", nearest(missing, numbers))
        if any(numbers[name] is None for name in self.names()):
            return None
        try:
            value = self._value(self._tree, numbers)
        except (ArithmeticError, ValueError):
            return None
        return value if isinstance(value, int | float) and math.isfinite(value) else None

    def names(self) -> list[str]:
        """The numbers that it uses."""
        found = [node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)]
        return [name for name in dict.fromkeys(found) if name not in FUNCTIONS]

    def _check(self, node: ast.AST) -> None:
        match node:
            case ast.Constant(value=int() | float()) | ast.Name():
                return
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                self._check(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                self._check(left)
                self._check(right)
            case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in FUNCTIONS:
                for argument in arguments:
                    self._check(argument)
            case _:
                raise ValueError(ast.dump(node))

    def _value(self, node: ast.AST, numbers: Mapping[str, Any]) -> float:
        match node:
            case ast.Constant(value=value):
                return float(value)  # type: ignore[arg-type]
            case ast.Name(id=name):
                return float(numbers[name])
            case ast.UnaryOp(op=op, operand=operand):
                return OPERATORS[type(op)](self._value(operand, numbers))
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATORS[type(op)](self._value(left, numbers), self._value(right, numbers))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return FUNCTIONS[name](*(self._value(argument, numbers) for argument in arguments))
        raise AssertionError(node)
