"""What a figure shows, as rows: read off its lines, intervals, bars, meshes and images, so that it is said once."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.container import BarContainer, ErrorbarContainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[str, Any, Any, Any, Any, Any]


def drawn_data(figure: "Figure") -> list[dict[str, Any]]:
    """One row a point of each line and band, and one for each interval, bar and cell.

    panel: its number and the first line of its title.   series: the label, or the kind and number of the artist.
    x, y: the point; one of them is None for an interval or a band.   low, high: the ends of an interval or band.
    value: the number behind a colour, or the length of a bar.
    """
    columns = ("series", "x", "y", "low", "high", "value")
    return [
        {"panel": _title(axes, number), **dict(zip(columns, point, strict=True))}
        for number, axes in enumerate(figure.axes, start=1)
        for part in (_lines, _collections, _bars, _images)
        for point in part(axes)
    ]


def _title(axes: "Axes", number: int) -> str:
    text = axes.get_title(loc="left") or axes.get_title() or axes.get_xlabel()
    return f"{number}: {text.splitlines()[0]}" if text else str(number)


def _lines(axes: "Axes") -> Iterator[Point]:
    errors = [bars.lines for bars in axes.containers if isinstance(bars, ErrorbarContainer)]
    caps = {id(cap) for _, both, _ in errors for cap in both}
    names = _names_of_intervals(axes)
    for i, line in enumerate(axes.lines):
        if id(line) not in caps:
            name = names.get(id(line)) or _name(line, f"line {i}")
            for x, y in zip(np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata()), strict=True):
                yield name, _plain(x), _plain(y), None, None, None


def _names_of_intervals(axes: "Axes") -> dict[int, str]:
    """By the id of an artist that is part of bars of errors, the label of all of them."""
    found: dict[int, str] = {}
    for bars in axes.containers:
        if isinstance(bars, ErrorbarContainer) and not str(bars.get_label()).startswith("_"):
            line, _, intervals = bars.lines
            found |= {id(part): _one_line(bars.get_label()) for part in (line, *intervals)}
    return found


def _collections(axes: "Axes") -> Iterator[Point]:
    """Bars of errors, bands, and meshes."""
    names = _names_of_intervals(axes)
    for i, drawn in enumerate(axes.collections):
        kind = type(drawn).__name__
        if kind == "QuadMesh":
            corners = drawn.get_coordinates()  # type: ignore[attr-defined]
            centres = (corners[1:, 1:] + corners[:-1, :-1]) / 2
            values = np.asarray(drawn.get_array()).reshape(centres.shape[:2])
            for (x, y), value in zip(centres.reshape(-1, 2), values.ravel(), strict=True):
                yield f"mesh {i}", float(x), float(y), None, None, float(value)
        elif kind == "LineCollection":
            for path in drawn.get_paths():
                corners = np.asarray(path.vertices)
                (x, y), (x_end, y_end) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
                upright = x == x_end
                ends = (y, y_end) if upright else (x, x_end)
                place = (x, None) if upright else (None, y)
                yield names.get(id(drawn), f"interval {i}"), *place, *ends, None
        elif kind == "FillBetweenPolyCollection":
            (vertices,) = (np.asarray(path.vertices) for path in drawn.get_paths())
            for x in np.unique(vertices[:, 0]):
                at = vertices[vertices[:, 0] == x, 1]
                yield _name(drawn, f"band {i}"), float(x), None, float(at.min()), float(at.max()), None


def _bars(axes: "Axes") -> Iterator[Point]:
    for bars in axes.containers:
        for patch in bars if isinstance(bars, BarContainer) else ():
            x, y = patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2
            across = getattr(bars, "orientation", "") == "horizontal"
            yield str(bars.get_label()), x, y, None, None, patch.get_width() if across else patch.get_height()


def _images(axes: "Axes") -> Iterator[Point]:
    for i, image in enumerate(axes.images):
        values, (left, right, bottom, top) = np.asarray(image.get_array()), image.get_extent()
        across = left + (np.arange(values.shape[1]) + 0.5) * (right - left) / values.shape[1]
        up = bottom + (np.arange(values.shape[0]) + 0.5) * (top - bottom) / values.shape[0]
        for y, row in zip(up.tolist(), values.tolist(), strict=True):
            for x, value in zip(across.tolist(), row, strict=True):
                yield f"image {i}", x, y, None, None, value


def _name(artist: Any, otherwise: str) -> str:
    """The label, also one that an underscore keeps out of the legend, unless matplotlib made it up."""
    label = _one_line(artist.get_label())
    return otherwise if re.fullmatch(r"(_child\d+)?", label) else label.removeprefix("_")


def _one_line(label: object) -> str:
    return " ".join(str(label).split())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
