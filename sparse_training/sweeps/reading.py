"""Read a sweep file, which says what runs to make, into a plan.

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

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from commons.checks import InputError, choice, nearest, number, refuse
from commons.files import read_text
from sparse_training.runs.config import PRESETS, VARIANTS, Config, presets
from sparse_training.runs.toml import Tree, from_toml, parse_settings
from sparse_training.runs.trust import Trust, check_trusted
from sparse_training.sweeps.columns import NAMES, Formula, names_of
from sparse_training.sweeps.plan import Plan, Point, Treatment, begun_elsewhere
from sparse_training.transplant.cell import Cell

KEYS = ("preset", "seeds", "against", "metric", "margin", "sharpness", "base", "arms", "grid", "columns")


def load_plan(path: str | Path, settings: Sequence[str] = (), *, root: str = "", trust: Trust = False) -> Plan:
    """Read the sweep file at `path`. settings: `field=value` texts over the base. root: folder or text of the data,
    as no file names it.

    trust: the code that the file, and a preset file that it names, may have imported, as in `Config.load`.

    Raises:
        InputError: the file cannot be read, has unknown keys, names code that is not trusted, or an arm has settings
            that make no configuration.
    """
    file = Path(path)
    tree = _read(file)
    unknown = next((key for key in tree if key not in KEYS), None)
    if unknown is not None:
        raise InputError(f"unknown key {unknown} in {str(file)!r}; {nearest(unknown, KEYS) or ', '.join(KEYS)}")
    change = parse_settings(settings)
    arms = _table(file, "arms", tree.get("arms", {})) or {"base": {}}
    reader = _Reader(file, trust, _table(file, "grid", tree.get("grid", {})))
    common = reader.trusted(_table(file, "base", tree.get("base", {})))
    bases = {
        name: _configured("", Config(), [reader.trusted(preset), common, change])
        for name, preset in _bases(file, tree.get("preset", [])).items()
    }
    if root:
        bases = {name: config.with_root(root) for name, config in bases.items()}
    found: dict[tuple[str, str], list[Treatment]] = {}
    for (base, config), (arm, own) in sorted(
        product(bases.items(), arms.items()), key=lambda each: "from" in each[1][1]
    ):
        shared = {"preset": base} if len(bases) > 1 else {}
        if "from" in own:
            name = choice(f"arms.{arm}.from", own["from"], [other for other in arms if "from" not in arms[other]])
            found[base, arm] = [each for source in found[base, name] for each in reader.transplanted(arm, own, source)]
        else:
            found[base, arm] = reader.treatments(arm, own, config, shared)
    treatments = [each for base in bases for arm in arms for each in found[base, arm]]
    _refuse_repetitions(file, treatments)
    columns = _columns(_table(file, "columns", tree.get("columns", {})))
    return Plan(
        file.stem,
        tuple(treatments),
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


class _Reader:
    """Reads the arms of a file. grid: the points that all arms share."""

    def __init__(self, file: Path, trust: Trust, grid: Tree) -> None:
        self._file, self._trust, self._grid = file, trust, _flat(grid)

    def treatments(self, arm: str, own: Any, base: Config, shared: Point) -> list[Treatment]:
        """An arm over a base at all points of the common grid and its own; shared: what its points begin with."""
        settings, grid = self._split(arm, own)
        return [
            Treatment(arm, {**shared, **point}, _configured(arm, base, [settings, self.trusted(point)]))
            for point in _points({**self._grid, **grid})
        ]

    def transplanted(self, arm: str, own: Any, source: Treatment) -> list[Treatment]:
        """An arm whose runs start from those of a source: a static mask, and otherwise the source's settings."""
        text = own.get("start", "")
        start = Cell.parse(text) if isinstance(text, str) else None
        if start is None or start.other_run:
            refuse(f"arms.{arm}.start", text, "a text such as mask=learned,signs=epoch:10,magnitudes=random")
        settings, grid = self._split(arm, {key: value for key, value in own.items() if key not in ("from", "start")})
        base = begun_elsewhere(source.config)
        return [
            Treatment(
                arm,
                {**source.point, **point},
                _configured(arm, base, [settings, self.trusted(point)]),
                source,
                start,
            )
            for point in _points(grid)
        ]

    def trusted(self, tree: Tree) -> Tree:
        """Settings as nested tables, after a look for code that they name."""
        nested = _nested(tree)
        check_trusted(nested, VARIANTS, self._trust, repr(str(self._file)))
        return nested

    def _split(self, arm: str, own: Any) -> tuple[Tree, dict[str, Any]]:
        settings = dict(_table(self._file, f"arms.{arm}", own))
        grid = _flat(_table(self._file, f"arms.{arm}.grid", settings.pop("grid", {})))
        return self.trusted(settings), grid


def _points(grid: Mapping[str, Any]) -> list[Point]:
    """All combinations of a grid's values."""
    return [dict(zip(grid, values, strict=True)) for values in product(*(_values(*each) for each in grid.items()))]


def _configured(arm: str, config: Config, changes: Iterable[Tree]) -> Config:
    try:
        for change in changes:
            config = config.with_tree(change)
    except InputError as error:
        raise InputError(f"arm {arm!r}: {error}" if arm else str(error)) from None
    return config


def _refuse_repetitions(file: Path, treatments: Sequence[Treatment]) -> None:
    labels = [treatment.label for treatment in treatments]
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
    if isinstance(asked, list) and asked:
        seeds = tuple(int(number("seeds", seed, at_least=0, integer=True)) for seed in asked)
        if len(set(seeds)) == len(seeds):
            return seeds
    return tuple(range(int(number("seeds", asked, at_least=1, integer=True, hint="or a list of different seeds"))))
