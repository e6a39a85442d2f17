"""A table pairs runs by seed and treatments by grid point, says what is not resolved, and ignores the order."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commons import InputError
from commons.statistics import Interval, holm, paired_interval, paired_p_value
from commons.verdicts import Verdict
from sparse_training.__main__ import parser
from sparse_training.sweeps import Ledger
from sparse_training.sweeps.table import best_rows, compare, formatted, header_of, rows_of

LRS = (0.1, 0.2, 0.4)
Values = dict[tuple[str, float], list[float | None]]
ACCURACIES: Values = {
    ("plain", 0.1): [80.0, 81.0, 79.5, 80.5],
    ("plain", 0.2): [82.0, 83.0, 81.5, 82.5],
    ("plain", 0.4): [70.0, None, 71.0, 69.0],
    ("better", 0.1): [81.0, 82.1, 80.6, 81.4],
    ("better", 0.2): [82.5, 82.5, 82.0, 82.0],
    ("better", 0.4): [83.0, 84.2, 83.1],
}


def run_line(arm: str, lr: float, seed: int, accuracy: float | None) -> dict[str, Any]:
    metrics = None if accuracy is None else {"test_accuracy": accuracy, "train_accuracy": 90.0, "test_loss": 1.0}
    flips = {"columns": ["active", "flipped"], "layers": {"a": [10, seed], "b": [30, 1]}, "settled": 3}
    line = {"kind": "run", "sweep": "s", "arm": arm, "point": {"lr": lr}, "seed": seed, "treatment": f"{arm}{lr}"}
    line |= {"address": f"{arm}{lr}{seed}", "metrics": metrics, "diverged": None if metrics else "not finite"}
    return line | {"flips": flips, "start": None, "sharpness": None, "seconds": {"training": 1.0, "measuring": 0.0}}


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[..., Ledger]:
    """A ledger of the accuracies above, its lines in any order."""

    def write(order: int = 0, name: str = "ledger.jsonl", **header: Any) -> Ledger:
        made = Ledger(tmp_path / name)
        lines = [
            run_line(*treatment, seed, a) for treatment, values in ACCURACIES.items() for seed, a in enumerate(values)
        ]
        lines.append(run_line("plain", 0.1, 0, 1.0) | {"treatment": "of an earlier file", "address": "old"})
        random.Random(order).shuffle(lines)
        treatments = [[arm, {"lr": lr}, f"{arm}{lr}"] for arm, lr in ACCURACIES]
        usual = {"against": "plain", "metric": "test_accuracy", "margin": 0.0, "stop": "", "treatments": treatments}
        columns = {"overfit": "train_accuracy - test_accuracy", "flipped %": "100 * flipped / active"}
        for line in [{"kind": "sweep", "sweep": "s", **usual, "columns": columns, **header}, *lines]:
            made.append(line)
        return made

    return write


def test_cells_are_compared_with_the_same_grid_point_on_the_same_seeds(ledger: Callable[..., Ledger]) -> None:
    found = {(each.arm, each.point["lr"]): each for each in compare(ledger())}
    pairs = {lr: (ACCURACIES["better", lr], ACCURACIES["plain", lr]) for lr in LRS}
    pairs[0.4] = ([83.0, 83.1], [70.0, 71.0])  # the seeds that both have
    adjusted = holm([paired_p_value(*pair) for pair in pairs.values()])
    for lr, p in zip(LRS, adjusted, strict=True):
        assert found["plain", lr].difference is None
        assert found["better", lr].difference == paired_interval(*pairs[lr])
        assert found["better", lr].p == p
    assert found["better", 0.1].above is Verdict.AGREES
    assert found["better", 0.2].above is Verdict.NOT_RESOLVED
    assert found["plain", 0.4].diverged == 1


def test_the_order_of_lines_does_not_matter(ledger: Callable[..., Ledger]) -> None:
    ledgers = [ledger(order, f"{order}.jsonl") for order in range(3)]
    assert len({formatted(rows_of(compare(each), header_of(each)), "csv") for each in ledgers}) == 1


def test_a_sweep_that_stops_when_resolved_is_told_by_its_own_test(ledger: Callable[..., Ledger]) -> None:
    fixed, always = compare(ledger()), compare(ledger(name="other.jsonl", stop="resolved"))
    for one, other in zip(fixed, always, strict=True):
        if one.difference is not None and other.difference is not None:
            assert other.difference.low < one.difference.low
            assert one.p is not None
            assert other.p is not None
            assert other.p >= one.p


def test_the_best_of_a_grid_and_its_edges(ledger: Callable[..., Ledger]) -> None:
    rows = {row["arm"]: row for row in best_rows(compare(ledger()), "test_accuracy")}
    assert (rows["plain"]["best"], rows["plain"]["at the edge"]) == ("lr=0.2", None)
    assert (rows["better"]["best"], rows["better"]["at the edge"]) == ("lr=0.4", "lr")


def best_of(path: Path, runs: dict[float | bool, list[float | None]], **more: dict[float, str]) -> list[dict[str, Any]]:
    """The best of one arm, by its learning rate; more: the preset of each."""
    ledger = Ledger(path)
    points = {lr: {"lr": lr} | {name: values[lr] for name, values in more.items()} for lr in runs}
    treatments = [["arm", points[lr], f"arm{lr}"] for lr in runs]
    usual = {"against": "", "metric": "test_accuracy", "margin": 0.0, "stop": "", "columns": {}}
    ledger.append({"kind": "sweep", "sweep": "s", **usual, "treatments": treatments})
    for lr, values in runs.items():
        for seed, value in enumerate(values):
            ledger.append(run_line("arm", lr, seed, value) | {"point": points[lr]})
    return best_rows(compare(ledger), "test_accuracy")


def test_the_best_says_how_many_runs_its_mean_is_of_and_how_many_diverged(tmp_path: Path) -> None:
    (row,) = best_of(tmp_path / "some", {0.1: [80.0, 81.0, 82.0], 0.2: [90.0, None, 91.0]})
    assert (row["best"], row["n"], row["diverged"]) == ("lr=0.2", 2, 1)
    (row,) = best_of(tmp_path / "all", {0.1: [None], 0.2: [None, None]})
    assert (row["best"], row["n"], row["diverged"]) == ("all diverged", 0, 3)
    unmeasured = best_rows(compare(Ledger(tmp_path / "some"), metric="lambda_max"), "lambda_max")
    assert unmeasured[0]["best"] == "not measured"


def test_beyond_an_edge_nothing_was_tried_and_a_switch_has_none(tmp_path: Path) -> None:
    (row,) = best_of(tmp_path / "rates", {0.1: [80.0], 0.2: [82.0], 0.4: [None]})
    assert (row["best"], row["at the edge"]) == ("lr=0.2", None)
    (row,) = best_of(tmp_path / "switch", {False: [80.0], True: [82.0]})
    assert (row["best"], row["at the edge"]) == ("lr=True", None)


def test_every_preset_has_its_own_best(tmp_path: Path) -> None:
    presets = {0.1: "easy", 0.2: "easy", 0.3: "hard", 0.4: "hard"}
    rows = best_of(tmp_path / "l", {0.1: [90.0], 0.2: [91.0], 0.3: [51.0], 0.4: [50.0]}, preset=presets)
    assert [(row["preset"], row["best"]) for row in rows] == [("easy", "lr=0.2"), ("hard", "lr=0.3")]


def test_a_difference_over_fewer_seeds_than_the_mean_says_over_how_many(ledger: Callable[..., Ledger]) -> None:
    made = ledger()
    rows = {(row["arm"], row["lr"]): row for row in rows_of(compare(made), header_of(made))}
    assert (rows["better", 0.4]["n"], rows["better", 0.4]["pairs"]) == (3, 2)
    assert (rows["better", 0.1]["n"], rows["better", 0.1]["pairs"], rows["plain", 0.1]["pairs"]) == (4, 4, None)
    assert "pairs" not in rows_of([each for each in compare(made) if each.point["lr"] < 0.4], header_of(made))[0]


def test_an_arm_without_a_run_is_named(ledger: Callable[..., Ledger], capsys: pytest.CaptureFixture[str]) -> None:
    treatments = [[arm, {"lr": lr}, f"{arm}{lr}"] for arm, lr in (*ACCURACIES, ("late", 0.1))]
    parser().execute(["sweep", "table", str(ledger(treatments=treatments).path)])
    told = capsys.readouterr()
    assert told.err == "the ledger has no run of late (lr=0.1)\n"
    assert "late" not in told.out


@pytest.mark.parametrize(
    ("metric", "question", "answer", "best"),
    [
        ("test_accuracy", "better than plain?", "agrees", "lr=0.4"),
        ("bits_per_byte", "better than plain?", "disagrees", "lr=0.1"),
        ("test_loss", "better than plain?", "disagrees", "lr=0.1"),
        ("steps", "above plain?", "agrees", "lr=0.4"),
    ],
)
def test_lower_is_better_for_losses_and_bits(
    ledger: Callable[..., Ledger], metric: str, question: str, answer: str, best: str
) -> None:
    """The same numbers under another name: what is above plain is better, worse, or only above."""
    made, other = ledger(), Ledger(ledger().path.with_name("other.jsonl"))
    for line in (header_of(made), *made.runs()):
        line = {key: value for key, value in line.items() if key != "sum"}
        if line["kind"] == "sweep":
            line["metric"] = metric
        elif line["metrics"]:
            line["metrics"] = {**line["metrics"], metric: line["metrics"]["test_accuracy"]}
        other.append({**line, "columns": {}} if line["kind"] == "sweep" else line)
    rows = {(row["arm"], row["lr"]): row for row in rows_of(compare(other), header_of(other))}
    assert rows["better", 0.1][question] == answer
    assert rows["better", 0.2][question] == "not resolved"
    assert rows["better", 0.1]["minus plain"].startswith("+")
    assert {row["arm"]: row["best"] for row in best_rows(compare(other), metric)}["better"] == best


def test_a_small_negative_difference_is_no_minus_zero(ledger: Callable[..., Ledger]) -> None:
    made = ledger()
    below = [replace(each, difference=Interval(-0.04, -1.84, 1.76, 5)) for each in compare(made)]
    assert {row["minus plain"] for row in rows_of(below, header_of(made))} == {"+0.0 ± 1.8"}


def test_derived_columns_and_margins(ledger: Callable[..., Ledger]) -> None:
    made = ledger(margin=1.1)
    rows = rows_of(compare(made), header_of(made))
    assert rows[0]["overfit"].startswith("9.75 ± ") or rows[0]["overfit"].startswith("9.8 ± ")
    assert rows[0]["flipped %"].startswith("6.")  # mean of 1 to 4 of 40
    words = [row["within ±1.1?"] for row in rows if row["arm"] == "better"]
    assert words == ["not resolved", "agrees", "disagrees"]


def test_forms(ledger: Callable[..., Ledger], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(ledger().path)
    parser().execute(["sweep", "table", path, "--format", "latex", "--against", "better"])
    latex = capsys.readouterr().out
    assert latex.startswith(r"\begin{tabular}{lr")
    assert r"test\_accuracy" in latex
    assert latex.count(r"\\") == 1 + len(ACCURACIES)
    parser().execute(["sweep", "table", path, "--format", "csv", "--metric", "overfit"])
    assert capsys.readouterr().out.startswith("arm,lr,n,overfit,diverged,minus plain,p (Holm)")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "plian"], "did you mean plain?"),
        (["--metric", "test_acuracy"], "did you mean test_accuracy?"),
        (["--sweep", "other"], "sweep='other' is not one of s"),
    ],
)
def test_unknown_names_are_told(
    ledger: Callable[..., Ledger], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().execute(["sweep", "table", str(ledger().path), *options])
    assert message in capsys.readouterr().err


def test_an_empty_ledger_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a ledger with a sweep"):
        header_of(Ledger(tmp_path / "none"))
