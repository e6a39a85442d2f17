"""Files that are whole or absent: written beside their place, synced, renamed; a kill leaves the old or the new.

Nothing here reads a format; it only moves bytes and text safely.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from commons.checks import InputError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call write(temporary path in the same folder), then fsync and rename it to path."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, all with the keys of the first, as CSV with a header, whole or not at all."""
    import csv

    table = list(rows)

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(table[0]) if table else [])
            writer.writeheader()
            writer.writerows(table)

    write_whole(path, write)


def append_line(path: Path, line: str) -> None:
    """Append one line and sync it. A kill can cut the last line short; readers use `complete_lines`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def complete_lines(path: Path) -> list[str]:
    """The lines of path that end in a newline; a last one cut short by a kill is left out."""
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def output_file(argument: str, path: str | Path) -> Path:
    """The path, with its folder made if needed; InputError in one line where it cannot be written to."""
    output_directory(argument, Path(path).parent)
    return Path(path)


def output_directory(argument: str, path: str | Path) -> Path:
    """Make the folder if needed and return it; InputError in one line where it cannot be written to."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{argument}={str(path)!r} cannot be written to: {error.strerror or error}") from None
    return folder


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
