"""The folder of a reproduction: what the marker lists is replaced, and nothing else, nor through a link."""

import json
from pathlib import Path

import pytest

from commons import InputError
from figures.folder import MARKER, Folder
from figures.reproduce import FILES

SETTINGS = {"device": "cpu", "seeds": 3, "grid": 16}
RUN = ("config.toml", "history.json", "signs.bin", "checkpoints/epoch-0001.safetensors", "sharpness/largest.json")


def content(path: Path) -> dict[str, str]:
    return {p.relative_to(path).as_posix(): p.read_text() for p in path.rglob("*") if p.is_file()}


def write(path: Path, *names: str) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("content")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    folder = Folder(out, SETTINGS)
    folder.add(FILES, [out / "runs" / "a"])
    write(out, *FILES, "runs/a.start.safetensors", *(f"runs/a/{name}" for name in RUN))
    (out / "summary.json").write_text("{}")
    return out


def test_a_finished_run_is_replaced_by_force_alone(finished: Path) -> None:
    before = content(finished)
    with pytest.raises(InputError, match="pass --force"):
        Folder(finished, SETTINGS)
    assert content(finished) == before
    Folder(finished, {**SETTINGS, "seeds": 4}, force=True)
    assert set(content(finished)) == {MARKER}
    assert [path.name for path in finished.iterdir()] == [MARKER]
    Folder(finished, {**SETTINGS, "seeds": 4})
    with pytest.raises(InputError, match="unfinished run with"):
        Folder(finished, SETTINGS)


def test_a_run_that_ended_before_it_wrote_anything_is_replaced(tmp_path: Path) -> None:
    Folder(tmp_path, SETTINGS)
    Folder(tmp_path, {**SETTINGS, "seeds": 4}, force=True)
    assert json.loads((tmp_path / MARKER).read_text())["settings"]["seeds"] == 4


def test_foreign_files_stay(finished: Path) -> None:
    foreign = ["thesis.tex", "tables/mine.csv", "figures/claims.png", "runs/mine/config.toml", "runs/a/notes.md"]
    foreign += ["runs/a/checkpoints/mine.safetensors", "runs/a/sharpness/eigenvalues.csv", "phase/own.npz"]
    write(finished, *foreign)
    Folder(finished, SETTINGS, force=True)
    assert set(content(finished)) == {MARKER, *foreign}


@pytest.mark.parametrize("place", ["tables", "runs/a", "runs/a/checkpoints", "runs", "proofs.txt"])
def test_nothing_is_deleted_through_a_link(place: str, finished: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (finished / place).rename(outside)
    (finished / place).symlink_to(outside)
    before = content(tmp_path / "outside") if outside.is_dir() else outside.read_text()
    Folder(finished, SETTINGS, force=True)
    assert (content(outside) if outside.is_dir() else outside.read_text()) == before
    assert (finished / place).is_symlink()
    assert not (finished / "report.html").exists()


def test_nothing_outside_is_deleted_whatever_the_marker_lists(finished: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, "config.toml", "thesis.tex")
    marker = json.loads((finished / MARKER).read_text())
    marker["files"] += ["../outside/thesis.tex", str(outside / "thesis.tex"), "."]
    marker["runs"] += ["../outside", str(outside), "."]
    (finished / MARKER).write_text(json.dumps(marker))
    link = tmp_path / "link"
    link.symlink_to(finished)
    with pytest.raises(InputError, match="is a link"):
        Folder(link, SETTINGS, force=True)
    Folder(finished, SETTINGS, force=True)
    assert set(content(outside)) == {"config.toml", "thesis.tex"}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", [MARKER, "summary.json"])
@pytest.mark.parametrize("damage", ["", "{", "[]", "\xff", '{"editor.fontSize": 12}', '{"files": [1], "runs": []}'])
def test_a_damaged_or_foreign_marker_is_one_line_and_loses_nothing(
    force: bool, name: str, damage: str, tmp_path: Path
) -> None:
    write(tmp_path, "thesis.tex")
    (tmp_path / name).write_bytes(damage.encode("latin-1"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError) as told:
        Folder(tmp_path, SETTINGS, force)
    assert "\n" not in str(told.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_of_an_earlier_version_is_taken_up_but_never_emptied(tmp_path: Path) -> None:
    write(tmp_path, "proofs.txt")
    (tmp_path / MARKER).write_text(json.dumps(SETTINGS))
    with pytest.raises(InputError, match="earlier version"):
        Folder(tmp_path, SETTINGS, force=True)
    Folder(tmp_path, SETTINGS)
    assert set(content(tmp_path)) == {MARKER, "proofs.txt"}
