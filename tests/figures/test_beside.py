"""A sweep's table has the published value of the same arm, sparsity, data and network, and no other."""

from pathlib import Path
from typing import Any

import pytest
from fixtures.ledgers import header, run_line

from figures.__main__ import main
from figures.published import HAM, SIGN_IN
from figures.tables import read_table
from sparse_training.sweeps import Ledger

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "Sign-In": {"reparam": {"name": "sign-in"}},
    "AC/DC + HAM": {"method": {"name": "acdc"}, "reparam": {"name": "ham"}},
    "weak HAM": {"reparam": {"name": "ham", "alpha": 2.0}},
    "layer rates": {"scaling": {"name": "layer-rates"}},
    "dense": {"mask": {}},
}


def ledger(path: Path, model: str, data: str) -> Path:
    kept = Ledger(path)
    kept.append(header(list(ARMS)))
    for arm, settings in ARMS.items():
        for seed in range(3):
            told = {"model": model, "data": {"name": data}, "mask": {"density": 0.1}}
            kept.append(run_line(arm, seed, {"test_accuracy": 80.0 + seed}, settings=told | settings))
    return path


@pytest.mark.parametrize(
    ("model", "data", "asked", "published"),
    [
        ("resnet20", "cifar10", (), {"plain": "86.25", "Sign-In": "87.83"}),
        ("resnet50", "imagenet", (), {"plain": "71.56", "Sign-In": "72.19", "AC/DC + HAM": "76.66"}),
        ("mlp", "digits", (), {}),
        ("mlp", "digits", ("--published", "CIFAR-100, ResNet-18"), {"plain": "72.96", "Sign-In": "73.94"}),
    ],
)
def test_an_arm_stands_beside_what_was_published_for_it(
    model: str, data: str, asked: tuple[str, ...], published: dict[str, str], tmp_path: Path
) -> None:
    path = ledger(tmp_path / "ledger.jsonl", model, data)
    assert main(["table", str(path), *asked]) == 0
    rows = {row["arm"]: row for row in read_table(tmp_path / "ledger-table.csv", ("published", "source"), ("n",))}
    assert list(rows) == list(ARMS)
    assert {arm: row["published"] for arm, row in rows.items() if row["published"]} == published
    assert {row["source"] for row in rows.values()} <= {"", SIGN_IN, HAM}
    assert {row["n"] for row in rows.values()} == {"3"}
    text = (tmp_path / "ledger-table.tex").read_text()
    assert r"\toprule" in text
    assert r"81.0 $\pm$ 2.5" in text
    assert all(value in text for value in published.values())


def test_what_was_not_published_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ledger(tmp_path / "ledger.jsonl", "mlp", "digits")
    with pytest.raises(SystemExit):
        main(["table", str(path), "--published", "CIFAR-10, ResNet-18"])
    assert "did you mean" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir() if "table" in file.name] == []
