"""One look for every figure: style sheet, a journal's columns, colours with a meaning, and saving in three formats."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.checks import choice
from commons.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHEET = Path(__file__).with_name("paper.mplstyle")
COLUMNS = {"single": 85 / 25.4, "double": 178 / 25.4}  # inches: one column, and the full width of a two-column journal
SMALLEST = 6.0  # points: what a journal still prints

# Okabe and Ito's palette, whose colours people with any colour vision tell apart; markers take over when it is used up.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (5, 1, 1, 1)))


@dataclass(frozen=True)
class Style:
    """How one arm looks: colour (hexadecimal), marker and dashes of matplotlib, and width of lines in points."""

    colour: str
    marker: str = "o"
    dashes: Any = "-"
    width: float = 1.2


# One style for one arm in every figure. Of two lines that meet the wider one is solid and lies below.
ARMS = {
    "dense": Style("#000000", "s", DASHES[2], 1.2),
    "random": Style("#D55E00", "o", DASHES[0], 2.0),
    "sign-in": Style("#0072B2", "^", DASHES[1], 1.4),
    "ham": Style("#009E73", "D", DASHES[3], 1.2),
}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name, in the order given: that of `ARMS`, or the next that no other name has."""
    wanted = list(dict.fromkeys(names))
    taken = {ARMS[name] for name in wanted if name in ARMS}
    many = len(COLOURS)  # as many as there are markers: the first ones differ in both, so that grey tells them apart
    pairs = (
        Style(COLOURS[i], MARKERS[(i + shift) % many], DASHES[i % len(DASHES)])
        for shift in range(many)
        for i in range(many)
    )
    free = [style for style in pairs if (style.colour, style.marker) not in {(t.colour, t.marker) for t in taken}]
    others = [name for name in wanted if name not in ARMS]
    found = {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: ARMS.get(name) or found[name] for name in wanted}


def lettered(panels: Sequence["Axes"], titles: Sequence[str]) -> None:
    """Title each panel with a letter, (a), (b) and so on, and what it shows."""
    for letter, axes, title in zip("abcdefghijkl", panels, titles, strict=False):
        axes.set_title(f"({letter}) {title}", loc="left")


def from_zero(axes: "Axes") -> None:
    """Let the y axis begin at 0 and end a little above everything drawn, so that no marker is cut."""
    axes.set_ylim(0, 1.06 * axes.dataLim.y1 if axes.dataLim.y1 > 0 else None)


_ASKED: ContextVar[str] = ContextVar(
    "the column that every figure is drawn for; empty: each figure's usual one", default=""
)


def column(usual: str) -> str:
    """The column that `sized` was given, or the usual one of a figure: "single" or "double"."""
    return _ASKED.get() or usual


def grid_of(
    panels: int, usual: str, height: float, *, stacked: int = 1, across: int = 0, **options: Any
) -> "tuple[Figure, list[Axes]]":
    """A figure whose panels stand side by side at double column, and `stacked` of them in a row at single column.

    height: of a row of panels, in inches.   across: panels in a row at double column; 0 is all.   options: of
    matplotlib's `subplots`. A place without a panel stays empty.
    """
    from matplotlib import pyplot as plt

    kind = column(usual)
    columns = min(panels, stacked if kind == "single" else across or panels)
    rows = -(-panels // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(COLUMNS[kind], height * rows), squeeze=False, **options)
    for axes in grid.flat[panels:]:
        axes.set_axis_off()
    return figure, list(grid.flat[:panels])


@contextmanager
def sized(name: str = "") -> Iterator[None]:
    """Figures made inside are as wide as this column: "single" is 85 mm, "double" 178 mm, "" each figure's usual one.

    Raises:
        InputError: there is no such column.
    """
    import matplotlib as mpl

    width = COLUMNS[choice("column", name, COLUMNS)] if name else 0.0
    token = _ASKED.set(name)
    try:
        with mpl.rc_context({"figure.figsize": (width, min(0.76 * width, 3.6))} if name else {}):
            yield
    finally:
        _ASKED.reset(token)


@contextmanager
def paper_style(column: str = "") -> Iterator[None]:
    """Figures made inside use the style sheet and no display, and are as wide as the column (see `sized`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.style.context(SHEET), sized(column):
        yield
    plt.close("all")


FORMATS = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None, "Creator": None}}


def save_figure(figure: "Figure", stem: Path, formats: Sequence[str] = tuple(FORMATS)) -> tuple[Path, ...]:
    """Write stem.png, .pdf and .svg, whole or not at all; the same figure gives the same bytes. Returns them."""
    import matplotlib as mpl

    paths = tuple(stem.with_name(f"{stem.name}.{kind}") for kind in formats)
    with mpl.rc_context({"svg.hashsalt": "sign-in-lottery"}):  # else the names of an SVG's parts are random
        for path, kind in zip(paths, formats, strict=True):
            write_whole(path, partial(figure.savefig, metadata=FORMATS[kind]))
    return paths
