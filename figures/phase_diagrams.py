"""Phase diagrams of the single neuron: outcome by colour, the flow, sample paths, and the exact separatrix on top.

The outcomes were integrated by dynamics/; the separatrix is the one that theory/ states.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from dynamics import Outcome, PhaseDiagram, differences, sample_paths
from dynamics.comparison import QUADRANTS
from dynamics.results import edge_of
from figures.style import SMALLEST, column, grid_of
from theory import recovers
from theory.flows import Flow
from theory.neuron import A, W, vector_field

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# With their transparency these colours stand on white and on a dark page; hatching tells failure in grey too.
COLOURS = {
    Outcome.RECOVERED: "#56B4E988",
    Outcome.SADDLE: "#000000FF",
    Outcome.STUCK: "#E69F0044",
    Outcome.DIVERGED: "#CC79A7FF",
    Outcome.UNDECIDED: "#88888888",
}
HATCHES = {Outcome.STUCK: "////", Outcome.DIVERGED: "////"}
GREEK = {"α": r"\alpha", "β": r"\beta", "η": r"\eta", "λ": r"\lambda"}
DIFFERENCES = {3: ("both recover", COLOURS[Outcome.RECOVERED]), 0: ("neither", COLOURS[Outcome.STUCK])}
DIFFERENCES |= {1: ("only the first", "#0072B2FF"), 2: ("only the second", "#D55E00FF")}
DIFFERENCES |= {-1: ("undecided", COLOURS[Outcome.UNDECIDED])}
DIFFERENCE_HATCHES = {0: "////", 2: "xxxx"}
NARROW = 1.4  # inches: axes that are narrower have small titles
LABELS = {outcome: outcome.name.lower() for outcome in Outcome}


def phase_figure(diagram: PhaseDiagram) -> "Figure":
    """The diagram of one flow; at double column the meaning of all marks stands beside it."""
    wide = column("single") == "double"
    figure, (axes,) = grid_of(1, "single", 4.3 if wide else 3.7)
    draw_phase_diagram(axes, diagram, legend=not wide)
    if wide:
        kinds = [kind for kind in Outcome if (diagram.outcome == kind).any()]
        figure.legend(handles=_patches(kinds) + _marks(), loc="outside right center")
    return figure


def theorems_figure(diagrams: Sequence[PhaseDiagram]) -> "Figure":
    """Several flows from the same starts on shared axes, two in a row, with what each recovers in each quadrant."""
    wide = column("double") == "double"
    rows = (len(diagrams) + 1) // 2
    height = 3.4 + 0.5 / rows if wide else 1.75 + 0.6 / rows  # of a row, with its part of the legend
    figure, panels = grid_of(len(diagrams), "double", height, stacked=2, across=2, sharex=True, sharey=True)
    top = 1 - 0.13 / figure.get_figheight()  # the layout has too little room for an exponent in a title
    figure.set_layout_engine("constrained", rect=(0, 0, 1, top))
    for letter, axes, diagram in zip("abcdefghijkl", panels, diagrams, strict=False):
        draw_phase_diagram(axes, diagram, letter=letter, legend=False)
        axes.label_outer()
    kinds = [kind for kind in Outcome if any((diagram.outcome == kind).any() for diagram in diagrams)]
    figure.legend(handles=_patches(kinds) + _marks(), loc="outside lower center", ncols=5 if wide else 3)
    return figure


def finding(diagram: PhaseDiagram) -> str:
    """What a diagram shows, in a few words: the share of a < 0 < w that recovers, and of w < 0 if any does."""
    shares = {name: inside / of for name, (inside, of) in recovered_by_quadrant(diagram).items() if of}
    told = f"recovers {shares.get('a < 0, w > 0', 0.0):.1%} of $a < 0 < w$"
    lower = shares.get("a > 0, w < 0", 0.0)
    return f"{told} and {lower:.1%} of $w < 0 < a$" if lower else told


def recovered_by_quadrant(diagram: PhaseDiagram, balanced: bool = False) -> dict[str, tuple[int, int]]:
    """(recovered starts, starts) in each open quadrant; balanced: only those with |a₀| = |w₀|."""
    a, w = np.meshgrid(diagram.a, diagram.w, indexing="ij")
    chosen = np.isclose(np.abs(a), np.abs(w)) if balanced else np.ones_like(a, dtype=bool)
    counts = {}
    for name, (sign_a, sign_w) in QUADRANTS.items():
        inside = (np.sign(a) == sign_a) & (np.sign(w) == sign_w) & chosen
        counts[name] = (int((diagram.outcome[inside] == Outcome.RECOVERED).sum()), int(inside.sum()))
    return counts


def comparison_figure(first: PhaseDiagram, second: PhaseDiagram) -> "Figure":
    """Two diagrams of the same starts, and beside them the set where they differ."""
    from matplotlib.patches import Patch

    wide = column("double") == "double"
    figure, (left, middle, right) = grid_of(3, "double", 3.1 if wide else 2.0, stacked=2)
    for letter, axes, diagram in (("a", left, first), ("b", middle, second)):
        draw_phase_diagram(axes, diagram, letter=letter, legend=False)
    code = differences(first, second)
    kinds = list(DIFFERENCES)
    _draw_cells(
        right,
        np.array([kinds.index(k) for k in range(-1, 4)])[code + 1],
        [DIFFERENCES[k][1] for k in kinds],
        first.a,
        first.w,
    )
    outcomes = [kind for kind in Outcome if any((diagram.outcome == kind).any() for diagram in (first, second))]
    _hatch(right, code, DIFFERENCE_HATCHES, first.a, first.w)
    present = [(*DIFFERENCES[kind], DIFFERENCE_HATCHES.get(kind)) for kind in kinds if (code == kind).any()]
    undecided = LABELS[Outcome.UNDECIDED]
    handles = _patches(outcomes) + [
        Patch(facecolor=colour, hatch=hatch, lw=0, label=text) for text, colour, hatch in present if text != undecided
    ]
    if wide:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    else:  # in the place of a fourth panel
        figure.axes[3].legend(handles=handles, loc="center")
    for diagram, colour in ((first, "#0072B2"), (second, "#D55E00")):
        for edge_a, edge_w in diagram.edge:
            right.plot(edge_a, edge_w, color=colour, lw=1.2)
    _frame(right, float(first.a[-1]))
    only = [(code == kind).mean() for kind in (1, 2)]
    told = f"(c) only the first: {only[0]:.2%}\nonly the second: {only[1]:.2%}"
    right.set_title(told, loc="left", fontsize=None if wide else SMALLEST)
    return figure


def draw_outcomes(axes: "Axes", outcome: np.ndarray, x: np.ndarray, y: np.ndarray, *, legend: bool = True) -> None:
    """Colour each cell of outcome (X, Y), codes of Outcome, at the axes' values x (X,) and y (Y,); hatch failure."""
    _draw_cells(axes, outcome, [COLOURS[kind] for kind in Outcome], x, y)
    _hatch(axes, outcome, HATCHES, x, y)
    present = [kind for kind in Outcome if (outcome == kind).any()]
    if legend:
        _add_legend(axes, _patches(present), len(present))


