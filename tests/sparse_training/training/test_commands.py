"""The commands train, ablate and export, as a user calls them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparse_training import models
from sparse_training.__main__ import parser
from sparse_training.masks import Masks
from sparse_training.runs.run import Run

SHORT = ["--preset", "digits-mlp", "--density", "0.1", "--device", "cpu", "--epochs", "1"]


def test_a_run_is_trained_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    arguments = [
        "train",
        *SHORT,
        "--mask",
        "snip:erk",
        "--reparam",
        "sign-in",
        "--out",
        out,
        "--set",
        "optimizer.lr=0.2",
    ]
    assert parser().execute(arguments) == 0
    run = Run(out)
    assert run.config.mask.score == "snip"
    assert run.config.mask.distribution == "erk"
    assert run.config.optimizer.lr == 0.2
    assert "test accuracy" in capsys.readouterr().out
    files = [tmp_path / "net.safetensors", tmp_path / "masks.safetensors"]
    assert parser().execute(["export", out, "--out", str(files[0]), "--masks", str(files[1])]) == 0
    model = models.build("mlp", in_channels=1, image_size=8)
    model.load_state_dict(load_file(files[0]))
    assert torch.equal(model.get_parameter("fc2.weight"), run.weights()["fc2.weight"])
    assert Masks.load(files[1]) == run.masks()


def test_options_file_and_set_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('epochs = 1\n[mask]\ndensity = 0.1\n[engine]\ndevice = "cpu"\n')
    texts = []
    for arguments in (SHORT, ["--preset", "digits-mlp", "--config", str(file)]):
        parser().execute(["train", *arguments, "--show", "--out", str(tmp_path)])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "density = 0.1" in texts[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "digits-mpl"], "did you mean digits-mlp?"),
        (["--set", "optimizer.lrr=1"], "did you mean lr?"),
        (["--densty", "0.1"], "did you mean --density?"),
        (["--density", "10%"], "mask.density='10%' is not of type float; did you mean 0.1?"),
        (["--preset", "cifar10-resnet20"], "root"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().execute(["train", *arguments, "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "environment",
    [{"WORLD_SIZE": "abc"}, {"WORLD_SIZE": "-2"}, {"WORLD_SIZE": "2", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "one"}],
)
def test_a_world_that_cannot_be_joined_is_one_line(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        parser().execute(["train", *SHORT, "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"WORLD_SIZE={environment['WORLD_SIZE']!r} is not a " in error
    assert error.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, sparse_training.__main__ as m; m.parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("wrong", [["--model", "mlpp"], ["--mask", "nothing:such"], ["--set", "data.name=digit"]])
def test_a_folder_in_which_nothing_was_trained_takes_another_run(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        parser().execute(["train", *SHORT, *wrong, *out])
    assert parser().execute(["train", *SHORT, *out]) == 0
    with pytest.raises(SystemExit):
        parser().execute(["train", *SHORT, "--seed", "1", *out])
    assert "holds another run: seed is 0 there and 1 here; name another folder" in capsys.readouterr().err


def test_names_of_masks_are_checked_at_any_density(capsys: pytest.CaptureFixture[str]) -> None:
    for setting in ("snipp", "snip:erkk"):
        with pytest.raises(SystemExit):
            parser().execute(["train", "--mask", setting, "--show", "--out", "unused"])
        assert "is not one of" in capsys.readouterr().err
