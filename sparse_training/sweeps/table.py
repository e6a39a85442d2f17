"""A ledger as a table: the mean of each arm over its seeds, and its difference from one arm on the same seeds."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commons.checks import choice, refuse
from commons.sequential import sequential_interval, sequential_p_value
from commons.statistics import Interval, holm, mean_interval, paired_interval, paired_p_value
from commons.tables import aligned
from commons.tables import cell as text_of
from commons.verdicts import Verdict, better, opposite
from sparse_training.sweeps.columns import HIGHER_IS_BETTER, LOWER_IS_BETTER, names_of, numbers
from sparse_training.sweeps.ledger import Ledger, Record
from sparse_training.sweeps.plan import label

Row = dict[str, Any]
Key = tuple[str, str]  # the arm and its point as JSON
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A treatment of a sweep and, if it has a partner, its difference from it.

    records: the lines of its runs in the ledger, by seed. numbers: of each run, by seed. mean: of the metric, None
    where no run has it. difference: of the metric, on common seeds; p: of the paired t test, adjusted by Holm over the
    table. Where the sweep stopped when resolved, both are those that hold at every look.
    """

    arm: str
    point: Mapping[str, Any]
    records: Mapping[int, Record]
    numbers: Mapping[int, Mapping[str, float | None]]
    mean: Interval | None
    diverged: int
    difference: Interval | None = None
    p: float | None = None

    @property
    def above(self) -> Verdict | None:
        """Whether the treatment exceeds its partner; None where it is compared with nothing."""
        if self.p is None or self.difference is None:
            return None if self.difference is None else Verdict.NOT_RESOLVED
        return better(self.difference.mean, self.p, LEVEL)


def header_of(ledger: Ledger, sweep: str = "") -> Record:
    """What the ledger says of a sweep's table; of the only one where none is named.

    Raises:
        InputError: the ledger has no such sweep, or several and none is named.
    """
    known = ledger.sweeps()
    if not known:
        refuse("ledger", str(ledger.path), "a ledger with a sweep")
    if not sweep and len(known) > 1:
        refuse("sweep", sweep, f"one of {', '.join(known)}", "the ledger has several")
    return known[choice("sweep", sweep or next(iter(known)), known)]


def compare(ledger: Ledger, sweep: str = "", against: str | None = None, metric: str | None = None) -> list[Comparison]:
    """One comparison a treatment, in the order of the sweep file. against, metric: instead of the file's; "": none.

    A treatment is compared with the treatment of `against` whose grid settings it has, among others of its own.

    Raises:
        InputError: the ledger has no such sweep, arm or number.
    """
    header = header_of(ledger, sweep)
    treatments: dict[Key, dict[int, Record]] = {}
    for arm, point, treatment in header["treatments"]:
        own = [line for line in ledger.runs(header["sweep"]) if line["treatment"] == treatment and line["arm"] == arm]
        if own:
            treatments[arm, json.dumps(point)] = {line["seed"]: line for line in own}
    arms = list(dict.fromkeys(arm for arm, _, _ in header["treatments"]))
    against = header["against"] if against is None else choice("against", against, ["", *arms])
    measured = {
        key: {seed: numbers(records[seed], header["columns"]) for seed in sorted(records)}
        for key, records in treatments.items()
    }
    wanted = choice("metric", metric or header["metric"], names_of(header["columns"]))
    values = {
        key: {seed: value for seed, own in runs.items() if (value := own[wanted]) is not None}
        for key, runs in measured.items()
    }
    pairs = {key: pair for key in values if (pair := _pair(key, values, against))}
    always = bool(header.get("stop"))
    test = _sequential_p_value if always else paired_p_value
    adjusted = dict(zip(pairs, holm([test(*pair) for pair in pairs.values()]), strict=True)) if pairs else {}
    return [
        Comparison(
            arm=arm,
            point=json.loads(point),
            records=treatments[arm, point],
            numbers=measured[arm, point],
            mean=mean_interval(list(own.values())) if own else None,
            diverged=sum(record["diverged"] is not None for record in treatments[arm, point].values()),
            difference=_difference(pairs.get((arm, point)), always, len(pairs)),
            p=float(adjusted[arm, point]) if (arm, point) in adjusted else None,
        )
        for (arm, point), own in values.items()
    ]


def partner(key: Key, treatments: Iterable[Key], against: str) -> Key | None:
    """The treatment of the arm `against` that a treatment is compared with: the one whose grid settings it shares."""
    arm, point = key[0], json.loads(key[1])
    if arm == against:
        return None
    return next(
        (other for other in treatments if other[0] == against and json.loads(other[1]).items() <= point.items()), None
    )


def _pair(key: Key, values: Mapping[Key, Mapping[int, float]], against: str) -> tuple[list[float], list[float]] | None:
    """The values of a treatment and of its partner on common seeds, in the order of seeds; None without any."""
    other = partner(key, values, against)
    seeds = [seed for seed in values[key] if seed in values[other]] if other else []
    return ([values[key][seed] for seed in seeds], [values[other][seed] for seed in seeds]) if other and seeds else None


def _sequential_p_value(first: list[float], second: list[float]) -> float:
    return sequential_p_value([a - b for a, b in zip(first, second, strict=True)])


def _difference(pair: tuple[list[float], list[float]] | None, always: bool, comparisons: int) -> Interval | None:
    if pair is None:
        return None
    if always:
        return sequential_interval([a - b for a, b in zip(*pair, strict=True)], 1 - LEVEL / comparisons)
    return paired_interval(*pair)


