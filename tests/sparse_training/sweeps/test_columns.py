"""Formulas are arithmetic over a run's numbers, and nothing in them is ever executed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from sparse_training.sweeps.columns import Formula

NUMBERS = {"train": 90.0, "test": 80.0, "zero": 0.0, "missing": None}


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(-9, 9))
def test_arithmetic_is_pythons(a: float, b: float, c: int) -> None:
    formula = Formula("f", f"-(a + {c}) * b - max(a, b, 2) ** 2 + abs(b)")
    assert formula({"a": a, "b": b}) == -(a + c) * b - max(a, b, 2) ** 2 + abs(b)


@pytest.mark.parametrize("text", ["train / zero", "log(zero)", "missing + 1", "10 ** 10 ** 10", "(0 - 1) ** 0.5"])
def test_what_is_not_defined_is_absent(text: str) -> None:
    assert Formula("f", text)(NUMBERS) is None


def test_functions() -> None:
    assert Formula("f", "sqrt(train) + log(test)")(NUMBERS) == math.sqrt(90) + math.log(80)


REFUSED = """
__import__('os') | train.real | [1] | lambda: 1 | train if test else 0 | open(train) | 'a' | | 1; 2 | max() | f(train)
| max(a, key=b) | a < b | not a | a or b | (a := 1)
"""


@pytest.mark.parametrize("text", [text.strip() for text in REFUSED.split("|")])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"columns\.f="):
        Formula("f", text)


def test_an_unknown_number_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean train\?"):
        Formula("f", "trian + 1")(NUMBERS)
