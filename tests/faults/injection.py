"""What the tests of this folder share: commands run here or in a forked process, and faults at a file operation."""

import contextlib
import hashlib
import io
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commons import InputError
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.signs import SignHistory

EPOCHS = 3
SET = [f"epochs={EPOCHS}", "engine.device=cpu", "engine.threads=1", "batch_size=512", "mask.density=0.1"]
SET += ["reparam=sign-in", "method=rigl", "method.every=2"]
CONFIG = Config.preset("digits-mlp").with_set(SET)
SETTINGS = ["--preset", "digits-mlp", "--set", *SET]
SECONDS = 60  # a command that takes longer hangs


class HangError(BaseException):
    """A command took longer than SECONDS."""


@dataclass(frozen=True)
class Told:
    """How a command ended. status: −n where signal n ended it."""

    status: int
    out: str
    err: str

    @property
    def fault(self) -> str:
        """What is wrong with the ending, empty where nothing is: traceback, hang, several lines, silence."""
        last = self.err.strip().splitlines()[-1:] or [""]
        if "Traceback" in self.err or self.status not in (0, 2, 74, 75, 130, 141):
            return f"status {self.status}: {last[0][:300]}"
        told = [line for line in self.err.splitlines() if line.strip() and not line.startswith("warning: ")]
        if self.status in (2, 74) and len(told) != 1:
            return f"status {self.status} told in {len(told)} lines: {told[-3:]}"
        return "" if (self.out + self.err).replace("\n", "").replace("\t", "").isprintable() else "control characters"


def command(*argv: str) -> Told:
    """Run `sign-in ARGV` in this process; its output is kept from the terminal."""
    from figures.cli import parser

    return _told(lambda: parser().execute(list(argv)))


def _told(act: Callable[[], object]) -> Told:
    def hang(*_: object) -> None:
        raise HangError

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("default")
            status = act()
    except SystemExit as stop:
        status = stop.code
    except HangError:
        status = 98
        err.write("it hangs")
    except BaseException:
        status = 99
        err.write(traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return Told(int(status or 0), out.getvalue(), err.getvalue())  # type: ignore[call-overload]


def forked(act: Callable[[], object], during: Callable[[int], None] = lambda pid: None) -> Told:
    """Run act in a forked process, which may be killed; during(pid) is called while it runs."""
    pipes = [os.pipe() for _ in range(2)]  # no files, so that limits on files leave what the process says alone
    pid = os.fork()
    if pid == 0:
        status = 97
        try:
            for number, (_, end) in enumerate(pipes, start=1):
                os.dup2(end, number)
            for ends in pipes:
                for end in ends:
                    os.close(end)
            sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
            signal.alarm(SECONDS)
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                status = int(act() or 0)  # type: ignore[call-overload]
        except SystemExit as stop:
            status = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
            status = 99
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    for _, end in pipes:
        os.close(end)
    during(pid)
    texts = []
    for end, _ in pipes:
        with os.fdopen(end, "rb") as file:
            texts.append(file.read().decode(errors="replace"))
    _, ended = os.waitpid(pid, 0)
    return Told(os.waitstatus_to_exitcode(ended), texts[0], texts[1])


def run_command(*argv: str) -> Callable[[], object]:
    """`sign-in ARGV`, to be run by `forked`."""
    from figures.cli import parser

    return lambda: parser().execute(list(argv))


def train_in(folder: Path) -> Callable[[], object]:
    """`sign-in train` with SETTINGS in a folder, to be run by `forked`."""
    return run_command("train", *SETTINGS, "--out", str(folder))


class Operations:
    """Counts this process's operations on files below a folder, and acts when one has a given number.

    Counted are opening, renaming, removing, making a folder, and syncing. There is one object, as hooks stay for ever.
    """

    EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"})

    def __init__(self) -> None:
        self.folder, self.count, self._at, self._act = "", 0, -1, lambda: None
        sys.addaudithook(self._hook)
        real = os.fsync

        def fsync(handle: int) -> None:
            self._step(f"{self.folder}/fsync")
            real(handle)

        os.fsync = fsync

    def watch(self, folder: Path, at: int = -1, act: Callable[[], object] = lambda: None) -> None:
        """Count from 0 again, and call act before operation number `at`."""
        self.folder, self.count, self._at, self._act = str(folder), 0, at, act

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder and event in self.EVENTS and isinstance(args[0], str | bytes | os.PathLike):
            self._step(os.fsdecode(args[0]))

    def _step(self, path: str) -> None:
        if self.folder and path.startswith(self.folder):
            self.count += 1
            if self.count - 1 == self._at:
                self._act()


OPERATIONS = Operations()


def kill_self() -> None:
    """End this process as SIGKILL does."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    """A lower limit of this process, such as resource.RLIMIT_FSIZE, within the block."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def content(folder: Path) -> dict[str, Any]:
    """All that a reader gets from a run, as values that compare bit for bit, without the time that it took."""
    run = Run(folder)
    found: dict[str, Any] = {"config": run.config.tree(), "environment": run.environment}
    found["metrics"] = [{**line, "seconds": 0} for line in run.metrics()]
    found["summary"] = {**run.summary, "seconds": 0}
    for epoch in run.epochs:
        network = run.network(epoch)
        digest = hashlib.sha256()
        for name, tensor in [*network.state.items(), *(network.masks or {}).items()]:
            digest.update(name.encode() + str(tensor.dtype).encode() + tensor.numpy().tobytes())
        found[f"network {epoch}"] = digest.hexdigest()
    for frame in SignHistory(run.signs_file):
        parts = [part for values in (frame.signs, frame.active) for part in values.values()]
        found[f"signs {frame.epoch}"] = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    return found


def read_same(folder: Path, expected: dict[str, Any]) -> str:
    """Read all of a run: empty where it is refused in one line, warned of, or as expected; else what is wrong."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = content(folder)
    except InputError as refusal:
        return "" if str(refusal).isprintable() else "control characters"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return f"differs silently: {differing[0]}" if differing and not told else ""


def files_of(folder: Path) -> list[Path]:
    """The files of a run, but for its lock, which is empty."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def snapshot(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_of(folder)}
