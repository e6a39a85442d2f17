"""The theorems as phase diagrams: which flows show them, for the paper's β's or others, integrated and drawn."""

from typing import TYPE_CHECKING

from commons.checks import choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from theory import Flow

FLOWS: dict[str, tuple[str, ...]] = {  # the parameters that become β_a and β_w; empty: the plain flow
    "standard": (),
    "Sign-In, beta_a > beta_w": ("beta_a", "beta_w"),
    "Sign-In, beta_a = beta_w": ("beta_a", "beta_a"),
    "Sign-In, beta_a < beta_w": ("beta_w", "beta_a"),
}
THEOREMS = ("5.1", "5.2", "5.4")


def flows(beta_a: float = 1.0, beta_w: float = 0.25) -> "dict[str, Flow]":
    """The plain flow, and Sign-In with (β_a, β_w), with β_a for both, and exchanged; the paper's β₁ is β_a."""
    from theory import SignIn, Standard

    given = {"beta_a": beta_a, "beta_w": beta_w}
    return {name: SignIn(*(given[key] for key in keys)) if keys else Standard() for name, keys in FLOWS.items()}


def flows_of(theorem: str = "", beta_a: float = 1.0, beta_w: float = 0.25, p: float = 0.5) -> "list[Flow]":
    """The flows that show a theorem: 5.1 the plain one, 5.2 Sign-In, and 5.4 that beside w = sign(u)|u|^p.

    For p < 1 the latter is not C¹, and it crosses w = 0 as no C¹ parametrization does. Without a name: all of `flows`.

    Raises:
        InputError: there is no such theorem, or a parameter is not above 0.
    """
    from theory import Power, SignIn, Standard

    if not theorem:
        return list(dict.fromkeys(flows(beta_a, beta_w).values()))
    sign_in = SignIn(beta_a, beta_w)
    shown: dict[str, list[Flow]] = {"5.1": [Standard()], "5.2": [sign_in], "5.4": [sign_in, Power(p)]}
    return shown[choice("theorem", theorem, THEOREMS)]


def panel(chosen: "list[Flow]", grid: int, extent: float = 2.0) -> "Figure":
    """Integrate the flows from grid × grid starts in [−extent, extent]² and draw them on shared axes."""
    from commons.cli import progress
    from dynamics import phase_diagram
    from figures.phase_diagrams import phase_figure, theorems_figure

    diagrams = []
    with progress() as bars:
        task = bars.add_task("integrating", total=len(chosen))
        for done, flow in enumerate(chosen):
            bars.update(task, description=f"integrating {flow.label}", completed=done)
            diagrams.append(phase_diagram(flow, grid=grid, extent=extent))
    return phase_figure(diagrams[0]) if len(diagrams) == 1 else theorems_figure(diagrams)


def diagram_file(name: str) -> str:
    """File name of a diagram called `Sign-In, beta_a > beta_w` or the like."""
    words = name.lower().replace(",", "").replace(">", "above").replace("<", "below").replace("=", "equals")
    return words.replace(" ", "-")
