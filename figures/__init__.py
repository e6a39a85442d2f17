"""Figures, tables and the report, read from result files; `plot` draws a result object."""

from typing import TYPE_CHECKING

from commons.version import __version__ as __version__

if TYPE_CHECKING:
    from figures.plotting import plot as plot

__all__ = ["plot"]


def __getattr__(name: str) -> object:
    """`plot` is imported when it is first used, since NumPy and matplotlib take a while."""
    if name != "plot":
        raise AttributeError(f"module 'figures' has no attribute {name!r}")
    from figures.plotting import plot

    return plot
