"""The state of a sweep: a file of JSON lines, one a finished run, that any process may append to and anyone may merge.

Ledgers are merged by concatenation, and a line that comes twice does no harm. Each line ends with a checksum, so that
one that was cut short or changed is noticed and left out.
"""

import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commons.checks import InputError
from commons.files import output_file

Record = dict[str, Any]
RUN, SWEEP = "run", "sweep"


class DamagedLine(UserWarning):
    """A line of a ledger cannot be used; the message names it."""


class Ledger:
    """The ledger in a file, which need not exist yet. What other processes append is seen by `refresh`.

    path: of the file; its folder is made with the first line. A line has a `kind`: "run" for a finished run, under
    its `address`; "sweep" for what a sweep file says of its table.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int] | None = None
        self._lines: list[Record] = []
        self._runs: dict[str, list[Record]] = {}
        self._warned: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return
        if (stat.st_size, stat.st_mtime_ns) == self._seen:
            return
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)  # so that no line is seen half-written
                texts = file.read().decode(errors="replace").split("\n")
        except OSError as error:
            raise InputError(f"ledger {str(self.path)!r} cannot be read: {error.strerror}") from None
        self._seen = (stat.st_size, stat.st_mtime_ns)
        read = [self._read(number, text) for number, text in enumerate(texts, start=1) if text]
        self._lines = [line for line in read if line is not None]
        self._runs = {}
        for line in _without_repetitions(line for line in self._lines if line["kind"] == RUN):
            self._runs.setdefault(line["address"], []).append(line)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line, whole and synced; the last line of the file is left alone if it was cut short by a crash."""
        line = json.dumps({**record, "sum": _checksum(record)}, ensure_ascii=False, allow_nan=False)
        with output_file("ledger", self.path).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        self.refresh()

    def runs(self, sweep: str | None = None) -> list[Record]:
        """The lines of runs, each arm's run once; only those of one sweep if it is named."""
        return [line for lines in self._runs.values() for line in lines if sweep in (None, line["sweep"])]

    def at(self, address: str) -> list[Record]:
        """The lines of one run: one for each sweep and arm that it belongs to."""
        return self._runs.get(address, [])

    def sweeps(self) -> dict[str, Record]:
        """What each sweep says of its table, by its name; what was said last counts."""
        return {line["sweep"]: line for line in self._lines if line["kind"] == SWEEP}

    def digests(self, data: str) -> set[str]:
        """The digests of a data set, by its name, that runs of the ledger used."""
        used = [line["data"] for line in self._lines if line["kind"] == RUN]
        return {each["digest"] for each in used if each["name"] == data}

    def _read(self, number: int, text: str) -> Record | None:
        try:
            line: Record = json.loads(text)
            if line.pop("sum") == _checksum(line):
                return line
            fault = "its checksum is another"
        except (ValueError, KeyError, TypeError, AttributeError):
            fault = "it is not whole"
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(f"line {number} of ledger {str(self.path)!r} is left out: {fault}", DamagedLine, stacklevel=4)
        return None


def _without_repetitions(lines: Iterable[Record]) -> list[Record]:
    """One line an address and arm; where lines differ in what was measured, the one with the most counts."""
    found: dict[str, Record] = {}
    for line in lines:
        key = json.dumps([line["address"], line["sweep"], line["arm"], line["point"]], sort_keys=True)
        if key not in found or _measured(line) > _measured(found[key]):
            found[key] = line
    return list(found.values())


def _measured(line: Record) -> int:
    """How much a line says; of a start also how many others it was compared with."""
    compared = (line.get("start") or {}).get("differs", ())
    return sum(value is not None for value in line.values()) + len(compared)


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]
