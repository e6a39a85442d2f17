import os
import resource
import socket
from pathlib import Path

import pytest

from commons import InputError
from commons.files import (
    append_line,
    complete_lines,
    output_directory,
    output_file,
    read_json,
    read_jsonl,
    read_text,
    write_csv,
    write_text,
    write_whole,
)


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


@pytest.mark.parametrize("kind", ["a folder", "a link", "a pipe", "a socket"])
def test_only_a_regular_file_is_written_to_or_replaced(tmp_path: Path, kind: str) -> None:
    path, outside = tmp_path / "out.txt", tmp_path / "outside.txt"
    outside.write_text("mine")
    if kind == "a folder":
        path.mkdir()
    elif kind == "a link":
        path.symlink_to(outside)
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    before = path.lstat()
    for write in (write_text, append_line):
        with pytest.raises(InputError, match=f"out.txt.* is {kind}"):
            write(path, "text")
    with pytest.raises(InputError, match=kind):
        output_file("out", path)
    assert path.lstat() == before
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_honoured(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "")
        append_line(tmp_path / "b", "")
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in "ab"} == {0o666 & ~umask}


def test_what_a_killed_writer_left_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"

    def killed(temporary: Path) -> None:
        temporary.write_text("half")
        os._exit(9)

    def living(temporary: Path) -> None:
        temporary.write_text("first")
        write_text(path, "second")
        assert temporary.read_text() == "first"

    for _ in range(2):
        child = os.fork()
        if not child:
            write_whole(path, killed)
        os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1  # the second removed what the first left
    write_whole(path, living)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_without_room_is_told_with_the_file_s_name_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_text(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("folder", "is a folder"),
        ("pipe", "is a pipe"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b"{", "Expecting"),
        (b"[]", "list where an object"),
    ],
)
def test_a_reader_says_in_one_line_what_is_wrong(tmp_path: Path, content: object, told: str) -> None:
    path = tmp_path / "in\x1b.json"
    if content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        read_json(path)
    assert str(caught.value).isprintable()
    if isinstance(content, bytes):
        path.write_bytes(b'{"a": 1}\n' + content + b'\n{"cut": ')
        with pytest.raises(InputError, match="line 2"):
            read_jsonl(path)


def test_a_null_byte_in_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="null"):
        read_text("a\0b")
    with pytest.raises(InputError, match="null"):
        output_directory("out", "a\0b")
