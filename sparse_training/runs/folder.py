"""A run's folder, as the engine writes it: one process at a time, whole files, states to go on from after a kill."""

import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from commons.checks import InputError, refuse
from commons.files import (
    TEMPORARY,
    OldForm,
    append_line,
    json_text,
    open_own,
    output_directory,
    read_bytes,
    remove_unfinished,
    write_text,
)
from sparse_training.runs.checkpoint import read_checkpoint, write_checkpoint
from sparse_training.runs.config import Config
from sparse_training.runs.history import (
    CHECKPOINTS,
    FILE,
    METRICS,
    SUMMARY,
    History,
    metrics_text,
    read_metrics,
    read_summary,
)
from sparse_training.runs.toml import Tree

PLACES = (("data", "root"), ("data", "workers"))  # settings that may differ when a run goes on elsewhere
STATES_KEPT = 2
CONFIG, ENVIRONMENT, DATA = "config.toml", "environment.json", "data.json"
# What a folder may hold before it is a run's: a run that was killed while it began, or one that is about to begin.
_BEGINNINGS = re.compile(rf"\.lock|{re.escape(FILE)}|{ENVIRONMENT}|{re.escape(TEMPORARY)}.*|events\.out\..*")


class FolderInUseError(InputError):
    """Another process trains in the folder of a run."""


class DamagedCheckpoint(UserWarning):
    """A checkpoint cannot be used; the message names it, and the one before it is taken."""


