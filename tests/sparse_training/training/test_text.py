"""Runs on text give bits per byte, keep what they read, go on bit for bit, and may pass a batch in pieces."""

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commons import InputError
from sparse_training.masks import Masks
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import PreemptedError, train
from sparse_training.training.passes import Passes

SMALL = ("data.crops=24", "data.test_crops=8", "data.context=16", "batch_size=8", "epochs=2", "checkpoint.every=1")
MATRICES = {"q", "k", "v", "o", "up", "down"}


def configured(*settings: str) -> Config:
    return Config.preset("text-gpt").with_set([*SMALL, "engine.device=cpu", "engine.threads=1", *settings])


def test_a_run_says_bits_per_byte_and_what_it_read(tmp_path: Path) -> None:
    config = configured("mask.density=0.1", "reparam=sign-in")
    summary = train(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    for line in (*run.metrics(), run.summary):
        assert line["bits_per_byte"] == pytest.approx(line["test_loss"] / math.log(2))
    assert summary.bits_per_byte == run.summary["bits_per_byte"] < 8
    assert {name.split(".")[-2] for name in run.masks()} == MATRICES
    assert json.loads((tmp_path / "run" / "data.json").read_text()) == config.data.load().record
    tokens = torch.arange(16).view(1, 16)
    assert run.model()(tokens).shape == (1, 16, 256)


@pytest.mark.parametrize(
    "settings", [("reparam=sign-in",), ("method=rigl", "method.every=2", "optimizer.clock=weight")]
)
def test_a_run_goes_on_bit_for_bit(settings: tuple[str, ...], goes_on: Callable[..., bool]) -> None:
    assert goes_on(configured("mask.density=0.1", *settings), 1)


def test_a_run_does_not_go_on_with_other_text(tmp_path: Path) -> None:
    lines = [f"line {index} of a text\n" for index in range(500)]
    (tmp_path / "text").write_text("".join(lines))
    config = configured("data.name=text", f"data.root={tmp_path / 'text'}")

    def change(metrics: object) -> None:
        (tmp_path / "text").write_text("".join(reversed(lines)))
        raise PreemptedError

    with pytest.raises(PreemptedError):
        train(config, tmp_path / "run", progress=change)
    with pytest.raises(InputError, match=r"its data\.json is another"):
        train(config, tmp_path / "run")


def test_pieces_of_a_batch_add_up_to_its_gradients() -> None:
    from sparse_training import models

    x, y = configured().data.load().samples("train", 8)
    found = []
    for pieces in (1, 3, 8):
        model = models.build("gpt")
        passes = Passes(model, configured(f"engine.accumulate={pieces}"), torch.device("cpu"), 8)
        result = passes(x, y)
        found.append((result, [parameter.grad for parameter in model.parameters()]))
    (whole, gradients), *others = found
    for result, own in others:
        assert int(result.correct) == int(whole.correct)
        torch.testing.assert_close(result.loss, whole.loss)
        torch.testing.assert_close(own, gradients, rtol=1e-4, atol=1e-7)


def test_matrices_alone_decay_and_the_head_is_masked_on_request(tmp_path: Path) -> None:
    from sparse_training import models
    from sparse_training.reparam import sparsify

    config = configured()
    model = models.build("gpt")
    sparse = sparsify(model, Masks({"head.weight": torch.ones(256, 128, dtype=torch.bool)}))
    groups = sparse.parameter_groups(config.optimizer.weight_decay, vectors=config.optimizer.vectors)
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert all((decays[id(p)] > 0) == (p.ndim > 1) for p in model.parameters())
    train(configured("mask.density=0.1", 'mask.include=["*"]', "epochs=1"), tmp_path / "run")
    assert "head.weight" in Run(tmp_path / "run").masks()


@pytest.mark.parametrize("model", ["gpt", "gpt_tied"])
def test_embedding_and_head_are_masked_on_request_tied_or_not(model: str, tmp_path: Path) -> None:
    settings = (f"model={model}", 'mask.include=["*", "embedding.weight"]', "mask.density=0.3", "reparam=sign-in")
    train(configured(*settings, "epochs=1"), tmp_path / "run")
    run = Run(tmp_path / "run")
    masks, network = run.masks(), run.model()
    assert ("embedding.weight" in masks, "head.weight" in masks) == (True, model == "gpt")
    assert not bool(network.get_parameter("embedding.weight")[~masks["embedding.weight"]].any())
    tied = network.get_parameter("head.weight") is network.get_parameter("embedding.weight")
    assert tied == (model == "gpt_tied")


def test_a_preset_on_python_text_takes_a_text_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sparse_training.__main__ import parser

    (tmp_path / "text").write_text("".join(f"line {index} of a text\n" for index in range(500)))
    arguments = ["train", "--preset", "text-gpt", "--data", str(tmp_path / "text"), "--out", str(tmp_path / "run")]
    assert parser().execute([*arguments, "--set", *SMALL, "epochs=1", "engine.device=cpu"]) == 0
    assert "bits per byte" in capsys.readouterr().out
    assert Run(tmp_path / "run").config.data.name == "text"


def test_a_sample_is_kept_with_what_wrote_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sparse_training.__main__ import parser

    train(configured("mask.density=0.1", "reparam=sign-in"), tmp_path / "run")
    file, run = tmp_path / "sample.json", Run(tmp_path / "run")
    arguments = ["sample", str(run.path), "--bytes", "12", "--prompt", "x = ", "--seed", "3", "--out", str(file)]
    assert parser().execute(arguments) == 0
    kept = json.loads(file.read_text())
    assert capsys.readouterr().out == f"{kept['text']}\nwrote {file}\n"
    assert kept["text"].startswith("x = ")
    assert kept["bits_per_byte"] == run.summary["bits_per_byte"]
    assert kept["network"] == "density 0.1, sign-in, epoch 2 of 2, seed 0"
    again = kept["command"].replace("RUN", str(run.path)).split(" ", 3)[3]
    assert parser().execute(shlex.split(again)) == 0
    assert capsys.readouterr().out == f"{kept['text']}\n"
    assert str(tmp_path) not in file.read_text()
    first = ["sample", str(run.path), "--epoch", "1", "--bytes", "1", "--out", str(file)]
    assert parser().execute(first) == 0
    assert json.loads(file.read_text())["bits_per_byte"] == run.metrics()[0]["bits_per_byte"]


def test_only_a_transformer_on_bytes_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sparse_training.__main__ import parser

    train(Config.preset("digits-mlp").with_set(["epochs=1", "engine.device=cpu"]), tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        parser().execute(["sample", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "is not a run of a transformer on bytes" in capsys.readouterr().err
