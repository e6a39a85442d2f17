"""The tables of the benchmarks: a peer that fails, or is wrong in one round, costs no other row its place."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import table
from benchmarks.sharpness_tables import contests, placed, summary, write_report
from commons.files import write_csv


def rows(solver: str, seconds: dict[int, float], error: float = 1e-5) -> list[dict[str, Any]]:
    return [
        {
            "stage": "end",
            "seed": str(seed),
            "solver": solver,
            "seconds": spent,
            "hvps": 3,
            "value": 1.0,
            "error": error,
            "MiB": None,
        }
        for seed, spent in seconds.items()
    ]


MEASURED = [
    *rows("ours 1e-3", {0: 1.0, 1: 1.1, 2: 1.2}),
    *rows("a right peer", {0: 3.0, 1: 2.2, 2: 3.6}),
    *rows("a peer that is wrong", {0: 0.1, 1: 0.1, 2: 0.1}, error=2e-3),
    *rows("a peer that failed once", {0: 0.1, 2: 0.1}),
]


def test_the_fastest_right_peer_is_compared_round_by_round(tmp_path: Path) -> None:
    write_csv(tmp_path / "sharpness-mlp.csv", MEASURED)
    (line,) = contests(tmp_path)
    assert "a right peer" in line["fastest right peer"]
    assert line["ratio"] == pytest.approx(2.2)
    assert (line["least"], line["most"]) == (pytest.approx(2.0), pytest.approx(3.0))
    by_name = {row["solver"]: row for row in summary(MEASURED)}
    assert by_name["ours 1e-3"]["fastest right peer / this"] == 2.2
    assert by_name["a peer that failed once"]["seeds"] == 2
    assert "a right peer" in write_report(tmp_path)


def test_ours_is_compared_in_the_rounds_that_it_ended(tmp_path: Path) -> None:
    write_csv(tmp_path / "sharpness-mlp.csv", [*rows("ours 1e-3", {0: 1.0, 2: 1.0}), *rows("peer", {0: 2, 1: 1, 2: 3})])
    (line,) = contests(tmp_path)
    assert line["ratio"] == pytest.approx(2.0)


def test_new_rows_replace_all_of_their_round_or_the_solvers_that_were_named() -> None:
    old = [{**row, "MiB": "7"} for row in MEASURED]
    new = [
        {key: row[key] for key in ("solver", "seconds", "hvps", "value", "error")} for row in rows("ours 1e-3", {1: 9})
    ]
    whole, part = placed(old, new, "end", "1"), placed(old, new, "end", "1", ["ours 1e-3"])
    assert len(whole) == len(old) - 2  # this round had three rows
    assert len(part) == len(old)
    for found in (whole, part):
        (row,) = (row for row in found if (row["solver"], row["seed"]) == ("ours 1e-3", "1"))
        assert (row["seconds"], row["MiB"]) == (9, "7")


def test_what_cannot_be_read_is_told_beside_what_can(tmp_path: Path) -> None:
    write_csv(tmp_path / "sharpness-mlp.csv", MEASURED)
    write_csv(tmp_path / "training-speed-cpu.csv", [{"variant": "Sign-In", "model": "of another version"}])
    lines = table(tmp_path, ["training FAILED with status 1 after 2 s"])
    assert len(lines) == 1
    written = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "a right peer" in written
    assert "training FAILED" in written
    assert "KeyError" in written
