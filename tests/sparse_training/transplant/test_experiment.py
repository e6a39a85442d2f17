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
from sparse_training.sweeps.job import Ending, perform
from sparse_training.training.loop import train
from sparse_training.transplant import Cell, paper_cells
from sparse_training.transplant.experiment import run_cells
from sparse_training.transplant.origin import start_file, write_start
from sparse_training.transplant.plan import check_plan, sweep_of
from sparse_training.transplant.report import paper_table, statements_of
from sparse_training.transplant.sources import given, planned
from sparse_training.transplant.verdict import BASELINE, compare_starts

AGREES, DISAGREES, NOT_RESOLVED = Verdict.AGREES, Verdict.DISAGREES, Verdict.NOT_RESOLVED
SMALL = ["epochs=2", "batch_size=256", "engine.threads=1", "mask.density=0.1"]


def configured(*settings):
    return Config.preset("digits-mlp").with_set([*SMALL, *settings])


@pytest.fixture(scope="module")
def run_of_source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transplant") / "source"
    train(configured("method=rigl", "method.every=3", "seed=4"), folder)
    return Run(folder)


@pytest.fixture
def source(run_of_source):
    (source,) = given([run_of_source.path])
    return source


def made(source, cells, out, seeds=()):
    """The runs of the cells, made in this process; then their rows, by start, and folders."""
    sweep = sweep_of([source], cells, out, seeds)
    for job in sweep.jobs:
        assert perform(job) == (Ending.DONE, "")
    rows = run_cells([source], cells, out, seeds=seeds, workers=1)
    return {row["start"]: row for row in rows}, {job.arm: job.folder for job in sweep.jobs}


def one(source, cell, out):
    """The row and the folder of one cell."""
    rows, folders = made(source, [cell], out)
    return rows[cell.label], folders[cell.label]


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
def test_a_cell_begins_from_its_start_and_keeps_its_mask(text, source, run_of_source, tmp_path):
    cell = Cell.parse(text)
    assert Cell.parse(cell.text) == cell
    row, folder = one(source, cell, tmp_path)
    start, run = load_network(start_file(folder)), Run(folder)
    assert run.config.method.name == "static"
    assert run.masks(0) == run.masks() == start.masks
    assert run.masks().active == run_of_source.masks().active
    assert (cell.mask == "learned") == (run.masks() == run_of_source.masks())
    assert all(torch.equal(value, run.network(0).state[name]) for name, value in start.state.items())
    assert row["accuracy"] == run.summary["test_accuracy"]


def test_a_transplant_of_everything_begins_where_the_source_ended(source, run_of_source, tmp_path):
    _, folder = one(source, Cell(signs="final", magnitudes="learned", rest="learned"), tmp_path)
    begun, ended = Run(folder).network(0), run_of_source.network()
    for name, mask in ended.masks.items():
        same = begun.state[name] == ended.state[name]
        assert bool(same[~mask | (ended.state[name] != 0)].all())
    assert torch.equal(begun.state["fc1.bias"], ended.state["fc1.bias"])


def test_signs_of_another_run(source, tmp_path):
    train(configured("seed=9", "mask.density=1"), tmp_path / "other")
    _, folder = one(source, Cell(signs=f"run:{tmp_path / 'other'}"), tmp_path)
    begun, other = Run(folder).network(0), Run(tmp_path / "other").weights()
    for name, mask in begun.masks.items():
        assert torch.equal(torch.sign(begun.state[name]), torch.sign(other[name]) * mask)


def test_what_the_ledger_has_is_not_made_again_and_what_is_lost_comes_back(source, tmp_path):
    cell, out = Cell(), tmp_path / "out"
    first, folder = one(source, cell, out)
    written = (folder / "summary.json").stat().st_mtime_ns
    assert one(source, cell, out)[0] == first
    assert (folder / "summary.json").stat().st_mtime_ns == written
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(out / "ledger.jsonl", tmp_path / "elsewhere")
    row, absent = one(source, cell, tmp_path / "elsewhere")
    assert row == first
    assert not absent.exists()
    shutil.rmtree(folder)
    (out / "ledger.jsonl").unlink()
    assert one(source, cell, out)[0] == first


