"""Transplants of real runs on digits: exact starts, resumed cell by cell, and a report with the paper's rows."""

import dataclasses
import shutil
import sys

import pytest
import torch

from commons import InputError
from sparse_training.__main__ import parser
from sparse_training.runs.checkpoint import load_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import train
from sparse_training.transplant import Cell, paper_cells
from sparse_training.transplant.experiment import given, planned, train_cell, train_source
from sparse_training.transplant.report import paper_table, statements_of
from sparse_training.transplant.verdict import BASELINE, compare_starts

SMALL = ["epochs=2", "batch_size=256", "engine.threads=1", "mask.density=0.1"]


def configured(*settings):
    return Config.preset("digits-mlp").with_set([*SMALL, *settings])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("transplant")
    (source,) = planned("rigl", configured("method=rigl", "method.every=3"), [4], out)
    train_source(source)
    return source


@pytest.mark.parametrize(
    "text",
    [
        "signs=epoch:1",
        "signs=final,magnitudes=learned,rest=learned",
        "signs=random,magnitudes=constant",
        "mask=shuffled,signs=perturbed:0.2",
        "mask=snip,signs=init,magnitudes=init",
        "mask=random:uniform",
    ],
)
def test_a_cell_begins_from_its_start_and_keeps_its_mask(text, source, tmp_path):
    cell = Cell.parse(text)
    row = train_cell(source, cell, tmp_path)
    folder = tmp_path / "rigl" / "seed-4"
    start, run, learned = (
        load_network(folder / f"{cell.slug}.start.safetensors"),
        Run(folder / cell.slug),
        Run(source.folder),
    )
    assert run.config.method.name == "static"
    assert run.masks(0) == run.masks() == start.masks
    assert run.masks().active == learned.masks().active
    assert (cell.mask == "learned") == (run.masks() == learned.masks())
    assert all(torch.equal(value, run.network(0).state[name]) for name, value in start.state.items())
    assert row["accuracy"] == run.summary["test_accuracy"]


def test_a_transplant_of_everything_begins_where_the_source_ended(source, tmp_path):
    cell = Cell(signs="final", magnitudes="learned", rest="learned")
    train_cell(source, cell, tmp_path)
    begun, ended = Run(tmp_path / "rigl" / "seed-4" / cell.slug).network(0), Run(source.folder).network()
    for name, mask in ended.masks.items():
        same = begun.state[name] == ended.state[name]
        assert bool(same[~mask | (ended.state[name] != 0)].all())
    assert torch.equal(begun.state["fc1.bias"], ended.state["fc1.bias"])


def test_signs_of_another_run(source, tmp_path):
    train(configured("seed=9", "mask.density=1"), tmp_path / "other")
    cell = Cell(signs=f"run:{tmp_path / 'other'}")
    train_cell(source, cell, tmp_path)
    begun, other = Run(tmp_path / "rigl" / "seed-4" / cell.slug).network(0), Run(tmp_path / "other").weights()
    for name, mask in begun.masks.items():
        assert torch.equal(torch.sign(begun.state[name]), torch.sign(other[name]) * mask)


def test_what_is_finished_is_not_trained_again_and_what_is_lost_comes_back(source, tmp_path):
    cell = Cell()
    first = train_cell(source, cell, tmp_path)
    folder = tmp_path / "rigl" / "seed-4" / cell.slug
    written = (folder / "summary.json").stat().st_mtime_ns
    assert train_cell(source, cell, tmp_path) == first
    assert (folder / "summary.json").stat().st_mtime_ns == written
    shutil.rmtree(folder)
    assert train_cell(source, cell, tmp_path) == first


def test_given_runs_must_be_finished_and_alike(source, tmp_path):
    with pytest.raises(InputError, match="the folder of a run"):
        given([tmp_path])
    train(configured("method=rigl", "method.every=3", "seed=5"), tmp_path / "alike")
    assert [(s.label, s.seed) for s in given([source.folder, tmp_path / "alike"])] == [("rigl", 4), ("rigl", 5)]
    train(configured("method=rigl", "method.every=2", "seed=6"), tmp_path / "other")
    with pytest.raises(InputError, match="with another seed"):
        given([source.folder, tmp_path / "other"])
    (tmp_path / "alike" / "summary.json").unlink()
    with pytest.raises(InputError, match="a finished run"):
        given([tmp_path / "alike"])


def test_the_rows_are_those_of_the_papers_table():
    cells = paper_cells((10, 30))
    accuracies = {start: {0: 90.0, 1: 91.0} for start in (BASELINE, *(cell.label for cell in cells))}
    table = paper_table({"acdc": compare_starts(accuracies, "acdc", 1.0)})
    assert [row["start of the sparse run"] for row in table] == [
        "baseline",
        "signs of epoch 10 + learned mask",
        "signs of epoch 30 + learned mask",
        "final signs + learned mask",
        "final magnitudes + learned mask (random signs)",
        "random init + learned mask",
    ]


def test_statements_are_told_by_the_cells_that_speak_of_them():
    cells = paper_cells((10,))
    accuracies = {start: {0: 90.0, 1: 91.0} for start in (BASELINE, *(cell.label for cell in cells))}
    found = statements_of({"acdc": compare_starts(accuracies, "acdc", 1.0)}, cells)
    assert [statement.verdict for statement in found] == ["holds", "fails", "holds from epoch 10 on"]
    learned_rest = [dataclasses.replace(cell, rest="learned") for cell in cells]
    assert not statements_of({"acdc": compare_starts(accuracies, "acdc", 1.0)}, learned_rest)


@pytest.mark.slow
def test_the_command_trains_reports_and_goes_on(tmp_path, monkeypatch, capsys):
    arguments = ["transplant", "--method", "acdc", "--seeds", "2", "--set", "epochs=2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["sparse_training", *arguments])
    assert parser().execute([*arguments, "--cell", "signs=final"]) == 0
    once = capsys.readouterr().out
    shutil.rmtree(tmp_path / "out" / "acdc" / "seed-1" / Cell().slug)
    assert parser().execute([*arguments, "--cell", "signs=final"]) == 0
    assert capsys.readouterr().out == once == (tmp_path / "out" / "report.md").read_text()
    assert len((tmp_path / "out" / "report.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "acdx"], "did you mean acdc"),
        (["--method", "rigl:method.evry=3"], "did you mean every"),
        (["--method", "acdc", "--cell", "signs=last"], "signs='last'"),
        (["--method", "acdc", "--seeds", "0"], "seeds=0"),
        (["--source", "nowhere"], "the folder of a run"),
        ([], "required"),
    ],
)
def test_mistakes_get_one_line(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        parser().execute(["transplant", *arguments, "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    assert message in error
