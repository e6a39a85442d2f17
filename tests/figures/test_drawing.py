from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

import theory
from dynamics import Outcome, PhaseDiagram, phase_diagram
from figures.__main__ import main
from figures.cli import main as everything
from figures.drawing import FIGURES
from figures.phase_diagrams import COLOURS, phase_figure
from figures.signs import flips_figure
from figures.speeds import speeds_figure
from figures.style import ARMS, paper_style, save_figure, styles
from figures.tables import read_table
from figures.transplant import transplant_figure
from sparse_training import __main__ as training
from sparse_training.runs.config import Config
from sparse_training.sweeps.job import perform
from sparse_training.training.loop import train
from sparse_training.transplant import Cell
from sparse_training.transplant.experiment import run_cells
from sparse_training.transplant.plan import sweep_of
from sparse_training.transplant.report import write_report
from sparse_training.transplant.sources import given


@pytest.fixture(scope="module")
def diagram() -> PhaseDiagram:
    return phase_diagram(theory.SignIn(1.0, 0.25), grid=16)


def test_the_phase_diagram_shows_each_outcome_where_it_is(diagram: PhaseDiagram) -> None:
    with paper_style():
        axes = phase_figure(diagram).axes[0]
        picture = np.asarray(axes.images[0].get_array())  # (w, a), lowest w first
        colours = axes.images[0].get_cmap()(np.arange(len(Outcome)))
    assert np.array_equal(picture.T, diagram.outcome)
    assert [to_hex(colour, keep_alpha=True) for colour in colours] == [COLOURS[kind].lower() for kind in Outcome]
    curve = next(line for line in axes.lines if line.get_color() == "black" and len(line.get_xdata()) > 100)
    margin = theory.margin(curve.get_xdata(), curve.get_ydata(), theory.SignIn(1.0, 0.25))
    assert np.abs(margin).max() < 1e-12


def test_figures_are_whole_at_column_width_and_the_same_every_time(diagram: PhaseDiagram, tmp_path: Path) -> None:
    with paper_style():
        first = save_figure(phase_figure(diagram), tmp_path / "first")
        second = save_figure(phase_figure(diagram), tmp_path / "second")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert [path.suffix for path in first] == [".png", ".pdf", ".svg"]
    assert first[1].read_bytes().startswith(b"%PDF")
    assert b"<text" in first[2].read_bytes()
    with Image.open(first[0]) as image:
        assert image.width == pytest.approx(85 / 25.4 * 300, abs=2)


def test_flips_are_drawn_in_percent_with_layers_in_order() -> None:
    rows = [
        {"arm": arm, "seed": seed, "epoch": epoch, "layer": layer, "since_init": 0.1 * epoch, "since_previous": 0.1}
        for arm in ("random", "sign-in")
        for seed in (0, 1)
        for epoch in (1, 2)
        for layer in ("conv1.weight", "fc.weight", "total")
    ]
    with paper_style():
        left, middle, right = flips_figure(rows).axes
        assert [list(line.get_ydata()) for line in left.lines[:2]] == [[10, 20]] * 2
        assert list(middle.lines[0].get_ydata()) == [10, 10]
        assert [label.get_text() for label in right.get_xticklabels()] == ["conv1", "fc"]


def test_the_source_of_a_transplant_is_the_line_of_reference() -> None:
    rows = [
        {"source": source, "start": start, "accuracy": value}
        for source in ("acdc", "rigl")
        for start, value in (("baseline", 90.0), ("baseline", 92.0), ("other", 80.0))
    ]
    with paper_style():
        figure = transplant_figure(rows)
        for axes in figure.axes[::2]:
            assert [label.get_text() for label in axes.get_yticklabels()] == ["baseline", "other"]
            assert any(list(line.get_xdata()) == [91.0, 91.0] for line in axes.lines)


def test_starts_that_are_the_same_run_are_one_line_and_differences_are_paired() -> None:
    rows = [
        {"source": "acdc", "start": start, "accuracy": value}
        for start, values in (
            ("baseline", (90.0, 92.0)),
            ("signs of epoch 3 + learned mask", (91.0, 93.0)),
            ("final signs + learned mask", (91.0, 93.0)),
            ("random init + learned mask", (80.0, 83.0)),
        )
        for value in values
    ]
    with paper_style():
        left, right = transplant_figure(rows).axes
        names = [label.get_text() for label in left.get_yticklabels()]
        means = {line.get_label(): line for line in right.lines}
        told = means["published, ResNet-50 on ImageNet"]
    assert names[1] == "signs of epoch 3 + learned mask =\nfinal signs + learned mask"
    differences = [bars.lines[0].get_xdata()[0] for bars in right.containers]
    assert differences == pytest.approx([1.0, -9.5])
    assert list(told.get_xdata()) == pytest.approx([74.88 - 74.68, 70.6 - 74.68])  # the last name of a line counts
    assert list(told.get_ydata()) == pytest.approx([1.2, 2.2])


