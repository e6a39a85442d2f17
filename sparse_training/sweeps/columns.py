"""Derived columns of a table: formulas over the numbers of one run, read as arithmetic and never executed as code."""

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
FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "log": math.log, "sqrt": math.sqrt, "max": max, "min": min}


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
