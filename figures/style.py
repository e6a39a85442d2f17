"""One look for every figure: the style sheet beside this file, colours with a meaning, and saving as PNG and PDF.

It draws nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from commons.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHEET = Path(__file__).with_name("paper.mplstyle")
COLUMN, PAGE = 3.4, 7.0  # inches: one column and the full width of a two-column paper

# One colour for one arm in every figure.
ARMS = {"dense": "#000000", "random": "#D55E00", "sign-in": "#0072B2", "ham": "#009E73"}


@contextmanager
def paper_style() -> Iterator[None]:
    """Figures made inside use the style sheet and no display."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.style.context(SHEET):
        yield
    plt.close("all")


def save_figure(figure: "Figure", stem: Path) -> tuple[Path, Path]:
    """Write stem.png and stem.pdf, whole or not at all; the same figure gives the same bytes. Returns both paths."""
    png, pdf = stem.with_suffix(".png"), stem.with_suffix(".pdf")
    write_whole(png, lambda path: figure.savefig(path, metadata={"Software": None}))
    write_whole(pdf, lambda path: figure.savefig(path, metadata={"CreationDate": None}))
    return png, pdf
