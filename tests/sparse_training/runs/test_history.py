"""A run's folder is checked against its history: what is missing, cut or edited is named, and old folders are read."""

import json
import shutil
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
from fixtures.stopping import StopError, stop_after

from commons import InputError
from commons.files import OldForm
from dynamics import PhaseDiagram
from sparse_training.__main__ import parser
from sparse_training.masks import Masks
from sparse_training.runs.checkpoint import load_network
from sparse_training.runs.config import Config
from sparse_training.runs.folder import DamagedCheckpoint
from sparse_training.runs.history import TOTALS
from sparse_training.runs.run import Run
from sparse_training.signs import SignHistory
from sparse_training.signs.of_run import history_of
from sparse_training.training.loop import Summary, train

OLD = Path(__file__).parents[2] / "fixtures" / "before-digests"


def configured(*settings: str) -> Config:
    return Config.preset("digits-mlp").with_set(["epochs=4", "engine.device=cpu", "mask.density=0.1", *settings])


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of four epochs, stopped after the third."""
    path = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(StopError):
        train(configured(), path, progress=stop_after(3))
    return path


@pytest.fixture(scope="module")
def finished(begun, tmp_path_factory):
    """The same run, finished."""
    path = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(begun, path)
    train(configured(), path)
    return path


def edit(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


FILES = ["metrics.jsonl", "signs.bin", "config.toml", "environment.json", "history.json"]


@pytest.mark.parametrize("how", ["missing", "cut", "edited"])
@pytest.mark.parametrize("name", [*FILES, "checkpoints/epoch-0002.safetensors"])
def test_a_run_whose_folder_was_changed_is_not_gone_on_with(begun, tmp_path, name, how):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    edit(folder / name, how)
    if name == "history.json" and how == "missing":  # as good as a folder from before there were histories
        with pytest.warns(OldForm, match="without a history"):
            train(configured(), folder)
        return
    if name.startswith("checkpoints") and how == "edited":  # its bytes are checked when it is read
        train(configured(), folder)
        with pytest.raises(InputError, match=r"epoch-0002.*is damaged"):
            Run(folder).network(2)
        return
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=name.rpartition("/")[2]) as refusal:
        train(configured(), folder)
    assert "\n" not in str(refusal.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_epoch_that_was_edited_is_named(begun, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1].replace('"epoch": 2', '"epoch": 3') + lines[2])
    with pytest.raises(InputError, match=r"metrics\.jsonl.* up to epoch 2"):
        Run(folder).metrics()


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "config.toml", "environment.json", "signs.bin"])
@pytest.mark.parametrize("how", ["cut", "edited"])
def test_a_reader_names_what_was_changed(finished, tmp_path, name, how):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    edit(folder / name, how)
    read = {
        "metrics.jsonl": Run.metrics,
        "summary.json": lambda run: run.summary,
        "config.toml": lambda run: run.config,
        "environment.json": lambda run: run.environment,
        "signs.bin": lambda run: history_of(run.path),
    }
    with pytest.raises(InputError, match=name):
        read[name](Run(folder))


def test_a_finished_run_without_its_summary_is_not_begun_anew(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json' is missing"):
        train(configured(), folder)


def test_a_run_whose_states_are_gone_says_that_it_begins_anew(begun, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    for state in (folder / "checkpoints").glob("state-*"):
        state.unlink()
    with pytest.warns(DamagedCheckpoint, match="begins anew"):
        train(configured(), folder)


def test_a_kill_between_history_and_summary_harms_nothing(begun, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    history = json.loads((finished / "history.json").read_text())
    for name in ("metrics.jsonl", "signs.bin", "checkpoints/epoch-0004.safetensors", "history.json"):
        shutil.copy(finished / name, folder / name)
    assert "summary.json" in history["files"]
    assert train(configured(), folder).test_loss == Run(finished).summary["test_loss"]


def test_train_touches_nothing_in_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "epoch-0009.safetensors").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for folder in (tmp_path, tmp_path / "thesis"):
        with pytest.raises(InputError, match="the folder of a run"):
            train(configured(), folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_out_of_the_folder_is_not_written_through(begun, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in (".lock", "metrics.jsonl"):
        folder = tmp_path / f"run-{name}"
        shutil.copytree(begun, folder)
        (folder / name).unlink()
        (folder / name).symlink_to(mine)
        with pytest.raises(InputError, match=name):
            train(configured(), folder)
        assert mine.read_text() == "mine"


def test_totals_are_what_every_summary_has():
    assert {field.name for field in fields(Summary) if field.default is MISSING} == set(TOTALS)


def old_run(tmp_path: Path) -> Path:
    shutil.copytree(OLD / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.filterwarnings("default::commons.files.OldForm")
def test_a_run_from_before_digests_is_read(tmp_path, capsys):
    run = Run(old_run(tmp_path))
    assert (run.config.model, run.config.epochs, run.epochs) == ("cnn", 2, [0, 2])
    assert run.summary["test_accuracy"] == run.metrics()[-1]["test_accuracy"]
    with pytest.warns(OldForm, match="old form without digests"):
        run.network(2)
    with pytest.warns(OldForm, match="old form"):
        assert SignHistory(run.signs_file).epochs == [0, 1, 2]
    with pytest.warns(OldForm):
        assert run.model()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.warns(OldForm, match="without a history"):
        again = train(run.config, run.path)
    assert again.test_loss == run.summary["test_loss"]
    for command in (["signs", str(run.path)], ["sharpness", str(run.path), "--samples", "100"]):
        assert parser().execute(command) == 0
        out, err = capsys.readouterr()
        assert "epoch" in out
        assert sum("old form" in line for line in err.splitlines()) >= 1
        assert err.count("without digests") <= 1  # one line for the folder, however many networks it holds


def test_masks_and_a_diagram_from_before_digests_are_read():
    with pytest.warns(OldForm, match="masks file"):
        masks = Masks.load(OLD / "masks.safetensors")
    assert 0 < masks.density < 1
    with pytest.warns(OldForm):
        assert PhaseDiagram.load(OLD / "phase.npz").outcome.size


def test_an_unfinished_run_from_before_histories_goes_on(begun, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    (folder / "history.json").unlink()
    with pytest.warns(OldForm, match="without a history"):
        train(configured(), folder)
    a, b = load_network(folder / "checkpoints/epoch-0004.safetensors"), Run(finished).network()
    assert all(torch.equal(a.state[name], b.state[name]) for name in a.state)
