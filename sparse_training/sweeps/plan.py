"""What a sweep is to do: treatments, that is arms at the points of their grids, each with every seed, and a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparse_training.methods import Static
from sparse_training.runs.config import Config, SignInitSettings
from sparse_training.transplant.cell import Cell

Point = dict[str, Any]


@dataclass(frozen=True)
class Treatment:
    """An arm at one point of its grid.

    point: the grid's settings there, and `preset` where there are several. source, start: for an arm whose runs start
    from those of another arm with the same seed, that one and what is taken from it. beside: other starts from the same
    source, of which the ledger is to say in how many signs they differ from this one. given: for a source whose runs
    are there already, the folders of these by seed.
    """

    arm: str
    point: Point
    config: Config
    source: "Treatment | None" = None
    start: Cell | None = None
    beside: tuple[Cell, ...] = ()
    given: Mapping[int, Path] = field(default_factory=dict)

    def has(self, seed: int) -> bool:
        """Whether it can be run with a seed: one that starts from given runs needs that of the seed."""
        given = self.source.given if self.source else self.given
        return not given or seed in given

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


def begun_elsewhere(config: Config) -> Config:
    """The configuration of a source as that of a run that begins from its network, under the mask of that start."""
    return replace(config, method=Static(), mask=replace(config.mask, file=""), sign_init=SignInitSettings())


def label(arm: str, point: Mapping[str, Any]) -> str:
    """An arm with its point, for people."""
    return f"{arm} ({', '.join(f'{key}={value}' for key, value in point.items())})" if point else arm
