"""Results that are kept as .npz: outcomes over the starts (a₀, w₀), and rates over two settings."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commons import refuse
from commons.files import OldForm, read_npz, unreadable, write_whole
from dynamics.outcome import Outcome
from theory import separatrix
from theory.flows import FLOWS, Flow, restored

EDGE = 400  # points along each curve of the basin's edge
Array = NDArray[np.float64]
Report = Callable[[int, int], None]  # is called with how much is done, and of how much


@dataclass(frozen=True)
class PhaseDiagram:
    """Outcome of the flow from every start of a grid.

    outcome: (A, W) int8, see Outcome, indexed [i_a, i_w].   a: (A,), w: (W,) float64, the grid's axes.
    time: (A, W) float64, flow time to the decision, nan where UNDECIDED or where `refine` filled a cell in.
    agreement: share of the starts with |margin| > 1e-6 that are decided, and RECOVERED exactly where theory.recovers
        says; nan where there is none.
    settings: what produced it; settings["flow"] describes the flow, see `theory.Flow.describe`.
    edge: (K, 2, n) float64, K curves (a, w) that bound the exact basin of the teacher, see `theory.separatrix`.
    flow: the flow itself, or None where a file was read whose flow is not in `theory.FLOWS`. It is not saved.
    """

    outcome: NDArray[np.int8]
    a: Array
    w: Array
    time: Array
    agreement: float
    settings: dict[str, Any] = field(default_factory=dict)
    edge: Array = field(default_factory=lambda: np.empty((0, 2, 0)))
    flow: Flow | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The flow in a few words, also where only a description of it was saved."""
        described = self.settings.get("flow", {})
        return str(described.get("label") or described.get("name") or "a flow that the file does not name")

    def save(self, path: str | Path) -> None:
        """Write everything but the flow itself to one .npz file, whole or not at all."""
        values = asdict(replace(self, flow=None))
        del values["flow"]
        _save(Path(path), "phase", values)

    @classmethod
    def load(cls, path: str | Path) -> "PhaseDiagram":
        """Read a file that `save` wrote, and warn with OldForm of one that an older version wrote.

        Raises:
            InputError: the file does not exist, or is no saved phase diagram.
        """
        diagram = cls(**_load(Path(path), "phase", ("agreement",)))
        if "label" in diagram.settings["flow"]:
            return replace(diagram, flow=restored(diagram.settings["flow"]))
        described = of_old(diagram.settings["flow"])
        diagram = replace(diagram, settings={**diagram.settings, "flow": described}, flow=restored(described))
        warnings.warn(f"{path} is in an older form; its flow is read as: {diagram.label}", OldForm, stacklevel=2)
        return diagram if diagram.flow is None else replace(diagram, edge=edge_of(diagram.flow, float(diagram.a[-1])))

    def shares(self) -> dict[str, float]:
        """Share of the starts with each outcome that occurs."""
        counts = np.bincount(self.outcome.ravel(), minlength=len(Outcome))
        return {kind.name: float(counts[kind]) / self.outcome.size for kind in Outcome if counts[kind]}


def edge_of(flow: Flow, extent: float) -> Array:
    """The curves (K, 2, EDGE) that bound a flow's basin within [−extent, extent]²: one, or two where w can cross 0."""
    curve = np.stack(separatrix(flow, EDGE, extent))
    return np.stack([curve, -curve] if flow.w.reaches_zero else [curve])


def of_old(described: Mapping[str, str]) -> dict[str, Any]:
    """The description of a flow in today's form, from one that older versions saved.

    They saved the name of the flow's class and its parameters as text, and for a chart without parameters only {}.
    """
    names = {getattr(maker, "__name__", name): name for name, maker in FLOWS.items()}
    name, values = described.get("name", ""), {key: value for key, value in described.items() if key != "name"}
    if name in names:
        flow = restored({"name": names[name], **{key: float(value) for key, value in values.items()}})
        if flow is not None:
            return flow.describe()
    known = ", ".join(f"{key} = {value}" for key, value in values.items() if value != "{}")
    return {"name": name, "label": f"{name or 'a flow'} ({known or 'its charts were not saved'})", **values}


@dataclass(frozen=True)
class Sweep:
    """The share of starts that recover over the grid of two settings, with Wilson's interval.

    title: what was swept.   x: (X,), y: (Y,) float64, the two settings.   x_name, y_name: what they are called.
    rate, low, high: (X, Y) float64, the share and the ends of its 95 % interval. Where a sweep follows starts to their
        end, those that are UNDECIDED count neither as recovered nor as failed; rate is nan where all of them are.
    settings: what produced it.
    undecided: (X, Y) float64, the share of the starts that are UNDECIDED; nan if the file is of an older version.
    """

    title: str
    x_name: str
    y_name: str
    x: Array
    y: Array
    rate: Array
    low: Array
    high: Array
    settings: dict[str, Any] = field(default_factory=dict)
    undecided: Array = field(default_factory=lambda: np.empty((0, 0)))

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, whole or not at all."""
        _save(Path(path), "sweep", asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Sweep":
        """Read a file that `save` wrote, and warn with OldForm of one that an older version wrote.

        Raises:
            InputError: the file does not exist, or is no saved sweep.
        """
        values = _load(Path(path), "sweep", ("title", "x_name", "y_name"))
        if "undecided" not in values:
            values["undecided"] = np.full(values["rate"].shape, np.nan)
            told = "it does not say where starts are undecided, and counts them as failed"
            warnings.warn(f"{path} is in an older form: {told}", OldForm, stacklevel=2)
        return cls(**values)


def _save(path: Path, kind: str, values: dict[str, Any]) -> None:
    content = {**values, "settings": json.dumps(values["settings"]), "kind": kind}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    write_whole(path, write)


def _load(path: Path, kind: str, scalars: tuple[str, ...]) -> dict[str, Any]:
    content = read_npz(path)
    if str(content.pop("kind", "")) != kind:
        refuse("path", str(path), f"a saved {kind} diagram")
    try:
        values: dict[str, Any] = {n: v.item() if n in scalars else v for n, v in content.items()}
        values["settings"] = json.loads(str(content["settings"]))
    except (KeyError, ValueError, RecursionError) as error:
        unreadable(path, f"its settings are damaged ({type(error).__name__}: {error})")
    return values
