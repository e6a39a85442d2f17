"""A run's folder, as the engine writes it: one process at a time, whole files, states that a killed run goes on from.

It knows nothing of training; runs.py is its reader.
"""

import fcntl
import hashlib
import json
import platform
import subprocess
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from commons.checks import InputError
from commons.files import append_line, complete_lines, output_directory, write_json, write_text
from sparse_training.runs.checkpoint import read_tensors, write_tensors
from sparse_training.runs.config import Config
from sparse_training.runs.toml import Tree

PLACES = (("data", "root"), ("data", "workers"))  # settings that may differ when a run goes on elsewhere
STATES_KEPT = 2


class DamagedCheckpoint(UserWarning):
    """A checkpoint cannot be used; the message names it, and the one before it is taken."""


class RunFolder:
    """The folder of a run, locked while this object lives.

    Raises:
        InputError: it cannot be written to, another process trains in it, or it holds another run.
    """

    def __init__(self, path: str | Path, config: Config) -> None:
        self.path = output_directory("out", path)
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError(f"out={str(path)!r} is in use: another process trains in it") from None
        self.checkpoints = self.path / "checkpoints"
        self.checkpoints.mkdir(exist_ok=True)
        self._known = _without_places(config.tree())
        self._digest = hashlib.sha256(json.dumps(self._known, sort_keys=True).encode()).hexdigest()
        try:
            self._claim(config)
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let other processes in."""
        self._lock.close()

    def network_file(self, epoch: int) -> Path:
        """Where the network of an epoch is saved."""
        return self.checkpoints / f"epoch-{epoch:04}.safetensors"

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """One line more in metrics.jsonl."""
        append_line(self.path / "metrics.jsonl", json.dumps(metrics))

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return [json.loads(line) for line in complete_lines(self.path / "metrics.jsonl")]

    @property
    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None."""
        path = self.path / "summary.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def save_state(self, step: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Keep what the run needs to go on after `step` optimizer steps; the last two states stay."""
        name = self.checkpoints / f"state-{step:09}.safetensors"
        write_tensors(name, tensors, {"kind": "state", "run": self._digest, "step": step, **info})
        for old in self._states()[STATES_KEPT:]:
            old.unlink()

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last state that is whole and of this run, or None; one that is not is named in a `DamagedCheckpoint`."""
        for path in self._states():
            try:
                tensors, info = read_tensors(path, "state")
                if info.pop("run") != self._digest:
                    raise InputError(f"{str(path)!r} is of another run")
            except InputError as fault:
                warnings.warn(f"{fault}; the checkpoint before it is used", DamagedCheckpoint, stacklevel=3)
                continue
            return tensors, info
        return None

    @property
    def last_state(self) -> Path | None:
        """The newest state's file."""
        return next(iter(self._states()), None)

    def forget_after(self, epoch: int) -> None:
        """Drop metrics and networks of epochs after this one, which the run is about to write again."""
        path = self.path / "metrics.jsonl"
        lines = [line for line in complete_lines(path) if json.loads(line)["epoch"] <= epoch]
        if path.exists():
            write_text(path, "".join(f"{line}\n" for line in lines))
        for file in self.checkpoints.glob("epoch-*.safetensors"):
            if file > self.network_file(epoch):
                file.unlink()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, after which the states are no longer needed."""
        write_json(self.path / "summary.json", summary)
        for path in self._states():
            path.unlink()

    def _states(self) -> list[Path]:
        """Files of states, the newest first."""
        return sorted(self.checkpoints.glob("state-*.safetensors"), reverse=True)

    def _claim(self, config: Config) -> None:
        if (self.path / "config.toml").exists():
            self._check_same(config)
        else:
            write_json(self.path / "environment.json", environment(config))
            write_text(self.path / "config.toml", config.to_toml())

    def _check_same(self, config: Config) -> None:
        known = _without_places(Config.load(self.path / "config.toml").tree())
        if known != self._known:
            old, new = _flat(known), _flat(self._known)
            key = next(k for k in (*old, *new) if old.get(k) != new.get(k))
            raise InputError(
                f"out={str(self.path)!r} holds another run: {key} is {old.get(key)!r} there and {new.get(key)!r} here"
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
    except (OSError, subprocess.CalledProcessError):
        return None
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
