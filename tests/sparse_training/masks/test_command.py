"""`masks` prints the counts by layer and writes the file; a mistake ends in one line with status 2."""

import pytest

from commons.cli import Parser
from sparse_training import models
from sparse_training.commands.masks import register
from sparse_training.masks import SCORES, Criterion, Masks, score_and_distribution


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


@pytest.mark.parametrize(("needs", "line"), [("batch", "needs a batch: name a data set with --data"), ("nothing", "")])
def test_the_command_gives_a_score_what_it_says_it_needs(needs, line, execute, monkeypatch, capsys):
    def own(setting):
        if needs == "batch":
            assert setting.batch[0].std() > 0
        return {name: weight.detach().abs() for name, weight in setting.weights.items()}

    monkeypatch.setitem(SCORES, "own", Criterion(own, needs=needs))
    options = ["--model", "mlp", "--density", "0.1", "--score", "own"]
    assert execute(*options, "--data", "digits") == 0
    if line:
        with pytest.raises(SystemExit):
            execute(*options)
        assert line in capsys.readouterr().err
    else:
        assert execute(*options) == 0


def test_a_score_and_a_distribution_from_outside_are_named_on_the_command_line(execute, tmp_path, monkeypatch):
    (tmp_path / "outside_scores.py").write_text(
        "from sparse_training.masks import by_layer\n"
        "def smallest(setting):\n"
        "    return {name: -weight.detach().abs() for name, weight in setting.weights.items()}\n"
        "widest = by_layer(lambda shape: shape[1])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--model", "mlp", "--density", "0.1"]
    execute(*options, "--score", "outside_scores:smallest", "--distribution", "outside_scores:widest")
    masks = Masks.load(tmp_path / "masks.safetensors")
    assert masks.active == round(0.1 * masks.total)
    weight = models.build("mlp").get_parameter("fc1.weight").abs()
    assert weight[masks["fc1.weight"]].max() < weight[~masks["fc1.weight"]].min()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("snip", ("snip", "")),
        ("snip:erk", ("snip", "erk")),
        ("random:2:4", ("random", "2:4")),
        ("mine:score", ("mine:score", "")),
        ("mine:score:uniform", ("mine:score", "uniform")),
        ("mine:score:2:4", ("mine:score", "2:4")),
        ("mine:score:mine:share", ("mine:score", "mine:share")),
        ("snip:mine:share", ("snip", "mine:share")),
        ("snop:erk", ("snop", "erk")),
    ],
)
def test_a_score_and_its_distribution_are_told_apart(text, parts):
    assert score_and_distribution(text) == parts


def test_a_name_that_cannot_be_written_is_told_before_anything_is_computed(execute, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "build", lambda *_, **__: pytest.fail("a network was built first"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as end:
        execute("--model", "cnn", "--density", "0.1", "--out", "folder")
    assert end.value.code == 2
    assert "'folder' is a folder: only a regular file is written to" in capsys.readouterr().err