def test_unknown_arms_have_styles_of_their_own() -> None:
    names = ["sign-in", *(f"arm {k}" for k in range(40)), "random", "dense"]
    found = styles(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert (found["sign-in"], found["dense"]) == (ARMS["sign-in"], ARMS["dense"])
    assert len(styles(str(k) for k in range(1000))) == 1000


def test_what_signs_and_transplant_write_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config.preset("digits-mlp").with_set(["epochs=2", "batch_size=512", "mask.density=0.1"])
    for name in ("mine_seed_0", "mine_seed_1", "other"):
        train(config.with_set([f"seed={len(name)}"]), tmp_path / name)
        assert training.parser().execute(["signs", str(tmp_path / name)]) == 0
    files = [tmp_path / name / "signs.csv" for name in ("mine_seed_0", "mine_seed_1", "other")]
    with paper_style():
        left, middle, right = FIGURES["signs"](files).axes
        assert [text.get_text() for text in middle.get_legend().get_texts()] == ["mine", "other"]
        assert left.get_ylim() == right.get_ylim()
        assert list(left.lines[0].get_xdata()) == [0, 1, 2]
        shares = [100 * float(row["since_init"]) for row in read_table(files[2]) if row["layer"] == "total"]
        assert list(left.lines[1].get_ydata()) == pytest.approx(shares)
        assert [label.get_text() for label in right.get_xticklabels()] == ["fc1", "fc2", "fc3"]
    assert main(["signs", *map(str, files), "--out", str(tmp_path / "signs.v2")]) == 0
    assert (tmp_path / "signs.v2.png").exists()

    cells = [Cell(label="final signs")]
    sources = given([tmp_path / "other"])
    for job in sweep_of(sources, cells, tmp_path / "cells").jobs:
        perform(job)
    rows = run_cells(sources, cells, tmp_path / "cells")
    write_report(rows, cells, 1.0, "command", tmp_path / "report")
    assert main(["transplant", str(tmp_path / "report.csv")]) == 0
    assert str(tmp_path / "report.png") in capsys.readouterr().out


OWN = """
def mine(files):
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots()
    axes.set_title(files[0].read_text())
    return figure
"""


def test_anyones_figure_is_drawn_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_figures.py").write_text(OWN)
    (tmp_path / "data.txt").write_text("a title")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["my_figures:mine", str(tmp_path / "data.txt"), "--out", str(tmp_path / "one.png")]) == 0
    assert (tmp_path / "one.png").exists()
    assert (tmp_path / "one.pdf").exists()
    assert everything(["figures", "my_figures:mine", str(tmp_path / "data.txt"), "--out", str(tmp_path / "two")]) == 0
    assert (tmp_path / "two.png").exists()
    FIGURES.register("mine", FIGURES.find("figure", "my_figures:mine"))
    try:
        assert main(["mine", str(tmp_path / "data.txt")]) == 0
    finally:
        del FIGURES["mine"]
    assert (tmp_path / "data.png").exists()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_reads_and_refuses_another_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (FIGURES[name].__doc__ or "").split("\n")[0].endswith(".")
    contents = {
        "none.csv": "", "head.csv": "layer,epoch\n", "text.csv": "layer,epoch,since_init,since_previous\na,x,0,0\n",
        "other.csv": "a,b\n1,2\n", "report.csv": "source,start,seed,accuracy\na,b,0,nan\n", "bad.npz": "x",
        "eigenvalues.csv": "epoch,quantity,space,value,converged\n0,λ_max,theta,much,True\n",
    }  # fmt: skip
    for file, content in contents.items():
        (tmp_path / file).write_text(content)
        with pytest.raises(SystemExit) as ended:
            main([name, str(tmp_path / file)])
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == set(contents)


def test_speeds_are_drawn_by_layer_with_their_quantiles() -> None:
    line = {
        "mean": 1.5,
        "low": 1.0,
        "median": 1.4,
        "high": 2.0,
        "beta": 0.5,
        "strength": 4.0,
        "above": 0.25,
        "decay": 1e-4,
    }
    plain = {**line, "beta": None, "strength": 0.0, "above": None}
    with paper_style():
        figure = speeds_figure([{"epoch": epoch, "speeds": {"a": line, "b": plain}} for epoch in (1, 2)])
    speed, above, beta, decay = figure.axes
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1, 2]
    assert list(above.lines[0].get_ydata()) == [25.0, 25.0]
    bounds = speed.collections[0].get_paths()[0].get_extents()
    assert (bounds.y0, bounds.y1) == (1.0, 2.0)
    assert (beta.get_ylabel(), decay.get_ylabel()) == ("β", "λ / speed")
