"""Two checkpoints of a user's own network are the source of transplants."""

import csv
from pathlib import Path

import pytest
import torch

from sparse_training import make_masks, models
from sparse_training.__main__ import parser
from sparse_training.runs.run import Run
from sparse_training.seeding import derive

NETWORK = """
from torch import nn


def network(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, num_classes))
"""


def test_two_files_and_a_mask_are_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "own_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    init, final = (models.build("own_network:network", num_classes=10, seed=seed) for seed in (3, 4))
    masks = make_masks(final, 0.25, "magnitude")
    masks.save(tmp_path / "masks.safetensors")
    torch.save(init.state_dict(), tmp_path / "a.pt")
    torch.save({"epoch": 9, "model": final.state_dict()}, tmp_path / "b.pt")
    files = ["--init", tmp_path / "a.pt", "--final", tmp_path / "b.pt", "--masks", tmp_path / "masks.safetensors"]
    cells = ["--cell", "signs=final", "--cell", "signs=random,magnitudes=learned"]
    settings = ["--set", "epochs=1", "engine.threads=1", "--seeds", "1", "--workers", "1"]
    command = ["transplant", *files, "--model", "own_network:network", *cells, *settings, "--out", tmp_path / "out"]
    assert parser().execute(list(map(str, command))) == 0
    told = capsys.readouterr().err
    with (tmp_path / "out" / "report.csv").open() as file:
        rows = {row["start"]: row for row in csv.DictReader(file)}
    assert len(rows) == 3
    (folder,) = (tmp_path / "out" / "given").glob("*/seed-0")
    run = Run(folder, ["own_network:network"])
    assert run.masks() == masks
    assert torch.equal(run.network(0).state["1.weight"], init[1].weight)
    assert torch.equal(run.weights()["1.weight"], torch.where(masks["1.weight"], final[1].weight, 0.0))
    data = run.config.data.load()
    with torch.no_grad():
        right = [(run.model()(x).argmax(1) == y).double().mean() * len(y) for x, y in data.test(64)]
    assert run.summary["test_accuracy"] == pytest.approx(100 * float(sum(right)) / data.n_test)
    assert f"b.pt, with {run.summary['test_accuracy']:.2f} % of the test samples of 'digits'" in told
    starts = list((tmp_path / "out").rglob("*.start.safetensors"))
    fresh = models.build("own_network:network", num_classes=10, seed=derive(0, "transplant")).state_dict()
    signs = {"final": final[1].weight.sign(), "random": fresh["1.weight"].sign()}
    from sparse_training import load_network

    found = [load_network(path).state["1.weight"].sign() for path in starts]
    for expected in signs.values():
        assert any(torch.equal(sign, expected * masks["1.weight"]) for sign in found)
    first = (folder / "summary.json").stat().st_mtime_ns
    assert parser().execute(list(map(str, command))) == 0
    assert (folder / "summary.json").stat().st_mtime_ns == first


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().execute(["transplant", "--final", "b.pt", "--model", "mlp", "--out", str(tmp_path / "out")])
    assert "init=None is not given, as --final asks" in capsys.readouterr().err
