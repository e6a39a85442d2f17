"""`python -m sparse_training problem`: tables, files, and one line for a mistake."""

import json
from pathlib import Path

import pytest

from sparse_training.__main__ import parser

FEW = ["problem", "neurons", "--seeds", "4", "--tuning-seeds", "2", "--set", "steps=3", "sign_samples=100"]


def test_the_tables_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parser().execute([*FEW, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "problem-neurons.md").read_text(encoding="utf-8") + f"wrote {tmp_path}\n"
    for word in (
        "| plain ",
        "layer rates at the speeds of Sign-In",
        "a− w+",
        "λ_max",
        "--set steps=3 sign_samples=100",
    ):
        assert word in printed
    record = json.loads((tmp_path / "problem-neurons.json").read_text(encoding="utf-8"))
    assert [len(arm["relative loss"]) for arm in record["arms"]][:2] == [4, 4]
    lines = (tmp_path / "problem-neurons.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(record["arms"])


def test_list_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser().execute(["problem", "list"]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["neurons", "optimizer", "gd"] in rows
    assert ["three-layer", "mask", "teacher"] in rows


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["neuron"], "did you mean neurons"),
        (["neurons", "--set", "step=3"], "did you mean steps"),
        (["neurons", "--set", "steps"], "NAME=VALUE"),
        (["neurons", "--set", "steps=many"], "a value like 1000"),
        (["neurons", "--set", "optimizer=adam"], "one of gd, sgd"),
        (["neurons", "--seeds", "0"], "seeds=0"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        parser().execute(["problem", *words])
    assert exit.value.code == 2
    assert says in capsys.readouterr().err


def test_only_some_arms_are_run_and_the_command_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser().execute([*FEW, "--arms", "plain", "true signs"]) == 0
    printed = capsys.readouterr().out
    assert "--arms plain 'true signs'`" in printed
    assert "| true signs " in printed
    assert "Sign-In" not in printed
