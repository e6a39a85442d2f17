"""`python -m sparse_training sharpness` on a run and on a network of one's own."""

import csv
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from commons import InputError
from sparse_training import models
from sparse_training.__main__ import parser
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.sharpness import Eigenpair, max_eigenvalue
from sparse_training.sharpness.batches import Batch
from sparse_training.training.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(Config.preset("digits-mlp").with_set(["epochs=1", "mask.density=0.1"]), folder)
    return Run(folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digits(n: int) -> Batch:
    from sparse_training import data

    return data.load("digits").samples("train", n, seed=0)


def test_every_saved_network_of_a_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch.nn.functional import cross_entropy

    extras = ["--smallest", "--trace", "--layers", "--density", "--line", "--space", "theta", "factors", "flow"]
    assert parser().execute(["sharpness", str(run.path), "--samples", "200", "--out", str(tmp_path), *extras]) == 0
    rows = rows_of(tmp_path / "eigenvalues.csv")
    shown = capsys.readouterr().out
    assert "λ_max" in shown
    for epoch in run.epochs:
        of_epoch = [row for row in rows if row["epoch"] == str(epoch)]
        kinds = {(row["quantity"], row["space"]) for row in of_epoch}
        assert {("λ_max", "theta"), ("λ_max", "factors"), ("λ_max", "flow"), ("λ_min", "theta")} <= kinds
        truth = max_eigenvalue(run.model(epoch), cross_entropy, digits(200), run.masks(epoch), tol=1e-5)
        value = next(float(r["value"]) for r in of_epoch if (r["quantity"], r["space"]) == ("λ_max", "theta"))
        assert value == pytest.approx(truth.value, rel=1e-3)
        assert all(float(r["value"]) <= value * 1.001 for r in of_epoch if r["quantity"] == "λ_max of block")
        density = np.load(tmp_path / f"epoch-{epoch:04}-density.npz")
        assert np.trapezoid(density["mean"], density["grid"]) == pytest.approx(1, abs=0.05)
        line = rows_of(tmp_path / f"epoch-{epoch:04}-line.csv")
        middle = line[len(line) // 2]
        assert float(middle["t"]) == 0
        assert float(middle["loss"]) == pytest.approx(float(middle["parabola"]), rel=1e-5)


def test_an_interrupted_command_leaves_what_it_measured(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparse_training.sharpness import report

    columns, calls = report.pair_columns, []

    def interrupted(pair: Eigenpair) -> dict[str, object]:
        calls.append(pair)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return columns(pair)

    monkeypatch.setattr(report, "pair_columns", interrupted)
    assert parser().execute(["sharpness", str(run.path), "--samples", "100", "--out", str(tmp_path)]) == 130
    (row,) = rows_of(tmp_path / "eigenvalues.csv")
    assert (row["epoch"], row["converged"]) == ("0", "True")
    assert float(row["value"]) == calls[0].value
    assert "epoch 0, λ_max in theta: " in capsys.readouterr().err


def test_network_and_checkpoint_of_ones_own(tmp_path: Path) -> None:
    model = models.build("mlp", in_channels=1, image_size=8, seed=4)
    save_file(model.state_dict(), tmp_path / "state.safetensors")
    name = "sparse_training.models.small:mlp"
    state, out = str(tmp_path / "state.safetensors"), str(tmp_path / "out")
    assert parser().execute(["sharpness", name, "--checkpoint", state, "--samples", "100", "--out", out]) == 0
    assert rows_of(tmp_path / "out" / "eigenvalues.csv")[0]["converged"] == "True"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "the folder of a run"),
        (["some.module:callable"], "give one module:callable and its state dict"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser().execute(["sharpness", *arguments, *(["--out", str(tmp_path)] if "nowhere" in arguments else [])])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing"], "folder of a run"),
        (["RUN", "--device", "cuda:99"], "device"),
        (["RUN", "--space", "flow", "--line"], "theta"),
        (["RUN", "--checkpoint", "weights.safetensors"], "module:callable"),
    ],
    ids=str,
)
def test_a_mistake_is_told_before_anything_is_written(
    run: Run, options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["sharpness", *(str(run.path) if option == "RUN" else option for option in options), "--out", "new"]
    arguments = parser().parse_args(command)
    with pytest.raises(InputError, match=message):
        arguments.run(arguments)
    assert not list(tmp_path.iterdir())
