"""Ablations: variants whose settings exist, runs that are found again, and differences taken seed by seed."""

import shutil
from pathlib import Path

import pytest

from commons import InputError
from sparse_training.__main__ import parser
from sparse_training.ablation import ABLATIONS, Variant, ablate, folders_of, restore_folders, sweep_of, train_variants
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run

SHORT = ["epochs=1", "mask.density=0.1", "batch_size=512"]
PAIR = [Variant("a", ()), Variant("b", ("optimizer.lr=0.001",), "a")]


def short(*settings: str) -> Config:
    return Config.preset("digits-mlp").with_set([*SHORT, *settings])


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_name_settings_and_baselines_that_exist(name: str) -> None:
    variants = ABLATIONS[name]()
    labels = [variant.label for variant in variants]
    assert len(set(labels)) == len(labels)
    for variant in variants:
        Config.preset("digits-mlp").with_set(variant.settings)
        assert not variant.baseline or variant.baseline in labels


def test_an_ablation_compares_seed_by_seed(tmp_path: Path) -> None:
    sweep = sweep_of(PAIR, short(), [0, 1, 2], tmp_path)
    train_variants(sweep, workers=1)
    folders = folders_of(sweep)
    found = [[Run(folders[label][seed]).summary["test_accuracy"] for seed in range(3)] for label in "ab"]
    assert [Run(folders["b"][seed]).config.seed for seed in range(3)] == [0, 1, 2]
    rows = ablate(PAIR, sweep)
    assert rows[0]["accuracy %"] == pytest.approx(sum(found[0]) / 3, abs=1e-3)
    assert rows[0]["better"] is None
    assert rows[1]["difference"] == pytest.approx(sum(b - a for a, b in zip(*found, strict=True)) / 3, abs=2e-3)
    assert rows[1]["low"] <= rows[1]["difference"] <= rows[1]["high"]
    assert rows[1]["better"] == ("disagrees" if rows[1]["p (Holm)"] < 0.05 else "not resolved")

    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    again = sweep_of(PAIR, short(), [0, 1, 2], tmp_path)
    train_variants(again, workers=1)
    assert folders_of(again) == folders
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == written
    shutil.rmtree(folders["a"][0])
    train_variants(again, workers=1)
    assert not folders["a"][0].exists()  # the ledger has its number
    restore_folders(again, workers=1)
    assert Run(folders["a"][0]).summary["test_accuracy"] == found[0][0]
    others = folders_of(sweep_of(PAIR[:1], short("batch_size=256"), [0], tmp_path))
    assert others["a"][0] != folders["a"][0]  # another configuration in the same place is another run


@pytest.mark.parametrize(
    ("variants", "seeds", "message"),
    [
        (PAIR, [], "seeds=0"),
        ([*PAIR, PAIR[0]], [0], "variant='a' is not given once"),
        ([PAIR[1]], [0], "baseline='a'"),
        ([Variant("a", ("engine.device=cuda:77",))], [0], "engine.device"),
    ],
)
def test_what_cannot_be_trained_or_compared_is_refused_before_any_work(
    variants: list[Variant], seeds: list[int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        train_variants(sweep_of(variants, short(), seeds, tmp_path / "runs"))
    assert not list(tmp_path.rglob("config.toml"))


OWN = """
from sparse_training.ablation import Variant

def own():
    return [Variant("slow", ("optimizer.lr=0.01",)), Variant("fast", ("optimizer.lr=0.2",), "slow")]
"""


def test_the_command_takes_anyones_ablation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_ablation.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    arguments = ["ablate", "my_ablation:own", "--seeds", "1", "--workers", "1", *folders, "--set", *SHORT]
    assert parser().execute(arguments) == 0
    assert "| fast " in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "ablation-my_ablation_own.csv",
        "ablation-my_ablation_own.md",
    }


@pytest.mark.parametrize("command", ["ablate", "transplant"])
def test_a_table_that_cannot_be_written_is_told_before_any_work(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "ablate": ["scratch", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)],
        "transplant": ["--method", "gmp", "--out", str(tmp_path / "runs"), "--report", str(tmp_path / "report")],
    }[command]
    for name in ("ablation-scratch.md", "report.md"):
        (tmp_path / name).mkdir()
    with pytest.raises(SystemExit) as ended:
        parser().execute([command, *arguments, "--set", *SHORT])
    assert ended.value.code == 2
    assert "is a folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.toml"))
