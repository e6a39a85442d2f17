"""What a sweep is to do: treatments, that is arms at the points of their grids, each with every seed, and a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparse_training.runs.config import Config

Point = dict[str, Any]


@dataclass(frozen=True)
class Treatment:
    """An arm at one point of its grid.

    point: the grid's settings there, and `preset` where there are several. source, start: for an arm whose runs start
    from those of another arm with the same seed, that one and what is taken from it, as `transplant.Cell.parse` reads.
    """

    arm: str
    point: Point
    config: Config
    source: "Treatment | None" = None
    start: str = ""

    @property
    def label(self) -> str:
        """The arm with its point, for people."""
        return label(self.arm, self.point)


@dataclass(frozen=True)
class Plan:
    """What a sweep file asks for.

    seeds: of every treatment, in the order in which they run: all treatments of the first seed, then of the second.
    against: the arm that others are compared with, "" for none. metric: what is compared. margin: differences up to
    this size do not matter; 0: all do. sharpness: training images on which λ_max is measured, 0 for not at all.
    columns: formulas of further columns, by name.
    """

    name: str
    treatments: tuple[Treatment, ...]
    seeds: tuple[int, ...]
    against: str = ""
    metric: str = "test_accuracy"
    margin: float = 0.0
    sharpness: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)

    def header(self, stop: str = "") -> dict[str, Any]:
        """What the ledger keeps of the plan, so that it can be tabulated without the file.

        stop: "resolved" if seeds end when differences are resolved, as the table then needs another test.
        """
        header = {key: getattr(self, key) for key in ("against", "metric", "margin")}
        return {
            "kind": "sweep",
            "sweep": self.name,
            **header,
            "columns": dict(self.columns),
            "stop": stop,
        }


def label(arm: str, point: Mapping[str, Any]) -> str:
    """An arm with its point, for people."""
    return f"{arm} ({', '.join(f'{key}={value}' for key, value in point.items())})" if point else arm