class RunFolder:
    """The folder of a run, locked while this object lives.

    Raises:
        InputError: it cannot be written to, another process trains in it, it holds another run or files that are no
            run's, or a part of its history is missing or was edited.
    """

    def __init__(self, path: str | Path, config: Config) -> None:
        self.path = output_directory("out", path)
        self.checkpoints = self.path / CHECKPOINTS
        self._refuse_foreign()
        self._lock = open_own(self.path / ".lock", "ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.checkpoints.mkdir(exist_ok=True)
            for folder in (self.path, self.checkpoints):
                remove_unfinished(folder)
            self._states_every = config.checkpoint.resume
            self._history = History(self.path)
            self._claim(config)
        except BlockingIOError:
            self._lock.close()
            raise FolderInUseError(f"out={str(path)!r} is in use: another process trains in it") from None
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let other processes in."""
        self._lock.close()

    def network_file(self, epoch: int) -> Path:
        """Where the network of an epoch is saved."""
        return self.checkpoints / f"epoch-{epoch:04}.safetensors"

    def keep(self, name: str, content: Mapping[str, Any], anew: bool) -> None:
        """Write a file that stays as it is; `anew` at a run's first step, later the content must be the same.

        Raises:
            InputError: it is another, so that the run would go on with something else than it began with.
        """
        text = json_text(content)
        if not anew and name in self._history.files:
            self._history.check_file(name)
            if read_bytes(self.path / name) != text.encode():
                refuse("out", str(self.path), f"a run that began with what is here now: its {name} is another")
            return
        self._history.set_file(name, text)
        self._history.write()
        write_text(self.path / name, text)

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """One line more in metrics.jsonl, at the end of an epoch whose network and signs are written."""
        append_line(self.path / METRICS, json.dumps(metrics))
        self._history.add_epoch(metrics["epoch"])
        self._history.write()

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_metrics(self.path, self._history)

    @property
    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None."""
        found = read_summary(self.path, self._history)
        if found is None and SUMMARY in self._history.files and not self._states():
            self._history.check_file(SUMMARY)
        return found

    def save_state(self, step: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Keep what the run needs to go on after `step` optimizer steps; the last two states stay."""
        name = self.checkpoints / f"state-{step:09}.safetensors"
        write_checkpoint(name, tensors, {"kind": "state", "run": self._identity, "step": step, **info})
        for old in self._states()[STATES_KEPT:]:
            old.unlink()

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last state that is whole and of this run, or None; one that is not is named in a `DamagedCheckpoint`.

        Raises:
            InputError: another part of the folder is missing, cut short or edited.
        """
        self._history.check_all()
        for path in self._states():
            try:
                tensors, info = read_checkpoint(path, "state")
                if info.pop("run", None) not in (self._identity, self._old_identity):
                    raise InputError(f"{str(path)!r} is of another run")
            except InputError as fault:
                warnings.warn(f"{fault}; the checkpoint before it is used", DamagedCheckpoint, stacklevel=3)
                continue
            return tensors, info
        if self._history.last_epoch > self._states_every:
            told = f"{str(self.checkpoints)!r} holds no state to go on from; the run begins anew"
            warnings.warn(told, DamagedCheckpoint, stacklevel=3)
        return None

    @property
    def last_state(self) -> Path | None:
        """The newest state's file."""
        return next(iter(self._states()), None)

    def forget_after(self, epoch: int) -> None:
        """Drop metrics and networks of epochs after this one, which the run is about to write again."""
        self._history.forget_after(epoch)
        self._history.write()
        path = self.path / METRICS
        if path.exists():
            write_text(path, metrics_text(self.path, epoch))
        for file in self.checkpoints.glob("epoch-*.safetensors"):
            if file > self.network_file(epoch):
                file.unlink()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, after which the states are no longer needed."""
        text = json_text(summary)
        self._history.set_file(SUMMARY, text)
        self._history.write()
        write_text(self.path / SUMMARY, text)
        for path in self._states():
            path.unlink()

    def _states(self) -> list[Path]:
        """Files of states, the newest first."""
        return sorted(self.checkpoints.glob("state-*.safetensors"), reverse=True)

    def _refuse_foreign(self) -> None:
        """Raise InputError, before anything is touched, where the folder holds what no run put there."""
        if self.checkpoints.is_symlink():
            refuse("out", str(self.path), "a folder to train in", f"its {CHECKPOINTS} is a link")
        if os.path.lexists(self.path / CONFIG):
            return
        history = History(self.path)
        if history.epochs:
            history.check_file(CONFIG)
        for entry in self.path.iterdir():
            empty = entry.name == CHECKPOINTS and entry.is_dir() and not any(entry.iterdir())
            if not empty and not _BEGINNINGS.fullmatch(entry.name):
                hint = f"it holds {entry.name!r} but no {CONFIG}; name an empty or a new folder"
                refuse("out", str(self.path), "the folder of a run", hint)

    @property
    def _begun(self) -> bool:
        """Whether something was trained here, or the configuration is none that a run has noted in its history."""
        noted = CONFIG in self._history.files
        trained = self._history.epochs or (self.path / METRICS).exists() or any(self.checkpoints.iterdir())
        return bool(trained) or not noted

    def _claim(self, config: Config) -> None:
        """Begin the run's folder, or make sure that it is of the same run.

        Where a run was begun and nothing trained, as when its model turned out to be unknown, another may take over.
        """
        known = _without_places(config.tree())
        self._old_identity = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        written = (self.path / CONFIG).exists()
        if written:
            self._history.check_file(CONFIG)
        if written and self._begun:
            _check_same(self.path, known, config.code)
            if not self._history.known and any(self.checkpoints.iterdir()):
                told = f"the run in {str(self.path)!r} is of an old form without a history: what changed is not noticed"
                warnings.warn(told, OldForm, stacklevel=4)
        else:
            texts = {ENVIRONMENT: json_text(environment(config)), CONFIG: config.to_toml()}
            for name, text in texts.items():
                self._history.set_file(name, text)
            self._history.write()
            for name, text in texts.items():
                write_text(self.path / name, text)
        self._identity = hashlib.sha256(read_bytes(self.path / CONFIG)).hexdigest()


def _check_same(path: Path, known: Tree, code: list[str]) -> None:
    there = _without_places(Config.load(path / CONFIG, code).tree())
    if there != known:
        old, new = _flat(there), _flat(known)
        key = next(k for k in (*old, *new) if old.get(k) != new.get(k))
        raise InputError(
            f"out={str(path)!r} holds another run: {key} is {old.get(key)!r} there and {new.get(key)!r} here; "
            "name another folder, or delete this one"
        )


def environment(config: Config) -> dict[str, Any]:
    """Versions, git commit of this package, device and seed."""
    cuda = torch.cuda.is_available()
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "commit": _commit(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda and config.engine.device != "cpu" else platform.machine(),
        "seed": config.seed,
    }


_PACKAGES = ("sign-in-lottery", "torch", "numpy", "safetensors", "scikit-learn", "pillow")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (FileNotFoundError, PermissionError, subprocess.CalledProcessError):
        return None  # no git, or no repository
    return done.stdout.strip()


def _without_places(tree: Tree) -> Tree:
    return {
        key: {k: v for k, v in value.items() if (key, k) not in PLACES} if isinstance(value, dict) else value
        for key, value in tree.items()
    }


def _flat(tree: Tree) -> Tree:
    flat: Tree = {}
    for key, value in tree.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat
