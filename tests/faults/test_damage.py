"""Damage to every file of a run: it is refused in one line, or told, or changes nothing; and resuming never differs."""

import os
import random
import shutil
import warnings
from pathlib import Path

import pytest
from faults.injection import command, content, files_of, forked, read_same, snapshot, train_in

from commons import InputError

pytestmark = pytest.mark.faults
FLIPS, CUTS = 40, 20


def flipped(path: Path, rng: random.Random) -> int:
    whole = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(whole))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    return bit


def test_bits_flipped_in_a_finished_run(finished, expected, copy, ledger):
    rng, folder = random.Random(0), copy(finished)
    for path in files_of(folder):
        whole = path.read_bytes()
        for _ in range(FLIPS):
            bit = flipped(path, rng)
            ledger.add("bit flip, read", read_same(folder, expected), f"{path.name} bit {bit}")
        path.write_bytes(whole)
    assert content(folder) == expected
    ledger.close()


def test_files_of_a_finished_run_cut_short(finished, expected, copy, ledger):
    rng, folder = random.Random(1), copy(finished)
    for path in files_of(folder):
        whole = path.read_bytes()
        for size in [0, 1, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(CUTS))]:
            path.write_bytes(whole[:size])
            ledger.add("cut short, read", read_same(folder, expected), f"{path.name} at {size}")
        path.write_bytes(whole)
    ledger.close()


DEEP = b"[" * 100_000
HOSTILE = {
    "empty": b"",
    "zeros": b"\0" * 300,
    "not UTF-8": b"\xff\xfe\x00{}",
    "deep JSON": DEEP,
    "deep TOML": b"x = " + DEEP,
    "5000 digits": b'{"epoch": ' + b"9" * 5000 + b"}\n",
    "digits TOML": b"seed = " + b"9" * 5000,
    "list": b"[1, 2]\n",
    "null": b"null\n",
    "wrong types": b'{"epoch": "x", "files": 3, "epochs": [4], "digest": null}\n',
    "escape": b'\x1b]0;owned\x07 = "\x1b[2J"\n',
    "huge header": (1 << 60).to_bytes(8, "little") + b"{}",
    "foreign": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n(S'true'\ntR.",
}


def put(path: Path, how: str, outside: Path) -> None:
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link outside":
        path.symlink_to(outside)
    elif how == "dangling link":
        path.symlink_to(outside.with_name("nowhere"))
    elif how == "link to itself":
        path.symlink_to(path)
    elif how != "missing":
        path.write_bytes(HOSTILE[how])


PLACED = ("folder", "pipe", "link outside", "dangling link", "link to itself", "missing")


@pytest.mark.parametrize("history", [True, False], ids=["checked", "before histories"])
def test_something_else_in_place_of_a_file(finished, expected, copy, ledger, tmp_path, history):
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    names = [path.relative_to(finished) for path in files_of(finished)]
    for how in (*HOSTILE, *PLACED):
        folder = copy(finished)
        if not history:
            (folder / "history.json").unlink()
        for name in names:
            path = folder / name
            kept = path.with_name("kept")
            if not path.exists():
                continue
            shutil.copy(path, kept)
            put(path, how, outside)
            # Without a history a file that is there no more, or is empty, cannot be told from one never written.
            harm = read_same(folder, expected)
            if harm.startswith("differs silently") and not (history and name.name != "history.json"):
                harm = ""
            if how == "missing" and name.name in ("summary.json", *(p.name for p in names if "epoch-" in p.name)):
                harm = "" if harm.startswith("differs silently") else harm  # an unfinished run looks like this
            ledger.add("something else, read", harm, f"{how} for {name}")
            for argv in (["signs", str(folder), "--out", str(tmp_path / "s.csv")],
                         ["export", str(folder), "--out", str(tmp_path / "e.safetensors")]):  # fmt: skip
                ledger.add("something else, command", command(*argv).fault, f"{how} for {name}: {argv[0]}")
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            kept.rename(path)
    assert outside.read_bytes() == b"mine"
    ledger.close()


def resumed(folder: Path, expected) -> str:
    """Go on with a run; empty where it is refused with nothing touched, or ends as expected; else what is wrong."""
    before = snapshot(folder)
    told = forked(train_in(folder))
    if told.fault:
        return told.fault
    if told.status == 2:
        return "" if snapshot(folder) == before else "refused, but the folder was changed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = content(folder)
        except InputError as refusal:  # a part that resuming does not read, told when it is read
            return "" if "is damaged" in str(refusal) else str(refusal)
    differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return f"differs: {differing[0]}" if differing else ""


def test_a_damaged_run_gone_on_with(begun, expected, copy, ledger):
    rng = random.Random(2)
    for name in [path.relative_to(begun) for path in files_of(begun)]:
        for how in ("flip", "flip", "flip", "cut", "cut", "empty", "missing"):
            folder = copy(begun)
            path = folder / name
            where = flipped(path, rng) if how == "flip" else rng.randrange(path.stat().st_size)
            if how in ("cut", "empty"):
                path.write_bytes(path.read_bytes()[: where if how == "cut" else 0])
            elif how == "missing":
                path.unlink()
            ledger.add(f"{how}, go on", resumed(folder, expected), f"{name} at {where}")
    ledger.close()


def test_something_else_in_place_of_a_file_of_a_run_gone_on_with(begun, expected, copy, ledger, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    for name in [*(path.relative_to(begun) for path in files_of(begun)), Path(".lock")]:
        for how in (*random.Random(str(name)).sample(list(HOSTILE), 3), *PLACED):
            folder = copy(begun)
            put(folder / name, how, outside)
            if name.name == ".lock" and how in HOSTILE:
                continue
            ledger.add("something else, go on", resumed_or_pipe(folder, expected), f"{how} for {name}")
    assert outside.read_bytes() == b"mine"
    ledger.close()


def resumed_or_pipe(folder: Path, expected) -> str:
    """As `resumed`, where a file may be one that cannot be read for a snapshot."""
    told = forked(train_in(folder))
    if told.fault or told.status in (2, 74):
        return told.fault
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = content(folder)
    differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return f"differs: {differing[0]}" if differing else ""
