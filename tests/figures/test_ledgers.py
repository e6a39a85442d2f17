"""The picture of a ledger shows every seed and each paired difference, open where it is not resolved."""

from pathlib import Path

import numpy as np
from fixtures.ledgers import header, run_line

from figures.__main__ import main
from figures.beside import beside_published
from figures.ledgers import ledger_figure
from figures.style import paper_style
from sparse_training.sweeps import Ledger

SETTINGS = {"model": "mlp", "data": {"name": "digits"}}
VALUES = {"plain": [80.0, 81.0, 82.0], "better": [84.0, 85.1, 85.9], "same": [80.5, 80.5, 82.2]}


def test_a_ledger_is_drawn(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(header(list(VALUES)))
    for arm, values in VALUES.items():
        for seed, value in enumerate(values):
            ledger.append(run_line(arm, seed, {"test_accuracy": value}))
    with paper_style():
        left, right = ledger_figure(ledger.path).axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(VALUES)
    seeds = [line.get_xdata() for line in left.lines if len(line.get_xdata()) == 3]
    assert [list(map(float, x)) for x in seeds] == list(VALUES.values())
    marks = [line for line in right.lines if line.get_marker() == "o"]
    means = [np.mean(np.subtract(VALUES[arm], VALUES["plain"])) for arm in ("better", "same")]
    assert [float(mark.get_xdata()[0]) for mark in marks] == means
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [False, True]
    assert main(["sweep", str(ledger.path)]) == 0
    assert (tmp_path / "ledger.png").exists()


def test_runs_that_diverged_are_told_of(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(header(["plain", "some", "wild"]))
    for arm, lost in (("plain", ()), ("some", (1,)), ("wild", (0, 1, 2))):
        for seed in range(3):
            line = run_line(arm, seed, {"test_accuracy": 80.0 + seed * len(arm)}, settings=SETTINGS)
            ledger.append(line | ({"diverged": "not finite", "metrics": None} if seed in lost else {}))
    with paper_style():
        left, _ = ledger_figure(ledger.path).axes
    assert left.get_xlabel().splitlines()[1:] == ["runs that diverged:", "some 1 of 3", "wild 3 of 3"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["plain", "some"]
    rows = {row["arm"]: row for row in beside_published(ledger.path)}
    assert [(row["n"], row["diverged"]) for row in rows.values()] == [(3, 0), (2, 1), (0, 3)]
    assert "pairs" not in rows["some"]
