"""Kept results are drawn by name, with what is drawn as CSV; `plot` draws every result object; tables as LaTeX."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from commons import InputError
from dynamics import Outcome, gradient_descent, integrate, phase_diagram
from dynamics.sweeps import step
from figures import plot
from figures.__main__ import main
from figures.drawing import FIGURES
from figures.drawn import drawn_data
from figures.plotting import DRAWN
from figures.stored import STORED
from figures.style import paper_style
from figures.tables import booktabs, read_table
from figures.theorems import flows_of
from sparse_training.sharpness.density import SpectralDensity
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.signs import SignTracker, flip_table
from theory import HAM, Power, SignIn, Standard, margin

RESULTS = Path(__file__).parents[2] / "results"


def test_list_names_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert all(f"| {name} " in told for name in (*STORED, "theorems", "phase", "sweep", "transplant"))


def test_a_kept_result_is_drawn_by_its_name_with_the_same_bytes_every_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert main(["accuracy", "--results", str(RESULTS), "--out", str(tmp_path / folder / "a.svg")]) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["a-drawn.csv", "a.pdf", "a.png", "a.svg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    rows = read_table(tmp_path / "one" / "a-drawn.csv", ("panel", "series"), ("x", "y"))
    ours = [(float(row["x"]), float(row["y"])) for row in rows if row["series"] == "plain" and row["y"]]
    assert ours == [(80.0, 97.465), (90.0, 97.014), (95.0, 95.493)]


@pytest.mark.parametrize("name", [name for name in STORED if all((RESULTS / f).is_file() for f in STORED[name].files)])
def test_every_kept_figure_is_drawn(name: str) -> None:
    with paper_style():
        assert drawn_data(STORED[name].draw(STORED[name].found(RESULTS)))


def test_a_theorem_is_drawn_for_betas_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["theorems", "5.2", "--beta-a", "2", "--beta-w", "0.5", "--grid", "8", "--out", str(tmp_path / "t.pdf")]
    assert main(asked) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"t.png", "t.pdf", "t.svg", "t-drawn.csv"}
    curve = [
        (float(row["x"]), float(row["y"]))
        for row in read_table(tmp_path / "t-drawn.csv", ("series",))
        if row["series"] == "exact separatrix"
    ]
    assert len(curve) > 100
    assert np.abs(margin(*np.transpose(curve), SignIn(2.0, 0.5))).max() < 1e-12
    assert [flow.label for flow in flows_of("5.4", 2.0, 0.5, 0.7)] == [SignIn(2.0, 0.5).label, Power(0.7).label]
    assert flows_of() == [Standard(), SignIn(1.0, 0.25), SignIn(1.0, 1.0), SignIn(0.25, 1.0)]
    with pytest.raises(SystemExit):
        main(["theorems", "5.3"])
    assert "did you mean 5.4?" in capsys.readouterr().err


def test_an_absent_result_is_named_with_what_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["flips-mlp", "--results", str(tmp_path)])
    told = capsys.readouterr().err
    assert "reproduce/tables/flips.csv" in told
    assert "figures reproduce" in told


def test_what_is_drawn_is_read_off_lines_intervals_bars_and_images() -> None:
    with paper_style():
        figure, (first, second) = plt.subplots(1, 2)
        first.plot([1, 2], [3, 4], label="line")
        first.errorbar([5], [6], [0.5], label="mean", capsize=2)
        first.fill_between([0, 1], [1, 2], [3, 5]).set_label("band")
        second.barh([0, 1], [7, 8], label="bars")
        second.imshow(np.arange(4).reshape(2, 2), extent=(0, 2, 0, 2), origin="lower")
        second.set_title("(b) second")
        rows = drawn_data(figure)
    points = [tuple(row.values())[1:] for row in rows if row["panel"] == "1"]
    assert points == [
        ("line", 1, 3, None, None, None),
        ("line", 2, 4, None, None, None),
        ("mean", 5, 6, None, None, None),
        ("mean", 5.0, None, 5.5, 6.5, None),
        ("band", 0.0, None, 1.0, 3.0, None),
        ("band", 1.0, None, 2.0, 5.0, None),
    ]
    second_panel = [row for row in rows if row["panel"] == "2: (b) second"]
    assert [row["value"] for row in second_panel] == [7, 8, 0, 1, 2, 3]
    assert (second_panel[-1]["x"], second_panel[-1]["y"]) == (1.5, 1.5)


def test_every_result_object_is_drawn_into_the_axes_given(tmp_path: Path) -> None:
    network = torch.nn.Linear(4, 3)
    tracker = SignTracker(network, tmp_path / "signs.bin")
    tracker.record(0)
    with torch.no_grad():
        network.weight[0] *= -1
    tracker.record(1)
    grid = np.linspace(-1, 1, 5)
    density = SpectralDensity(grid, grid + 2, grid + 1, grid + 3, grid[None], grid[None], 0.1, 0.99, 5, 9)
    starts = np.linspace(-2, 2, 9)
    results = {
        "PhaseDiagram": phase_diagram(SignIn(1.0, 0.25), grid=8),
        "Flow": HAM(2.0, 1.0),
        "Sweep": step(grid=3, starts=2, steps=20),
        "Trajectories": integrate(SignIn(), starts, starts[::-1] + 0.3),
        "Descent": gradient_descent(starts, starts + 1, lr=0.1, steps=9),
        "SignTracker": tracker,
        "SignHistory": tracker.history,
        "FlipTable": flip_table(tracker.history),
        "SpectralDensity": density,
        "Eigenpair": Eigenpair(2.0, torch.ones(5), 0.1, 0.1, 3, 6.0, True, "told"),
    }
    assert {name.split(":")[1] for name in DRAWN} == {*results, "Run"}
    with paper_style():
        for result in results.values():
            axes = plt.subplots()[1]
            assert plot(result, axes) is axes
            assert axes.has_data()
        lines = plot(tracker).lines
        assert list(lines[0].get_ydata()) == pytest.approx([0, 100 / 3])
        again = plot(str(tmp_path / "signs.bin")).lines
        assert [list(line.get_ydata()) for line in again] == [list(line.get_ydata()) for line in lines]
        panels = FIGURES["signs"]([tmp_path / "signs.bin"]).axes
        assert list(panels[0].lines[0].get_ydata()) == pytest.approx([0, 100 / 3])
        for name in ("PhaseDiagram", "Sweep"):
            results[name].save(tmp_path / "kept.npz")
            assert plot(tmp_path / "kept.npz").get_title(loc="left") == plot(results[name]).get_title(loc="left")
        ends = plot(results["Trajectories"])
        shares = {Outcome(k).name.lower(): (results["Trajectories"].outcome == k).mean() for k in Outcome}
        for text in ends.get_legend().get_texts():
            name, share = text.get_text().split(": ")
            assert share == f"{shares[name]:.1%}"
    with pytest.raises(InputError, match="PhaseDiagram"):
        plot(3)
    with pytest.raises(InputError, match="absent"):
        plot(tmp_path / "absent.bin")


def test_a_table_in_latex_escapes_and_aligns() -> None:
    text = booktabs([{"claim": "50 % of a_b & c", "n": 3}, {"claim": "β₁ → ±", "n": None}, {"claim": "a-b", "n": -1}])
    assert r"\begin{tabular}{lr}" in text
    assert r"50 \% of a\_b \& c & 3 \\" in text
    assert r"$\beta$$_1$ $\to$ $\pm$ & -- \\" in text
    assert "a-b & $-$1" in text
    assert text.count("rule") == 3
