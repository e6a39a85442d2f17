from pathlib import Path

import pytest

from commons import InputError
from commons.files import append_line, complete_lines, output_directory, write_csv, write_text, write_whole


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.txt"
    write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert complete_lines(path) == []
    append_line(path, "one")
    append_line(path, "two")
    with path.open("a") as file:
        file.write("thr")
    assert complete_lines(path) == ["one", "two"]


def test_csv_has_the_header_of_its_first_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"layer": "fc, 1", "flips": 2}, {"layer": "b", "flips": 0}])
    assert (tmp_path / "t.csv").read_text().splitlines() == ["layer,flips", '"fc, 1",2', "b,0"]


def test_an_output_folder_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match=r"--out=.* cannot be written to") as caught:
        output_directory("--out", tmp_path / "x")
    assert "\n" not in str(caught.value)