def test_a_source_to_train_is_the_run_that_is_given_and_so_are_its_cells(run_of_source, source, tmp_path):
    config = configured("method=rigl", "method.every=3")
    cells = [Cell(signs="epoch:1"), Cell(), Cell(signs="random", magnitudes="learned")]
    trained, folders = made(planned("rigl", config), cells, tmp_path / "planned", seeds=[4])
    assert Run(folders[BASELINE]).metrics()[-1]["test_loss"] == run_of_source.metrics()[-1]["test_loss"]
    assert trained == made(source, cells, tmp_path / "given")[0]


def test_given_runs_must_be_finished_and_alike(run_of_source, tmp_path):
    with pytest.raises(InputError, match="the folder of a run"):
        given([tmp_path])
    train(configured("method=rigl", "method.every=3", "seed=5"), tmp_path / "alike")
    (both,) = given([run_of_source.path, tmp_path / "alike"])
    assert (both.point["source"], list(both.given)) == ("rigl", [4, 5])
    train(configured("method=rigl", "method.every=2", "seed=6"), tmp_path / "other")
    shutil.copytree(run_of_source.path, tmp_path / "copy")
    for second in ("other", "copy"):
        with pytest.raises(InputError, match="with another seed"):
            given([run_of_source.path, tmp_path / second])
    (tmp_path / "alike" / "summary.json").unlink()
    with pytest.raises(InputError, match="a finished run"):
        given([tmp_path / "alike"])


def test_sources_of_several_methods_have_their_own_seeds(source, tmp_path):
    train(configured("method=acdc", "seed=7", "epochs=3"), tmp_path / "acdc")
    sweep = sweep_of([source, *given([tmp_path / "acdc"])], [Cell()], tmp_path / "out")
    assert [(job.point["source"], job.seed) for job in sweep.jobs] == [("rigl", 4), ("acdc", 7)]


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
        for seed in range(6)
    ]


def test_statements_are_told_by_the_cells_that_speak_of_them():
    cells = paper_cells((10,))
    found = statements_of(rows_of(cells), cells, 1.0)
    assert [statement.verdict for statement in found] == [AGREES, DISAGREES, AGREES, NOT_RESOLVED]
    learned_rest = [dataclasses.replace(cell, rest="learned") for cell in cells]
    assert not statements_of(rows_of(learned_rest), learned_rest, 1.0)


def test_a_cell_is_of_its_source_alone(source, tmp_path):
    other = planned("rigl", configured("method=rigl", "method.every=3", "optimizer.lr=0.02"))
    cell, out = Cell(signs="final", magnitudes="learned", rest="learned"), tmp_path / "cells"
    rows, folders = made(other, [cell], out, seeds=[4])
    own, folder = one(source, cell, out)
    assert folder != folders[cell.label]
    for place, origin in ((folder, source.given[4]), (folders[cell.label], folders[BASELINE])):
        begun, ended = Run(place).network(0).state, Run(origin).network().state
        assert torch.equal(begun["fc1.bias"], ended["fc1.bias"])
    assert own["accuracy"] == Run(folder).summary["test_accuracy"]
    assert rows[cell.label]["accuracy"] == Run(folders[cell.label]).summary["test_accuracy"]


def test_a_cell_is_of_its_sources_network(source, run_of_source, tmp_path, monkeypatch):
    def place(cell):
        return sweep_of([source], [cell], tmp_path).jobs[0].address

    first = place(Cell())
    assert place(Cell(label="another label")) == first
    assert place(Cell(magnitudes="init")) != first
    network = run_of_source.network()
    network.state["fc1.bias"][0] += 1
    monkeypatch.setattr(Run, "network", lambda run, epoch=-1: network)
    assert place(Cell()) != first


def test_signs_of_a_source_are_not_sought_again_in_its_cells(tmp_path):
    config = configured("sign_init.name=gradient", "sign_init.samples=64")
    jobs = sweep_of([planned("sought", config)], [Cell()], tmp_path, [0]).jobs
    assert ["gradient" in job.toml for job in jobs] == [True, False]


