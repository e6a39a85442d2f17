"""A sweep file as a plan: which runs there are, in which order, and what its table compares.

preset = "digits-mlp"            # or a file of one's own; a list of several crosses them with the arms
seeds = 5                        # 0 to 4, or a list
against = "plain"                # the arm that the table compares the others with
[base]                           # settings of every run
mask.density = 0.1
[arms]                           # settings of each arm over the base
plain = {}
"Sign-In" = { reparam.name = "sign-in", grid."reset.every" = [1, 5] }
[grid]                           # each arm with each combination of these; an arm's own `grid` is its own
"optimizer.lr" = [0.05, 0.1]
[columns]                        # more columns of the table, as formulas over what a run measures
"overfit" = "train_accuracy - test_accuracy"
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from commons.checks import InputError, choice, nearest, number, refuse
from commons.files import read_text
from sparse_training.runs.config import PRESETS, Config, presets
from sparse_training.runs.toml import Tree, from_toml, parse_settings
from sparse_training.sweeps.columns import NAMES, Formula, names_of

KEYS = ("preset", "seeds", "against", "metric", "margin", "sharpness", "base", "arms", "grid", "columns")
CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")  # package.module:callable
TEXTS = ("source", "root", "file", "start")  # settings that never name code

Point = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """An arm at one point of its grid. point: the grid's settings there, and `preset` where there are several."""

    arm: str
    point: Point
    config: Config

    @property
    def label(self) -> str:
        """The arm with its point, for people."""
        return label(self.arm, self.point)


@dataclass(frozen=True)
class Plan:
    """What a sweep file asks for.

    seeds: of every cell, in the order in which they run: all cells of the first seed, then of the second.
    against: the arm that others are compared with, "" for none. metric: what is compared. margin: differences up to
    this size do not matter; 0: all do. sharpness: training images on which λ_max is measured, 0 for not at all.
    columns: formulas of further columns, by name.
    """

    name: str
    cells: tuple[Cell, ...]
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


def load_plan(path: str | Path, settings: Sequence[str] = (), *, root: str = "", trust: bool = False) -> Plan:
    """Read a sweep file. settings: `field=value` texts over the base. root: folder of the data, as no file names it.

    trust: whether the file, and a preset file that it names, may name code to import.

    Raises:
        InputError: the file cannot be read, has unknown keys, or an arm has settings that make no configuration.
    """
    file = Path(path)
    tree = _read(file)
    unknown = next((key for key in tree if key not in KEYS), None)
    if unknown is not None:
        raise InputError(f"unknown key {unknown} in {str(file)!r}; {nearest(unknown, KEYS) or ', '.join(KEYS)}")
    bases = _bases(file, tree.get("preset", []))
    if not trust:
        for part in (tree.get("base"), tree.get("arms"), tree.get("grid"), *bases.values()):
            _refuse_code(file, part)
    change = parse_settings([*settings, f"data.root={root}"] if root else settings)
    common, arms, shared = (_table(file, key, tree.get(key, {})) for key in ("base", "arms", "grid"))
    arms = arms or {"base": {}}
    cells = []
    for base, (arm, own) in product(bases, arms.items()):
        own = dict(_table(file, f"arms.{arm}", own))
        grid = {**_flat(shared), **_flat(_table(file, f"arms.{arm}.grid", own.pop("grid", {})))}
        for values in product(*(_values(name, content) for name, content in grid.items())):
            point = dict(zip(grid, values, strict=True))
            config = _configured(arm, [bases[base], _nested(common), change, _nested(own), _nested(point)])
            cells.append(Cell(arm, {**({"preset": base} if len(bases) > 1 else {}), **point}, config))
    _refuse_repetitions(file, cells)
    columns = _columns(_table(file, "columns", tree.get("columns", {})))
    return Plan(
        file.stem,
        tuple(cells),
        _seeds(tree.get("seeds", 1)),
        choice("against", tree.get("against", ""), ["", *arms]),
        choice("metric", str(tree.get("metric", "test_accuracy")), names_of(columns)),
        float(number("margin", tree.get("margin", 0.0), at_least=0)),
        int(number("sharpness", tree.get("sharpness", 0), at_least=0, integer=True)),
        columns,
    )


def _columns(texts: Tree) -> dict[str, str]:
    """Formulas by name, each over numbers that a run has."""
    for name, text in texts.items():
        for number_name in Formula(name, text).names():
            choice(f"columns.{name}", number_name, NAMES)
    return texts


def _read(file: Path) -> Tree:
    return from_toml(read_text(file), str(file))


def _bases(file: Path, named: Any) -> dict[str, Tree]:
    """Settings of each preset by its name; a name that ends in .toml is a file beside the sweep file."""
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        refuse("preset", named, "the name of a preset, or a list of names")
    found: dict[str, Tree] = {}
    for name in names:
        own = name.endswith(".toml")
        place = file.parent / name if own else PRESETS / f"{choice('preset', name, presets())}.toml"
        found[Path(name).stem if own else name] = _read(place)
    if len(found) < len(names):
        refuse("preset", named, "a list of different names")
    if not found:
        found[""] = {}
    return found


def _configured(arm: str, changes: Iterable[Tree]) -> Config:
    config = Config()
    try:
        for change in changes:
            config = config.with_tree(change)
    except InputError as error:
        raise InputError(f"arm {arm!r}: {error}" if arm else str(error)) from None
    return config


def _refuse_code(file: Path, part: Any, key: str = "") -> None:
    """No text of a file of someone else may name code, as to name it is to run it."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            _refuse_code(file, value, str(name))
    elif isinstance(part, list):
        for value in part:
            _refuse_code(file, value, key)
    elif isinstance(part, str) and key.split(".")[-1] not in TEXTS and CODE.fullmatch(part):
        raise InputError(f"{str(file)!r} names code, {part!r}, which would be run; pass --trust if you know the file")


def _refuse_repetitions(file: Path, cells: Sequence[Cell]) -> None:
    labels = [cell.label for cell in cells]
    twice = next((text for text in labels if labels.count(text) > 1), None)
    if twice is not None:
        raise InputError(f"{str(file)!r} has {twice!r} twice")


def _table(file: Path, key: str, value: Any) -> Tree:
    if not isinstance(value, dict):
        refuse(key, value, f"a table in {str(file)!r}")
    return value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _nested(tree: Mapping[str, Any]) -> Tree:
    """Tables with dotted keys, as `"optimizer.lr" = 0.1`, as nested tables."""
    nested: Tree = {}
    for key, value in tree.items():
        section, dot, name = key.partition(".")
        if dot:
            value = {name: value}
        known = nested.get(section)
        nested[section] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return nested


def _values(name: str, content: Any) -> list[Any]:
    if not isinstance(content, list) or not content:
        refuse(f"grid.{name}", content, "a list of values")
    return content


def _seeds(asked: Any) -> tuple[int, ...]:
    if isinstance(asked, list) and asked and len(set(map(str, asked))) == len(asked):
        return tuple(int(number("seeds", seed, at_least=0, integer=True)) for seed in asked)
    return tuple(range(int(number("seeds", asked, at_least=1, integer=True, hint="or a list of different seeds"))))
