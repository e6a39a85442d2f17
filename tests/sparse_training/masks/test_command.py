"""`masks` prints the counts by layer and writes the file; a mistake ends in one line with status 2."""

import pytest

from commons.cli import Parser
from sparse_training import models
from sparse_training.commands.masks import register
from sparse_training.masks import Masks


@pytest.fixture
def execute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        parser = Parser(prog="program")
        register(parser.add_subparsers())
        return parser.execute(["masks", *arguments])

    return run


def test_the_table_and_the_file_agree(execute, tmp_path, capsys):
    assert execute("--model", "resnet20", "--score", "synflow", "--density", "0.05", "--out", "pruned.safetensors") == 0
    masks = Masks.load(tmp_path / "pruned.safetensors")
    masks.check(models.build("resnet20"))
    assert masks.active == round(0.05 * 270_896)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    for layer in masks.layers():
        shape = "×".join(map(str, layer.shape))
        assert [layer.name, shape, str(layer.active), str(layer.total), f"{100 * layer.density:.4g}"] in rows
    assert ["prunable weights", "–", "13545", "270896", "5"] in rows
    assert ["all parameters", "–", "15123", "272474", "5.55"] in rows


def test_a_batch_comes_from_the_data_set(execute, tmp_path, capsys):
    options = ["--model", "cnn", "--data", "digits", "--density", "0.3", "--distribution", "erk", "--exclude", "fc"]
    for score in ("snip", "grasp"):
        execute(*options, "--score", score)
        masks = Masks.load(tmp_path / "masks.safetensors")
        assert list(masks) == ["conv1.weight", "conv2.weight", "conv3.weight"]
        assert masks["conv1.weight"].shape == (16, 1, 3, 3)
    assert "fc.weight" not in capsys.readouterr().out


def test_an_emptied_layer_is_named_on_stderr(execute, capsys):
    execute("--model", "cnn", "--score", "magnitude", "--density", "0.001")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: no active weight is left in ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "resnet2", "--density", "0.1"], "did you mean resnet20"),
        (["--model", "cnn", "--density", "10"], "did you mean 0.1"),
        (["--model", "cnn", "--density", "0.1", "--score", "snop"], "did you mean snip"),
        (["--model", "cnn", "--density", "0.1", "--score", "snip"], "--data"),
        (["--model", "cnn", "--density", "0.1", "--data", "cifar10"], "root=None"),
        (["--model", "cnn", "--density", "0.1", "--denisty", "1"], "--density"),
    ],
)
def test_mistakes_end_in_one_line(options, words, execute, capsys):
    with pytest.raises(SystemExit) as end:
        execute(*options)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
