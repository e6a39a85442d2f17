"""`python -m sparse_training sharpness` on a run and on a network of one's own."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from commons import InputError
from sparse_training import models
from sparse_training.__main__ import parser
from sparse_training.masks import make_masks, prunable
from sparse_training.reparam import sparsify
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.sharpness import Eigenpair, HessianOperator, in_space, lanczos, max_eigenvalue
from sparse_training.sharpness.batches import Batch
from sparse_training.training.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(Config.preset("digits-mlp").with_set(["epochs=1", "mask.density=0.1", "reparam=sign-in"]), folder)
    return Run(folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digits(n: int) -> Batch:
    from sparse_training import data

    return data.load("digits").samples("train", n, seed=0)


def test_every_saved_network_of_a_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch.nn.functional import cross_entropy

    extras = ["--smallest", "--trace", "--layers", "--spectrum", "--line", "--space", "theta", "factors", "flow"]
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
        spectrum = np.load(tmp_path / f"epoch-{epoch:04}-spectrum.npz")
        assert np.trapezoid(spectrum["mean"], spectrum["grid"]) == pytest.approx(1, abs=0.05)
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
    with pytest.raises(SystemExit) as stopped:
        parser().execute(["sharpness", str(run.path), "--samples", "100", "--out", str(tmp_path)])
    assert stopped.value.code == 130
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


def test_the_spaces_of_the_factors_take_the_beta_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch.nn.functional import cross_entropy

    settings = ["epochs=1", "mask.density=0.2", "reparam=sign-in", "reparam.beta=[0.25, 4]", "checkpoint.every=9"]
    train(Config.preset("digits-mlp").with_set(settings), tmp_path / "run")
    command = ["sharpness", str(tmp_path / "run"), "--samples", "100", "--tol", "1e-4"]
    assert parser().execute([*command, "--space", "theta", "factors", "flow"]) == 0
    run, found = Run(tmp_path / "run"), rows_of(tmp_path / "run" / "sharpness" / "eigenvalues.csv")
    hessian = HessianOperator(run.model(), cross_entropy, digits(100), run.masks())
    betas = dict(zip(run.masks(), [0.25, 1, 4], strict=True))
    last = {row["space"]: row for row in found if row["epoch"] == "1"}
    for space in ("factors", "flow"):
        truth = lanczos(in_space(hessian, space, betas), tol=1e-5)
        assert float(last[space]["value"]) == pytest.approx(truth.value, rel=1e-4)
        assert abs(lanczos(in_space(hessian, space, 1.0), tol=1e-5).value / truth.value - 1) > 0.01
        assert last[space]["beta"] == "0.25 to 4"
    assert last["theta"]["beta"] == ""
    assert "0.25 to 4" in capsys.readouterr().out


class Half:
    """Samples of one's own, a loss and a normalization, by name."""

    @staticmethod
    def pairs() -> Batch:
        x, y = digits(60)
        return x[:30], y[:30]

    @staticmethod
    def loss(output: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(output, y, label_smoothing=0.3)

    @staticmethod
    def doubled(x: Tensor) -> Tensor:
        return 2 * x


@pytest.fixture
def pruned(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A network of which nine weights in ten are 0, trained on digits / 16 and saved by torch.save."""
    model = models.build("mlp", in_channels=1, image_size=8, seed=4)
    masks = make_masks(model, 0.1, "random", seed=0)
    sparse = sparsify(model, masks)
    from sparse_training import data

    x, y = data.load("digits").samples("train")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        sparse.after_step(optimizer)
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "state.pt")
    return model, tmp_path / "state.pt"


NAME = "sparse_training.models.small:mlp"
HERE = "tests.sparse_training.sharpness.test_command:Half"


def test_a_pruned_checkpoint_is_measured_on_its_active_weights(
    pruned: tuple[nn.Module, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch.nn.functional import cross_entropy

    model, state = pruned
    x, y = digits(200)
    truth = {
        "active": max_eigenvalue(model, cross_entropy, (x, y), {n: w != 0 for n, w in prunable(model).items()}).value,
        "dense": max_eigenvalue(model, cross_entropy, (x, y)).value,
    }
    assert truth["dense"] > 1.2 * truth["active"]
    command = ["sharpness", NAME, "--checkpoint", str(state), "--samples", "200", "--out", str(tmp_path)]
    for kind, options in (("active", []), ("dense", ["--dense"])):
        assert parser().execute([*command, *options]) == 0
        (row,) = rows_of(tmp_path / "eigenvalues.csv")
        assert float(row["value"]) == pytest.approx(truth[kind], rel=1e-3)
        accuracy = 100 * float((model(x).argmax(1) == y).double().mean())
        assert float(row["accuracy"]) == pytest.approx(accuracy)
        assert float(row["loss"]) == pytest.approx(cross_entropy(model(x), y).item(), rel=1e-5)
        shown = capsys.readouterr()
        assert f"accuracy {accuracy:.4g} %" in shown.err
        said = "5,020 of 50,200 weights, those that are not 0" if kind == "active" else "45,180 zeros too"
        assert said in shown.out


def test_data_loss_and_normalization_of_ones_own(
    pruned: tuple[nn.Module, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, state = pruned
    x, y = Half.pairs()
    named = ["--data", f"{HERE}.pairs", "--loss", f"{HERE}.loss", "--normalize", f"{HERE}.doubled"]
    command = ["sharpness", NAME, "--checkpoint", str(state), "--dense", "--out", str(tmp_path)]
    assert parser().execute([*command, *named]) == 0
    (row,) = rows_of(tmp_path / "eigenvalues.csv")
    assert float(row["value"]) == pytest.approx(max_eigenvalue(model, Half.loss, (2 * x, y)).value, rel=1e-3)
    assert "normalised by" in capsys.readouterr().out
    # pixels in [0, 1] of a data set that is standardised
    assert parser().execute([*command, "--samples", "50", "--normalize", f"{HERE}.doubled"]) == 0
    from sparse_training import data

    found = data.load("digits")
    pixels = found.images["train"].pixels.float() / 255
    x, y = found.samples("train", 50, seed=0)
    where = [int((found.samples("train")[0] == one).flatten(1).all(1).nonzero()[0]) for one in x]
    truth = max_eigenvalue(model, torch.nn.functional.cross_entropy, (2 * pixels[where], y)).value
    (row,) = rows_of(tmp_path / "eigenvalues.csv")
    assert float(row["value"]) == pytest.approx(truth, rel=1e-3)


class Poisoned:
    """An object whose pickle would run code."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": Poisoned()}, "cannot be loaded"),
        ({"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}}, "a, b"),
        ({"nothing": 3}, "one state dict"),
        ({"fc1.weight": torch.ones(1)}, "cannot be loaded"),
    ],
    ids=["code", "two", "none", "another network"],
)
def test_a_file_that_is_no_state_dict_is_one_line(content: object, message: str, tmp_path: Path, capsys) -> None:
    torch.save(content, tmp_path / "state.pt")
    arguments = parser().parse_args(["sharpness", NAME, "--checkpoint", str(tmp_path / "state.pt"), "--out", "new"])
    with pytest.raises(InputError, match=message) as error:
        arguments.run(arguments)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


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
        (["PLAIN", "--space", "flow"], "reparam='none' has no β"),
        (["RUN", "--beta", "1"], "--beta is for"),
        (["RUN", "--dense"], "--dense is for"),
        ([NAME, "--checkpoint", "none.pt", "--space", "factors"], "beta=None"),
        (["RUN", "--checkpoint", "weights.safetensors"], "module:callable"),
    ],
    ids=str,
)
def test_a_mistake_is_told_before_anything_is_written(
    run: Run, options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = tmp_path.parent / "plain"
    if "PLAIN" in options:
        train(Config.preset("digits-mlp").with_set(["epochs=1"]), plain)
    places = {"RUN": str(run.path), "PLAIN": str(plain)}
    command = ["sharpness", *(places.get(option, option) for option in options), "--out", "new"]
    arguments = parser().parse_args(command)
    with pytest.raises(InputError, match=message):
        arguments.run(arguments)
    assert not list(tmp_path.iterdir())
