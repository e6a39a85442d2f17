from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import theory
from dynamics import Outcome, PhaseDiagram, phase_diagram
from figures.phase_diagrams import COLOURS, phase_figure
from figures.signs import flips_figure
from figures.style import paper_style, save_figure
from figures.transplant import transplant_figure


@pytest.fixture(scope="module")
def diagram() -> PhaseDiagram:
    return phase_diagram(theory.SignIn(1.0, 0.25), grid=16)


def test_the_phase_diagram_shows_each_outcome_where_it_is(diagram: PhaseDiagram) -> None:
    with paper_style():
        axes = phase_figure(diagram).axes[0]
        picture = np.asarray(axes.images[0].get_array())  # (w, a, RGB), lowest w first
    recovered = np.array([int(COLOURS[Outcome.RECOVERED][i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert np.array_equal(np.all(np.isclose(picture, recovered), axis=-1).T, diagram.outcome == Outcome.RECOVERED)
    curve = next(line for line in axes.lines if line.get_color() == "black" and len(line.get_xdata()) > 100)
    margin = theory.margin(curve.get_xdata(), curve.get_ydata(), theory.SignIn(1.0, 0.25))
    assert np.abs(margin).max() < 1e-12


def test_figures_are_whole_at_column_width_and_the_same_every_time(diagram: PhaseDiagram, tmp_path: Path) -> None:
    with paper_style():
        first = save_figure(phase_figure(diagram), tmp_path / "first")
        second = save_figure(phase_figure(diagram), tmp_path / "second")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert first[1].read_bytes().startswith(b"%PDF")
    with Image.open(first[0]) as image:
        assert image.width == pytest.approx(3.4 * 300, abs=2)


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
    rows = [{"start": s, "test accuracy (%)": v} for s, v in (("source", 90.0), ("source", 92.0), ("other", 80.0))]
    with paper_style():
        axes = transplant_figure(rows).axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["source", "other"]
        assert any(list(line.get_xdata()) == [91.0, 91.0] for line in axes.lines)
