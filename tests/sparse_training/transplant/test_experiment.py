"""Transplants of real runs on digits: exact starts, resumed cell by cell, and a report with the paper's rows."""

import dataclasses
import importlib.util
import shutil
import sys

import pytest
import torch

from commons import InputError
from commons.verdicts import Verdict
from sparse_training.__main__ import parser
from sparse_training.runs.checkpoint import load_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import train
from sparse_training.transplant import Cell, paper_cells, sources
from sparse_training.transplant.experiment import repeated, run_cells, train_cell, train_source, write_start
from sparse_training.transplant.plan import check_plan
from sparse_training.transplant.report import paper_table, statements_of
from sparse_training.transplant.sources import cell_folder, given, planned, start_file
from sparse_training.transplant.verdict import BASELINE, compare_starts

AGREES, DISAGREES, NOT_RESOLVED = Verdict.AGREES, Verdict.DISAGREES, Verdict.NOT_RESOLVED
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
    folder = cell_folder(source, cell, tmp_path)
    start, run, learned = load_network(start_file(folder)), Run(folder), Run(source.folder)
    assert run.config.method.name == "static"
    assert run.masks(0) == run.masks() == start.masks
    assert run.masks().active == learned.masks().active
    assert (cell.mask == "learned") == (run.masks() == learned.masks())
    assert all(torch.equal(value, run.network(0).state[name]) for name, value in start.state.items())
    assert row["accuracy"] == run.summary["test_accuracy"]


def test_a_transplant_of_everything_begins_where_the_source_ended(source, tmp_path):
    cell = Cell(signs="final", magnitudes="learned", rest="learned")
    train_cell(source, cell, tmp_path)
    begun, ended = Run(cell_folder(source, cell, tmp_path)).network(0), Run(source.folder).network()
    for name, mask in ended.masks.items():
        same = begun.state[name] == ended.state[name]
        assert bool(same[~mask | (ended.state[name] != 0)].all())
    assert torch.equal(begun.state["fc1.bias"], ended.state["fc1.bias"])


def test_signs_of_another_run(source, tmp_path):
    train(configured("seed=9", "mask.density=1"), tmp_path / "other")
    cell = Cell(signs=f"run:{tmp_path / 'other'}")
    train_cell(source, cell, tmp_path)
    begun, other = Run(cell_folder(source, cell, tmp_path)).network(0), Run(tmp_path / "other").weights()
    for name, mask in begun.masks.items():
        assert torch.equal(torch.sign(begun.state[name]), torch.sign(other[name]) * mask)


def test_what_is_finished_is_not_trained_again_and_what_is_lost_comes_back(source, tmp_path):
    cell = Cell()
    first = train_cell(source, cell, tmp_path)
    folder = cell_folder(source, cell, tmp_path)
    written = (folder / "summary.json").stat().st_mtime_ns
    assert train_cell(source, cell, tmp_path) == first
    assert (folder / "summary.json").stat().st_mtime_ns == written
    shutil.copytree(tmp_path, tmp_path / "moved")
    assert train_cell(source, cell, tmp_path / "moved") == first
    shutil.rmtree(folder)
    assert train_cell(source, cell, tmp_path) == first


def test_given_runs_must_be_finished_and_alike(source, tmp_path):
    with pytest.raises(InputError, match="the folder of a run"):
        given([tmp_path])
    train(configured("method=rigl", "method.every=3", "seed=5"), tmp_path / "alike")
    assert [(s.label, s.seed) for s in given([source.folder, tmp_path / "alike"])] == [("rigl", 4), ("rigl", 5)]
    train(configured("method=rigl", "method.every=2", "seed=6"), tmp_path / "other")
    shutil.copytree(source.folder, tmp_path / "copy")
    for second in ("other", "copy"):
        with pytest.raises(InputError, match="with another seed"):
            given([source.folder, tmp_path / second])
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


def rows_of(cells, source="acdc", **same):
    labels = [BASELINE, *(cell.label for cell in cells)]
    return [
        {"source": source, "start": start, "seed": seed, "accuracy": 90.0 + seed, "same_as": same.get(start, "")}
        for start in labels
        for seed in (0, 1)
    ]


def test_statements_are_told_by_the_cells_that_speak_of_them():
    cells = paper_cells((10,))
    found = statements_of(rows_of(cells), cells, 1.0)
    assert [statement.verdict for statement in found] == [AGREES, DISAGREES, AGREES, NOT_RESOLVED]
    learned_rest = [dataclasses.replace(cell, rest="learned") for cell in cells]
    assert not statements_of(rows_of(learned_rest), learned_rest, 1.0)


def test_a_cell_is_of_its_source_alone(source, tmp_path):
    (other,) = planned("rigl", configured("method=rigl", "method.every=3", "optimizer.lr=0.02"), [4], tmp_path)
    assert train_source(other)["accuracy"] != Run(source.folder).summary["test_accuracy"]
    cell = Cell(signs="final", magnitudes="learned", rest="learned")
    for own in (source, other):
        row = train_cell(own, cell, tmp_path / "cells")
        begun = Run(cell_folder(own, cell, tmp_path / "cells"))
        assert torch.equal(begun.network(0).state["fc1.bias"], Run(own.folder).network().state["fc1.bias"])
        assert row["accuracy"] == begun.summary["test_accuracy"]
    assert cell_folder(source, cell, tmp_path) != cell_folder(other, cell, tmp_path)


