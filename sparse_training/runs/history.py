"""What a run's folder holds, epoch by epoch, in a file of its own, so that a missing, cut or edited part is named.

`history.json` is written whole after each epoch's metrics and before its state. It holds the SHA-256 of the fixed files
(configuration, environment, and the summary once there is one); for each epoch the length and SHA-256 of metrics.jsonl
and signs.bin up to there, as these only grow, and the digest of each network saved since the epoch before; and the
SHA-256 of all this. A folder without it was written before there were histories.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from commons.checks import InputError
from commons.files import complete_lines, open_regular, read_bytes, read_json, read_jsonl, unreadable, write_json
from sparse_training.tensor_files import DIGEST, read_metadata

FILE, METRICS, SIGNS, SUMMARY = "history.json", "metrics.jsonl", "signs.bin", "summary.json"
CHECKPOINTS = "checkpoints"
GROWING = (METRICS, SIGNS)
NUMBERS = ("step", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "density", "seconds")
TOTALS = ("epochs", "steps", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "density", "seconds")


class History:
    """The history of a run's folder; `known` is False where the folder has none.

    Raises:
        InputError: the history itself is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        self.epochs: list[dict[str, Any]] = []
        self._read = {name: (0, hashlib.sha256()) for name in GROWING}  # bytes of each file that were hashed so far
        path = folder / FILE
        self.known = os.path.lexists(path)
        if not self.known:
            return
        content = read_json(path)
        digest = content.pop(DIGEST, None)
        if digest != _digest_of(content):
            unreadable(path, "it is damaged: its content has another digest than it was written with")
        self.files, self.epochs = content["files"], content["epochs"]

    @property
    def last_epoch(self) -> int:
        """The last epoch that it tells of, 0 before the first."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    def write(self) -> None:
        """Write it to the folder, whole or not at all."""
        content = {"files": self.files, "epochs": self.epochs}
        write_json(self.folder / FILE, {**content, DIGEST: _digest_of(content)})
        self.known = True

    def set_file(self, name: str, text: str) -> None:
        """Take note of the text that a fixed file is about to hold."""
        self.files[name] = hashlib.sha256(text.encode()).hexdigest()

    def add_epoch(self, epoch: int) -> None:
        """Take note of all that the folder holds now, at the end of an epoch."""
        entry: dict[str, Any] = {"epoch": epoch}
        for name in GROWING:
            if (self.folder / name).exists():
                entry[name] = self._hash_on(name, None)
        known = {name for earlier in self.epochs for name in earlier["networks"]}
        new = [path for path in sorted(self._checkpoints.glob("epoch-*.safetensors")) if path.name not in known]
        entry["networks"] = {path.name: read_metadata(path).get(DIGEST) for path in new}
        self.epochs.append(entry)

    def forget_after(self, epoch: int) -> None:
        """Drop the later epochs and the summary, which the run is about to write again."""
        self.epochs = [entry for entry in self.epochs if entry["epoch"] <= epoch]
        self.files.pop(SUMMARY, None)
        self._read = {name: (0, hashlib.sha256()) for name in GROWING}
        for entry in self.epochs:
            for name in GROWING:
                if name in entry:
                    self._hash_on(name, entry[name][0])

    def check_file(self, name: str) -> None:
        """Raise InputError if a fixed file is missing or is not as it was written."""
        path = self.folder / name
        if name not in self.files:
            return
        if not os.path.lexists(path):
            self._refuse(name, "is missing")
        if hashlib.sha256(read_bytes(path)).hexdigest() != self.files[name]:
            self._refuse(name, "is not as the run wrote it")

    def check_growing(self, name: str) -> None:
        """Raise InputError, naming the epoch, if a file that grows is missing, cut short or edited."""
        entries = [entry for entry in self.epochs if name in entry]
        if not entries:
            return
        path = self.folder / name
        if not os.path.lexists(path):
            self._refuse(name, "is missing")
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        self._read[name] = (0, hashlib.sha256())
        for entry in entries:
            length, digest = entry[name]
            if size < length:
                self._refuse(name, f"is cut short: what epoch {entry['epoch']} wrote is not whole")
            if self._hash_on(name, length) != [length, digest]:
                self._refuse(name, f"was edited: it is not as the run wrote it up to epoch {entry['epoch']}")
        if SUMMARY in self.files and size > entries[-1][name][0]:
            self._refuse(name, f"was edited: it goes on after epoch {entries[-1]['epoch']}, the last one")

    def check_all(self) -> None:
        """Raise InputError for the first part of the folder that is missing, cut short or edited."""
        for name in self.files:
            if name != SUMMARY:  # noted before it is written, and so absent after a kill in between
                self.check_file(name)
        for name in GROWING:
            self.check_growing(name)
        for entry in self.epochs:
            for name, digest in entry["networks"].items():
                path = self._checkpoints / name
                if not os.path.lexists(path):
                    self._refuse(f"{CHECKPOINTS}/{name}", "is missing")
                if read_metadata(path).get(DIGEST) != digest:
                    self._refuse(f"{CHECKPOINTS}/{name}", "is not as the run wrote it")

    @property
    def _checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS

    def _hash_on(self, name: str, end: int | None) -> list[Any]:
        """[length, SHA-256] of a file up to `end` bytes, None for all of it; only bytes not yet hashed are read."""
        at, digest = self._read[name]
        with open_regular(self.folder / name) as file:
            file.seek(at)
            while block := file.read(1 << 20 if end is None else min(1 << 20, end - at)):
                digest.update(block)
                at += len(block)
        self._read[name] = (at, digest)
        return [at, digest.hexdigest()]

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise InputError(f"{str(self.folder / name)!r} {what}; restore it, or train into another folder")


def read_metrics(folder: Path, history: History) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; InputError names a line that is no epoch's metrics."""
    history.check_growing(METRICS)
    path = folder / METRICS
    lines = read_jsonl(path)
    for number, line in enumerate(lines, start=1):
        missing = [name for name in ("epoch", *NUMBERS) if not isinstance(line.get(name), int | float)]
        if missing:
            unreadable(path, f"line {number} has no number {missing[0]!r}")
    return lines


def read_summary(folder: Path, history: History) -> dict[str, Any] | None:
    """The content of summary.json, None where the run is not finished; InputError where it is damaged."""
    path = folder / SUMMARY
    if not os.path.lexists(path):
        return None
    history.check_file(SUMMARY)
    content = read_json(path)
    missing = [name for name in TOTALS if not isinstance(content.get(name), int | float)]
    if missing:
        unreadable(path, f"it has no number {missing[0]!r}")
    return content


def result_of(metrics: Mapping[str, Any]) -> str:
    """What a test gave, for people: bits per byte of text, or else the accuracy."""
    if metrics.get("bits_per_byte") is not None:
        return f"{metrics['bits_per_byte']:.4f} bits per byte"
    return f"test accuracy {metrics['test_accuracy']:.2f} %"


def metrics_text(folder: Path, last: int) -> str:
    """The lines of metrics.jsonl up to an epoch."""
    path = folder / METRICS
    kept = zip(complete_lines(path), read_jsonl(path), strict=True)
    return "".join(f"{line}\n" for line, metrics in kept if metrics["epoch"] <= last)


def _digest_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
