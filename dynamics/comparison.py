"""Two flows side by side: which starts one of them recovers and the other does not, counted by quadrant."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from commons import refuse
from dynamics.outcome import Outcome
from dynamics.results import PhaseDiagram
from theory.flows import FLOWS, Flow, parameters

QUADRANTS = {"a > 0, w > 0": (1, 1), "a < 0, w > 0": (-1, 1), "a > 0, w < 0": (1, -1), "a < 0, w < 0": (-1, -1)}


def flow_named(argument: str, text: str) -> Flow:
    """The flow of a text such as "sign-in,beta_a=1,beta_w=0.25": its name in FLOWS, and parameters that it takes.

    The name may be "package.module:callable".   argument: its name, for errors.

    Raises:
        InputError: an unknown flow or parameter, a value that is no number, or a parameter that is missing.
    """
    name, *settings = text.split(",")
    maker = FLOWS.find(argument, name)
    known = parameters(maker)
    values: dict[str, float] = {}
    for setting in settings:
        parameter, _, value = setting.partition("=")
        parameter = parameter.strip().replace("-", "_")
        if parameter not in known:
            refuse(argument, text, f"{name} with parameters among {', '.join(known) or 'none'}", f"not {parameter!r}")
        try:
            values[parameter] = float(value)
        except ValueError:
            refuse(argument, text, "written as NAME,parameter=number,...", f"{value!r} is no number")
    for parameter, (default, _) in known.items():
        if default is None and parameter not in values:
            refuse(argument, text, "complete", f"it needs {parameter}=...")
    flow = maker(**values)
    return flow if isinstance(flow, Flow) else refuse(argument, text, FLOWS.expected)


def differences(first: PhaseDiagram, second: PhaseDiagram) -> NDArray[np.int8]:
    """Of each start of two diagrams on one grid: 0 neither recovers, 1 only the first, 2 only the second, 3 both.

    A start that one of them does not decide is −1. Returns (A, W) int8.

    Raises:
        InputError: the diagrams have different grids.
    """
    if not (np.array_equal(first.a, second.a) and np.array_equal(first.w, second.w)):
        refuse("second", second.label, "a diagram with the starts of the first")
    one, two = (diagram.outcome == Outcome.RECOVERED for diagram in (first, second))
    undecided = (first.outcome == Outcome.UNDECIDED) | (second.outcome == Outcome.UNDECIDED)
    return np.where(undecided, -1, one + 2 * two).astype(np.int8)


def by_quadrant(first: PhaseDiagram, second: PhaseDiagram) -> list[dict[str, Any]]:
    """A row for each quadrant of the two diagrams, first and second, and one for all starts.

    Starts on an axis are in no quadrant.

    Columns, as shares of the row's starts: what each flow recovers, what both do, only one, neither; and undecided.
    """
    code = differences(first, second)
    a, w = np.meshgrid(np.sign(first.a), np.sign(first.w), indexing="ij")
    places = {name: (a == signs[0]) & (w == signs[1]) for name, signs in QUADRANTS.items()}
    rows = []
    for name, here in {**places, "all starts": np.ones(code.shape, dtype=np.bool_)}.items():
        values = code[here]

        def share(*kinds: int, among: NDArray[np.int8] = values) -> float:
            return round(float(np.isin(among, kinds).mean()), 6) if among.size else float("nan")

        rows.append(
            {
                "quadrant": name,
                "starts": values.size,
                "first recovers": share(1, 3),
                "second recovers": share(2, 3),
                "both": share(3),
                "only the first": share(1),
                "only the second": share(2),
                "neither": share(0),
                "undecided": share(-1),
            }
        )
    return rows
