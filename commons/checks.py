"""Arguments are checked once, at the door, and a wrong one gets one line: name, value, what was expected, what is near.

These functions never repair an argument.
"""

import difflib
import math
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np


class InputError(ValueError):
    """A user's mistake, told in one line; commands print it without a traceback and exit with status 2."""


def refuse(argument: str, value: object, expected: str, hint: str = "") -> NoReturn:
    """Raise InputError `argument=value is not expected; hint`."""
    raise InputError(f"{argument}={value!r} is not {expected}" + (f"; {hint}" if hint else ""))


def nearest(value: str, choices: Iterable[str]) -> str:
    """`did you mean X?` for the one of `choices` closest to value, or an empty string where none is close."""
    close = difflib.get_close_matches(value, list(choices), n=1)
    return f"did you mean {close[0]}?" if close else ""


def percentage(text: str) -> str:
    """`did you mean 0.1?` for "10%", or an empty string where the text is no percentage."""
    number, percent, rest = text.partition("%")
    try:
        return f"did you mean {float(number) / 100:g}?" if percent and not rest else ""
    except ValueError:
        return ""


def choice(argument: str, value: str, choices: Iterable[str]) -> str:
    """Return value if it is one of choices.

    Raises:
        InputError: it is none; the line names the argument, lists the choices and says which is nearest.
    """
    known = list(choices)
    if value not in known:
        listed = ", ".join(repr(name) if "," in name else name for name in known)
        refuse(argument, value, f"one of {listed}", nearest(str(value), known))
    return value


def number(
    argument: str,
    value: float,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    integer: bool = False,
    hint: str = "",
) -> float:
    """Return value if it is a finite number within the bounds (exclusive above/below, inclusive at_least/at_most).

    argument: its name, for the error.   integer: whether it must be integral.   hint: the end of the error's line.

    Raises:
        InputError: not a number, not finite, not integral where `integer`, or out of bounds.
    """
    kind = "an integer" if integer else "a finite number"
    left = f"({above:g}" if above > at_least else f"[{at_least:g}"
    right = f"{below:g})" if below < at_most else f"{at_most:g}]"
    bounded = max(above, at_least) > -math.inf or min(below, at_most) < math.inf
    expected = f"{kind} in {left}, {right}" if bounded else kind
    expected = expected.replace("[-inf", "(-inf").replace("inf]", "inf)")
    try:
        real = float(value)
    except (TypeError, ValueError):
        refuse(argument, value, expected, hint)
    valid = math.isfinite(real) and (not integer or real == int(real))
    if isinstance(value, bool | str) or not (valid and above < real < below and at_least <= real <= at_most):
        refuse(argument, value, expected, hint)
    return value


def finite(argument: str, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return value as a float64 array if every entry is finite.

    Raises:
        InputError: it is no array of numbers, or has an entry that is not finite; the line names argument and entry.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(argument, value, "an array of numbers")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        refuse(f"{argument}{list(where) if where else ''}", float(array[where]), "finite")
    return array


def broadcast(**arrays: Any) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """The arrays as finite float64, broadcast against each other; InputError names the shapes that do not fit."""
    values = [finite(name, value) for name, value in arrays.items()]
    try:
        return list(np.broadcast_arrays(*values))
    except ValueError:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in zip(arrays, values, strict=True))
        raise InputError(f"the shapes of {shapes} do not broadcast") from None