def test_a_start_of_another_origin_is_not_believed(source, run_of_source, tmp_path):
    cell = Cell()
    (job,) = sweep_of([source], [cell], tmp_path).jobs
    job.folder.parent.mkdir(parents=True)
    final, mask = run_of_source.weights(), run_of_source.masks()
    for content in (b"", None):
        if content is None:
            write_start(Cell(signs="random"), run_of_source, start_file(job.folder), address="another")
        else:
            start_file(job.folder).write_bytes(content)
        one(source, cell, tmp_path)
        assert load_network(start_file(job.folder)).info["address"] == job.address
        for name, weight in Run(job.folder).weights(0).items():
            known = mask[name] & (final[name] != 0)
            assert torch.equal(torch.sign(weight)[known], torch.sign(final[name])[known])
        shutil.rmtree(job.folder)
        (tmp_path / "ledger.jsonl").unlink()


def test_early_signs_need_no_saved_network(tmp_path):
    for name, every in (("sparing", 10), ("saving", 1)):
        settings = ["method=rigl", f"checkpoint.every={every}", "epochs=3", "seed=4"]
        train(configured(*settings), tmp_path / name)
    (sparing,), saving = given([tmp_path / "sparing"]), Run(tmp_path / "saving")
    assert Run(tmp_path / "sparing").epochs == [0, 3]
    for epoch in (1, 2):
        cell = Cell(signs=f"epoch:{epoch}")
        check_plan(sweep_of([sparing], [cell], tmp_path))
        start = Run(one(sparing, cell, tmp_path)[1]).weights(0)
        write_start(cell, saving, tmp_path / "start.safetensors")
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
    with pytest.raises(InputError, match=message):
        run_cells([planned("rigl", configured("method=rigl"))], cells, tmp_path / "out", seeds=[4])
    assert not list((tmp_path / "out").rglob("config.toml"))


def test_a_full_disk_a_missing_package_and_missing_data_are_told_before_any_work(tmp_path, monkeypatch):
    def refused(*settings):
        with pytest.raises(InputError) as told:
            run_cells([planned("rigl", configured("method=rigl", *settings))], [Cell()], tmp_path, seeds=[4])
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
    rows, folders = made(source, cells, tmp_path)
    assert {start: row["same_as"] for start, row in rows.items() if row["same_as"]} == {"all": "final", "few": "final"}
    for folder in folders.values():
        start_file(folder).unlink()
    assert made(source, cells, tmp_path)[0] == rows  # the ledger knows


def test_a_cell_that_comes_later_is_compared_with_those_before(source, tmp_path):
    late = Cell(signs="perturbed:0", label="all")
    _, folder = one(source, late, tmp_path)
    written = (folder / "summary.json").stat().st_mtime_ns
    rows, _ = made(source, [late, Cell(label="final")], tmp_path)
    assert rows["all"]["same_as"] == "final"
    assert (folder / "summary.json").stat().st_mtime_ns == written


def test_a_folder_of_an_earlier_version_is_refused_in_one_line(source, tmp_path):
    (tmp_path / "acdc" / "seed-0" / "baseline-0123456789ab").mkdir(parents=True)
    (tmp_path / "acdc" / "seed-0" / "baseline-0123456789ab" / "config.toml").touch()
    with pytest.raises(InputError, match=r"holds 'acdc/seed-0/baseline-0123456789ab', a run of an earlier version"):
        run_cells([source], [Cell()], tmp_path)


def test_a_source_that_diverges_ends_its_cells_in_one_line(tmp_path):
    source = planned("static", configured("epochs=1", "optimizer.lr=1e30"))
    baseline, cell = sweep_of([source], [Cell()], tmp_path, [0]).jobs
    assert perform(cell)[0] is Ending.REFUSED
    assert perform(baseline)[0] is Ending.DONE
    with pytest.raises(InputError, match="baseline, seed 0"):
        run_cells([source], [], tmp_path, seeds=[0])


@pytest.mark.slow
def test_the_command_trains_reports_and_goes_on(tmp_path, monkeypatch, capsys):
    arguments = ["transplant", "--method", "acdc", "--seeds", "2", "--set", "epochs=2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["sparse_training", *arguments])
    assert parser().execute([*arguments, "--cell", "signs=final"]) == 0
    once = capsys.readouterr().out
    lines = (tmp_path / "out" / "ledger.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "ledger.jsonl").write_text("".join(lines[:-1]))
    assert parser().execute([*arguments, "--cell", "signs=final"]) == 0
    table, report = (tmp_path / "out" / f"report.{suffix}" for suffix in ("csv", "md"))
    told = f"wrote {table}, {report}\nnext  python -m figures transplant {table}\n"
    assert capsys.readouterr().out == once == report.read_text() + told
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