def rows_of(comparisons: Sequence[Comparison], header: Record, against: str | None = None) -> list[Row]:
    """Rows for people: means and differences with half the width of their 95 % intervals.

    pairs: how many seeds are behind a difference, told where some arm has seeds that its partner lacks. Whether an arm
    is better than the one it is compared with depends on the metric: lower losses and bits per byte are better. Of a
    metric that is neither good nor bad, such as a count of flips, it is said whether the arm is above.
    """
    name = header["against"] if against is None else against
    fields = list(dict.fromkeys(field for each in comparisons for field in each.point))
    unpaired = any(each.mean and each.difference and each.difference.n < each.mean.n for each in comparisons)
    rows = []
    for each in comparisons:
        row: Row = {"arm": each.arm, **{field: _plain(each.point.get(field)) for field in fields}}
        row |= {"n": each.mean.n if each.mean else 0, header["metric"]: _text(each.mean)}
        if any(other.diverged for other in comparisons):
            row["diverged"] = each.diverged
        if name:
            row |= {f"minus {name}": _text(each.difference, "+"), "p (Holm)": each.p}
            if unpaired:
                row["pairs"] = each.difference.n if each.difference else None
            row |= _judged(each.above, header["metric"], name)
        if name and header["margin"]:
            row[f"within ±{header['margin']:g}?"] = within(each.difference, header["margin"])
        for column in header["columns"]:
            own = [value for run in each.numbers.values() if (value := run[column]) is not None]
            row[column] = _text(mean_interval(own)) if own else None
        rows.append(row)
    return rows


def _judged(above: Verdict | None, metric: str, name: str) -> Row:
    """Whether an arm is better than another one, or above it where the metric has no good direction."""
    if metric in LOWER_IS_BETTER:
        above = opposite(above) if above is not None else None
    question = "better than" if metric in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER) else "above"
    return {f"{question} {name}?": _plain(above)}


def within(difference: Interval | None, margin: float) -> str | None:
    """Whether a difference is smaller than what matters, as far as its interval says."""
    if difference is None:
        return None
    if -margin < difference.low and difference.high < margin:
        return str(Verdict.AGREES)
    outside = difference.low > margin or difference.high < -margin
    return str(Verdict.DISAGREES if outside else Verdict.NOT_RESOLVED)


def best_rows(comparisons: Sequence[Comparison], metric: str) -> list[Row]:
    """For each arm, and each preset of several, the treatment with the best mean and what lies at an edge of its grid.

    The lowest mean of a loss or of bits per byte is the best, and the highest of any other metric. The mean is over the
    n runs that have the metric; how many others of the treatment diverged stands beside it. A number is at the edge if
    the arm has no run with a higher one, or none with a lower one; runs that diverged count.
    """
    groups: dict[tuple[str, Any], list[Comparison]] = {}
    for each in comparisons:
        groups.setdefault((each.arm, each.point.get("preset")), []).append(each)
    rows = []
    for (arm, preset), own in groups.items():
        row: Row = {"arm": arm, **({} if preset is None else {"preset": preset})}
        sign = -1 if metric in LOWER_IS_BETTER else 1
        best = max(own, key=lambda each: sign * each.mean.mean if each.mean else -math.inf)
        diverged = best.diverged
        if best.mean is None:
            diverged = sum(each.diverged for each in own)
            whole = diverged == sum(len(each.records) for each in own)
            row |= {"best": "all diverged" if whole else "not measured", "n": 0, metric: None}
        else:
            point = {field: value for field, value in best.point.items() if field != "preset"}
            row |= {"best": label("", point).strip(" ()"), "n": best.mean.n, metric: _text(best.mean)}
        if any(each.diverged for each in comparisons):
            row["diverged"] = diverged
        edges = [field for field in best.point if best.mean and _at_edge(field, best, own)]
        rows.append(row | {"at the edge": ", ".join(edges) or None})
    return rows


def _at_edge(field: str, best: Comparison, own: Sequence[Comparison]) -> bool:
    """Whether a setting of the best treatment is the first or the last of several numbers that were tried."""
    values = {each.point[field] for each in own if _is_number(each.point[field])}
    return len(values) > 1 and best.point[field] in (min(values), max(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def formatted(rows: Sequence[Row], form: str) -> str:
    """Rows as "md", "csv" or "latex" (with booktabs)."""
    if form == "md" or not rows:
        return aligned(rows)
    texts = [[text_of(value) if value is not None else "" for value in row.values()] for row in rows]
    if form == "csv":
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([list(rows[0]), *texts])
        return file.getvalue()
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in ([*rows[0]], *texts)]
    head, *body = lines
    columns = "l" + "r" * (len(rows[0]) - 1)
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end]) + "\n"


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "−": "$-$", "√": r"$\surd$", "×": r"$\times$", "–": "--"}
    special |= {"α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "θ": r"$\theta$", "^": r"\^{}", "~": r"\~{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _text(interval: Interval | None, sign: str = "") -> str | None:
    if interval is None:
        return None
    half = (interval.high - interval.low) / 2
    if not 0 < half < math.inf:
        return f"{interval.mean:{sign}z.4g}" + (" ± ?" if half else " ± 0")
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{interval.mean:{sign}z.{digits}f} ± {half:.{digits}f}"  # z: −0 is 0


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)