def _draw_cells(axes: "Axes", code: np.ndarray, colours: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    """Draw codes (X, Y), which are indices of colours, as cells at the values x (X,) and y (Y,)."""
    from matplotlib.colors import ListedColormap, NoNorm

    edges = (*_outer(x), *_outer(y))
    axes.imshow(
        code.T, ListedColormap(list(colours)), NoNorm(0, len(colours) - 1),
        origin="lower", extent=edges, aspect="auto", interpolation="none",
    )  # fmt: skip


def _hatch(axes: "Axes", code: np.ndarray, hatches: Mapping[Any, str], x: np.ndarray, y: np.ndarray) -> None:
    """Hatch the cells whose code (X, Y) is among the keys, at the values x (X,) and y (Y,)."""
    for pattern in dict.fromkeys(hatches.values()):
        inside = np.isin(code, [kind for kind, own in hatches.items() if own == pattern])
        if inside.any() and not inside.all() and min(code.shape) > 1:
            axes.contourf(x, y, inside.T.astype(float), levels=[0.5, 1.5], colors="none", hatches=[pattern])


def _patches(kinds: Sequence[Outcome]) -> list["Artist"]:
    """A patch for each outcome, as a legend shows it."""
    from matplotlib.patches import Patch

    return [Patch(facecolor=COLOURS[kind], hatch=HATCHES.get(kind), label=LABELS[kind], lw=0) for kind in kinds]


def _marks() -> list["Artist"]:
    """What lines and points of a diagram mean, as a legend shows it."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color="black", lw=1.4, label="exact separatrix"),
        Line2D([], [], color="#009E73", lw=1, ls="--", label="$aw = 1$"),
        Line2D([], [], color="#D55E00", lw=0.8, marker="o", ms=2.5, label="paths"),
    ]


def _add_legend(axes: "Axes", handles: list["Artist"], columns: int) -> None:
    """Name colours below the axes."""
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        ncols=columns,
        handlelength=1.2,
        columnspacing=1,
    )


def _frame(axes: "Axes", extent: float) -> None:
    axes.axhline(0, color="black", lw=0.4)
    axes.axvline(0, color="black", lw=0.4)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="$a_0$", ylabel="$w_0$", aspect="equal")


def draw_phase_diagram(axes: "Axes", diagram: PhaseDiagram, *, letter: str = "", legend: bool = True) -> None:
    """Draw an (a₀, w₀) diagram: outcomes, the exact edge of the basin, the share of each quadrant that recovers, the
    teacher's curve aw = 1, and if its flow is known arrows and paths.
    """
    extent = float(diagram.a[-1])
    narrow = axes.get_window_extent().width < NARROW * axes.figure.dpi
    draw_outcomes(axes, diagram.outcome, diagram.a, diagram.w, legend=legend)
    if diagram.flow is not None:
        _draw_flow(axes, diagram.flow, extent)
    w = np.geomspace(1 / extent, extent, 100)
    axes.plot(1 / w, w, color="#009E73", lw=1, ls="--", label="_aw = 1")
    for edge_a, edge_w in diagram.edge:
        axes.plot(edge_a, edge_w, color="black", lw=1.4, label="_exact separatrix")
    for name, (inside, of) in recovered_by_quadrant(diagram).items():
        if of:
            side_a, side_w = QUADRANTS[name]
            # beside the line a = 0, where no edge of a basin is
            x, y = (0.48 if side_a < 0 else 0.98), (0.03 if side_w < 0 else 0.97)
            axes.text(
                x, y, f"{inside / of:.1%}", transform=axes.transAxes, size=SMALLEST if narrow else 7, weight="bold",
                ha="right", va="bottom" if side_w < 0 else "top",
            )  # fmt: skip
    _frame(axes, extent)
    beside = f"({letter}) " if letter else ""
    told = f"{beside}{mathematics(diagram.label)}\n{finding(diagram)}".replace(" and ", "\nand ")
    axes.set_title(told, loc="left", fontsize=SMALLEST if narrow else None)


def draw_basin(axes: "Axes", flow: Flow, extent: float = 2.0, points: int = 400) -> None:
    """Draw the exact basin of a flow without integrating its starts, with arrows and paths."""
    axis = np.linspace(-extent, extent, points)
    inside = recovers(axis[:, None], axis[None], flow)
    draw_outcomes(axes, np.where(inside, Outcome.RECOVERED, Outcome.STUCK), axis, axis)
    _draw_flow(axes, flow, extent)
    for edge_a, edge_w in edge_of(flow, extent):
        axes.plot(edge_a, edge_w, color="black", lw=1.4, label="_exact separatrix")
    _frame(axes, extent)
    axes.set_title(mathematics(flow.label), loc="left")


def mathematics(label: str) -> str:
    """The label of a flow, with its Greek letters and their indices set as mathematics."""
    greek = re.sub(r"([αβηλ])_(\w)", lambda found: f"${GREEK[found[1]]}_{found[2]}$", label)
    return re.sub(r"w = sign\(u\)\|u\|\^([\d.]+)", r"$w = \\mathrm{sign}(u)\\,|u|^{\1}$", greek)


def _draw_flow(axes: "Axes", flow: Flow, extent: float) -> None:
    """Arrows of the flow on a coarse grid, and the paths of six starts."""
    coarse = np.linspace(-extent, extent, 17)[1:-1]
    a, w = np.meshgrid(coarse, coarse)
    with np.errstate(all="ignore"):  # a chart that is not regular has no arrows on w = 0
        da, dw = sp.lambdify((A, W), vector_field(flow), "numpy")(a, w)
    speed = np.hypot(da, dw)
    moving = np.isfinite(speed) & (speed > 1e-12)
    a, w, da, dw, speed = (values[moving] for values in (a, w, da, dw, speed))
    axes.quiver(
        a, w, da / speed, dw / speed,
        color="#00000055", scale=32, width=0.004, headwidth=4, pivot="mid",
    )  # fmt: skip

    starts = telling_starts(flow, extent)
    paths_a, paths_w = sample_paths(
        flow, starts[:, 0], starts[:, 1], np.concatenate([[0], np.geomspace(1e-3, 60, 300)])
    )
    axes.plot(paths_a, paths_w, color="#D55E00", lw=0.8, label="_path")
    axes.plot(starts[:, 0], starts[:, 1], "o", color="#D55E00", ms=2.5, label="_starts of paths")
    taught = recovers(starts[:, 0], starts[:, 1], flow)
    for mark, told, these in (("o", "recovered", taught), ("x", "stuck", ~taught)):
        ends = (paths_a[-1, these], paths_w[-1, these])
        axes.plot(*ends, mark, color="black", ms=3, mew=1, mfc="#009E73", zorder=3, label=f"_ends, {told}")


def telling_starts(flow: Flow, extent: float) -> np.ndarray:
    """Starts (N, 2) whose paths show what is special: on both sides of the edge in a < 0 < w, and across w = 0."""
    starts = [(-0.9, -0.7), (0.15, 0.2), (0.9, 0.95)]
    edge = float(flow.w.weight(-flow.a.radius(np.array([-0.6 * extent])))[0]) / extent
    starts += [(-0.6, w) for w in (edge + 0.12, edge - 0.12) if 0.02 < w < 0.98]
    below = [(a, w) for w in (-0.8, -0.6, -0.4, -0.25, -0.15) for a in (0.6, 0.9)]
    crossing = [start for start in below if recovers(start[0] * extent, start[1] * extent, flow)]
    return extent * np.array([*starts, *(crossing or below)[:1]])


def _outer(centres: np.ndarray) -> tuple[float, float]:
    """The outer edges of cells whose centres these are, evenly spaced."""
    half = (centres[1] - centres[0]) / 2
    return float(centres[0] - half), float(centres[-1] + half)
