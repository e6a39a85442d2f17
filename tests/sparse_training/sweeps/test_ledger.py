"""A ledger loses no whole line and believes no damaged one, whoever writes at the same time, and merges by `cat`."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_training.sweeps.ledger import DamagedLine, Ledger


def line(address: str, arm: str = "a", **more: Any) -> dict[str, Any]:
    return {"kind": "run", "address": address, "sweep": "s", "arm": arm, "point": {}, "sharpness": None, **more}


def append_many(path: Path, first: str) -> None:
    ledger = Ledger(path)
    for index in range(50):
        ledger.append(line(f"{first}{index}", text="x" * 5000))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert {run["address"] for run in Ledger(path).runs()} == {f"{n}{i}" for n in "abc" for i in range(50)}


def test_merging_is_concatenation_and_repetitions_do_no_harm(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path / "one"), Ledger(tmp_path / "two")
    for address in "ab":
        one.append(line(address))
    two.append(line("b"))
    two.append(line("c"))
    two.append(line("c", arm="other name"))
    merged = tmp_path / "merged"
    merged.write_bytes((one.path.read_bytes() + two.path.read_bytes()) * 2)
    assert [(run["address"], run["arm"]) for run in Ledger(merged).runs()] == [
        ("a", "a"),
        ("b", "a"),
        ("c", "a"),
        ("c", "other name"),
    ]


def test_the_line_with_the_most_measurements_counts_in_either_order(tmp_path: Path) -> None:
    for name, sharpness in (("few-many", (None, 1.0)), ("many-few", (1.0, None))):
        ledger = Ledger(tmp_path / name)
        for value in sharpness:
            ledger.append(line("a", sharpness=value))
        assert [run["sharpness"] for run in ledger.runs()] == [1.0]


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_line_is_named_and_left_out_and_the_next_one_is_whole(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger")
        for address in "abc":
            ledger.append(line(address, text="é"))
        text = ledger.path.read_bytes()
        lengths = [len(part) + 1 for part in text.split(b"\n")[:-1]]
        if data.draw(st.booleans(), label="cut short"):
            cut = data.draw(st.integers(1, lengths[2] - 2), label="bytes of the last line")
            ledger.path.write_bytes(text[: sum(lengths[:2]) + cut])
            expected = ["a", "b"]
        else:
            at = lengths[0] + data.draw(st.integers(0, lengths[1] - 2), label="changed byte")
            new = data.draw(st.sampled_from(b"0Zq7").filter(lambda byte: byte != text[at]), label="to")
            ledger.path.write_bytes(text[:at] + bytes([new]) + text[at + 1 :])
            expected = ["a", "c"]
        with pytest.warns(DamagedLine, match=f"line {3 if expected[1] == 'b' else 2} of ledger"):
            again = Ledger(ledger.path)
        again.append(line("d"))
        assert [run["address"] for run in again.runs()] == [*expected, "d"]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").runs() == []
