"""Results that are kept: one value type for outcomes over (a₀, w₀), one for any number over two settings, as .npz.

They hold arrays and settings; nothing here integrates.
"""

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commons import InputError, refuse
from commons.files import write_whole
from dynamics.outcome import Outcome

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PhaseDiagram:
    """Outcome of the flow from every start of a grid.

    outcome: (A, W) int8, see Outcome, indexed [i_a, i_w].   a: (A,), w: (W,) float64, the grid's axes.
    time: (A, W) float64, flow time to the decision, nan where UNDECIDED or where `refine` filled a cell in.
    agreement: share of the starts with |margin| > 1e-6 that are decided, and RECOVERED exactly where theory.recovers
        says; nan where there is none.
    settings: what produced it, the flow included.
    """

    outcome: NDArray[np.int8]
    a: Array
    w: Array
    time: Array
    agreement: float
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, whole or not at all."""
        _save(Path(path), "phase", asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "PhaseDiagram":
        """Read a file that `save` wrote; InputError names a file that is not one."""
        return cls(**_load(Path(path), "phase", ("agreement",)))

    def shares(self) -> dict[str, float]:
        """Share of the starts with each outcome that occurs."""
        counts = np.bincount(self.outcome.ravel(), minlength=len(Outcome))
        return {kind.name: float(counts[kind]) / self.outcome.size for kind in Outcome if counts[kind]}


@dataclass(frozen=True)
class Sweep:
    """A rate over the grid of two settings, with Wilson's interval.

    x: (X,), y: (Y,) float64 and their names.   rate, low, high: (X, Y), the share of starts that recover and the ends
    of its 95 % interval.   title: what was swept.   settings: what produced it.
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

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, whole or not at all."""
        _save(Path(path), "sweep", asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Sweep":
        """Read a file that `save` wrote; InputError names a file that is not one."""
        return cls(**_load(Path(path), "sweep", ("title", "x_name", "y_name")))


def _save(path: Path, kind: str, values: dict[str, Any]) -> None:
    content = {**values, "settings": json.dumps(values["settings"]), "kind": kind}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    write_whole(path, write)


def _load(path: Path, kind: str, scalars: tuple[str, ...]) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"path={str(path)!r} does not exist") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise InputError(f"path={str(path)!r} cannot be read as an .npz file") from None
    if str(content.pop("kind", "")) != kind:
        refuse("path", str(path), f"a saved {kind} diagram")
    values: dict[str, Any] = {n: v.item() if n in scalars else v for n, v in content.items()}
    values["settings"] = json.loads(str(content["settings"]))
    return values
