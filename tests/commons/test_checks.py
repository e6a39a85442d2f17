import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError, choice, finite, number


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_number_passes_exactly_the_half_open_interval(value: float) -> None:
    if 0 < value <= 1:
        assert number("density", value, above=0, at_most=1) == value
    else:
        with pytest.raises(InputError, match=r"^density=.* is not a finite number in \(0, 1\]$"):
            number("density", value, above=0, at_most=1)


@pytest.mark.parametrize("value", [True, None, "many", 1.5, math.nan])
def test_an_integer_is_asked_for_and_nothing_else_will_do(value: object) -> None:
    with pytest.raises(InputError, match=r"grid=.* is not an integer in"):
        number("grid", value, at_least=0, integer=True)  # type: ignore[arg-type]


def test_a_refusal_is_one_line_with_the_nearest_choice() -> None:
    with pytest.raises(InputError) as caught:
        choice("score", "synflo", ["random", "snip", "synflow"])
    assert str(caught.value) == "score='synflo' is not one of random, snip, synflow; did you mean synflow?"


def test_the_first_entry_that_is_not_finite_is_named() -> None:
    with pytest.raises(InputError, match=r"a0\[1, 0\]=nan is not finite"):
        finite("a0", [[1.0, 2.0], [math.nan, math.inf]])