def test_a_cell_is_of_its_sources_network(source, tmp_path, monkeypatch):
    first = cell_folder(source, Cell(), tmp_path)
    assert cell_folder(source, Cell(label="another label"), tmp_path) == first
    monkeypatch.setattr(sources, "network_digest", lambda network: "another network of the same configuration")
    assert cell_folder(source, Cell(), tmp_path) != first


def test_a_start_of_another_origin_is_not_believed(source, tmp_path):
    cell = Cell()
    folder = cell_folder(source, cell, tmp_path)
    folder.parent.mkdir(parents=True)
    for content in (b"", None):
        if content is None:
            write_start(Cell(signs="random"), Run(source.folder), start_file(folder), address="another")
        else:
            start_file(folder).write_bytes(content)
        train_cell(source, cell, tmp_path)
        assert load_network(start_file(folder)).info["address"] != "another"
        final, mask = Run(source.folder).weights(), Run(source.folder).masks()
        for name, weight in Run(folder).weights(0).items():
            known = mask[name] & (final[name] != 0)
            assert torch.equal(torch.sign(weight)[known], torch.sign(final[name])[known])
        shutil.rmtree(folder)


def test_names_that_look_alike_are_apart(source, tmp_path):
    places = set()
    for name, seed in (("o-1", 7), ("o_1", 8)):
        train(configured(f"seed={seed}", "epochs=1"), tmp_path / name)
        places.add(cell_folder(source, Cell(signs=f"run:{tmp_path / name}"), tmp_path))
    assert len(places) == 2
    places = {s.folder for d in (0.1, 0.2) for s in planned("a", configured(f"mask.density={d}"), [0, 1], tmp_path)}
    assert len(places) == 4


def test_early_signs_need_no_saved_network(tmp_path):
    (sparing,) = planned("rigl", configured("method=rigl", "checkpoint.every=10", "epochs=3"), [4], tmp_path / "a")
    (saving,) = planned("rigl", configured("method=rigl", "checkpoint.every=1", "epochs=3"), [4], tmp_path / "b")
    train_source(sparing)
    train_source(saving)
    assert Run(sparing.folder).epochs == [0, 3]
    for epoch in (1, 2):
        cell = Cell(signs=f"epoch:{epoch}")
        check_plan([sparing], [cell], tmp_path)
        train_cell(sparing, cell, tmp_path)
        start = Run(cell_folder(sparing, cell, tmp_path)).weights(0)
        write_start(cell, Run(saving.folder), tmp_path / "start.safetensors")
        expected = load_network(tmp_path / "start.safetensors").weights()
        assert all(torch.equal(start[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([Cell(signs="epoch:3")], "epoch of signs=3 is not an epoch that rigl"),
        ([Cell(), Cell()], "given once"),
        ([Cell(label="baseline")], "cell='baseline' is not given once"),
        ([Cell(signs="run:{tmp}/unfinished")], "a finished run"),
        ([Cell(signs="run:{tmp}/nothing")], "the folder of a run"),
        ([Cell(signs="run:{tmp}/cnn")], "a run of the network mlp"),
    ],
)
def test_what_would_end_a_cell_is_refused_before_any_work(cells, message, tmp_path):
    train(configured("model=cnn", "epochs=1"), tmp_path / "cnn")
    shutil.copytree(tmp_path / "cnn", tmp_path / "unfinished")
    (tmp_path / "unfinished" / "summary.json").unlink()
    cells = [dataclasses.replace(cell, signs=cell.signs.format(tmp=tmp_path)) for cell in cells]
    sources = planned("rigl", configured("method=rigl"), [4], tmp_path / "out")
    with pytest.raises(InputError, match=message):
        run_cells(sources, cells, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("config.toml"))


def test_a_full_disk_a_missing_package_and_missing_data_are_told_before_any_work(tmp_path, monkeypatch):
    def refused(*settings):
        with pytest.raises(InputError) as told:
            run_cells(planned("rigl", configured("method=rigl", *settings), [4], tmp_path), [Cell()], tmp_path)
        assert not list(tmp_path.rglob("config.toml"))
        return str(told.value)

    assert "engine.device='cuda:77'" in refused("engine.device=cuda:77")
    assert "an existing folder" in refused("data.name=cifar10", f"data.root={tmp_path / 'absent'}")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 1000))
    assert "a disk with room" in refused()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "the extra [tensorboard]" in refused("tensorboard=true")


def test_starts_that_differ_in_few_signs_are_one_experiment(source, tmp_path):
    cells = [
        Cell(signs="perturbed:0", label="all"),
        Cell(signs="perturbed:0.004", label="few"),
        Cell(signs="perturbed:0.2", label="many"),
        Cell(label="final"),
        Cell(magnitudes="learned", label="other magnitudes"),
    ]
    for cell in cells:
        train_cell(source, cell, tmp_path)
    assert repeated([source], cells, tmp_path) == {"all": "final", "few": "final"}


@pytest.mark.slow
def test_the_command_trains_reports_and_goes_on(tmp_path, monkeypatch, capsys):
    arguments = ["transplant", "--method", "acdc", "--seeds", "2", "--set", "epochs=2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["sparse_training", *arguments])
    assert parser().execute([*arguments, "--cell", "signs=final"]) == 0
    once = capsys.readouterr().out
    (cell,) = (tmp_path / "out" / "acdc" / "seed-1").glob("learned-final-*/")
    shutil.rmtree(cell)
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
