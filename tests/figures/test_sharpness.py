"""Pictures of what the `sharpness` command wrote."""

import csv
from pathlib import Path

import numpy as np
import pytest

from commons import InputError
from figures.__main__ import main
from figures.sharpness import figure_of
from figures.style import paper_style


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def eigenvalues(path: Path, scale: float) -> Path:
    row = {"quantity": "λ_max", "space": "theta", "converged": True}
    rows = [{"epoch": epoch, "value": scale * (epoch + 1), **row} for epoch in range(4)]
    return table(path, [*rows, {**rows[-1], "quantity": "trace"}, {**rows[-1], "epoch": 4, "converged": False}])


def test_runs_are_lines_against_epochs_and_unconverged_values_are_open(tmp_path: Path) -> None:
    files = [
        eigenvalues(tmp_path / name / "sharpness" / "eigenvalues.csv", scale) for name, scale in (("a", 1), ("b", 2))
    ]
    with paper_style():
        axes = figure_of(files).axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
        first, missed = axes.lines[:2]
        assert list(first.get_xdata()) == [0, 1, 2, 3, 4]
        assert list(first.get_ydata()) == [1, 2, 3, 4, 4]
        assert list(missed.get_xdata()) == [4]
        assert axes.get_ylim()[0] == 0


def test_the_line_and_the_density_are_drawn_as_they_are(tmp_path: Path) -> None:
    t = np.linspace(-1, 1, 5)
    rows = [{"t": x, "loss": x**2 + x**3, "parabola": x**2} for x in t]
    np.savez(tmp_path / "density.npz", grid=t, mean=t + 2, low=t + 1, high=t + 3)
    with paper_style():
        loss, parabola = figure_of([table(tmp_path / "line.csv", rows)]).axes[0].lines[:2]
        assert np.allclose(loss.get_ydata() - parabola.get_ydata(), t**3)
        assert np.array_equal(figure_of([tmp_path / "density.npz"]).axes[0].lines[0].get_ydata(), t + 2)


def test_the_command_writes_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sharpness", str(eigenvalues(tmp_path / "run-eigenvalues.csv", 1.0))]) == 0
    written = [str(tmp_path / f"run-eigenvalues{ending}") for ending in (".png", ".pdf", ".svg", "-drawn.csv")]
    assert capsys.readouterr().out == f"wrote {', '.join(written)}\n"


def test_files_that_are_no_such_thing_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_text("")
    other = table(tmp_path / "other.csv", [{"a": 1}])
    for files in ([tmp_path / "absent.csv"], [tmp_path / "broken.npz"], [other], [other, other]):
        with pytest.raises(InputError, match=files[-1].name):
            figure_of(files)
