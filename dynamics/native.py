"""The inner loop on a CPU, compiled in a second by the machine's C compiler and kept by the hash of its source.

Where there is no compiler, or a system does what has no statement in C, torch's operators integrate it instead.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import torch

from commons import InputError
from commons.files import write_whole
from dynamics.stepper import LOCATIONS, System, advance, begin, enclose, narrow, settle
from dynamics.tracing import SETS, Program, Symbol, UntraceableError

# Rounded as torch rounds: a product is not contracted with a sum. What remains is not reordered either.
FLAGS = ("-O2", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-w")
KINDS = {torch.float64: ("double", "long long"), torch.float32: ("float", "int")}  # and the integer of its size
DIGEST = hashlib.sha256().digest_size


class Job(ctypes.Structure):
    """The `Job` of kernel.c."""

    _fields_ = (
        ("first", ctypes.c_long),
        ("last", ctypes.c_long),
        ("total", ctypes.c_long),
        ("rows", ctypes.POINTER(ctypes.c_void_p)),
        ("strides", ctypes.POINTER(ctypes.c_long)),
        ("out", ctypes.c_void_p),
    )


class Loop:
    """The compiled loop of one system. It leaves Python's lock alone, so threads can run it side by side."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._run = library.run
        self._run.restype = None

    def __call__(
        self,
        first: int,
        last: int,
        rows: list[torch.Tensor],
        limits: torch.Tensor,
        out: torch.Tensor,
        stopped: ctypes.c_int,
    ) -> None:
        """Write where the starts first to last end into columns of out (width + 3, N), unless stopped becomes 1.

        rows: the state, the parameters and the horizon of all starts, each (N,).
        """
        pointers = (ctypes.c_void_p * len(rows))(*(row.data_ptr() for row in rows))
        strides = (ctypes.c_long * len(rows))(*(row.stride(0) for row in rows))
        job = Job(first, last, out.shape[1], pointers, strides, out.data_ptr())
        self._run(ctypes.byref(job), ctypes.c_void_p(limits.data_ptr()), ctypes.byref(stopped))


@lru_cache(maxsize=64)
def native(system: System, dtype: torch.dtype) -> Loop | None:
    """The compiled loop of a system; None where it cannot be compiled."""
    try:
        return Loop(_library(source(system, dtype)))
    except subprocess.CalledProcessError as error:
        warnings.warn(
            f"{error.cmd[0]} failed, so torch's operators integrate: {error.stderr.decode()[:200]!r}", stacklevel=2
        )
    except (UntraceableError, OSError):
        pass
    return None


def source(system: System, dtype: torch.dtype) -> str:
    """The C program of a system.

    Raises:
        UntraceableError: the system does what has no statement in C.
    """
    real, whole = KINDS[dtype]
    width, fixed = system.width, system.parameters + 1
    sizes = {"block": 2 * width + 4, "fixed": fixed, "limits": 5, "bracket": width + 6}

    def traced(function, *names: str, to: str) -> str:  # type: ignore[no-untyped-def]
        program = Program(dtype)
        given = (program.given(name, sizes[name], shared=name == "limits") for name in names)
        program.write(to, function(system, *given))
        return program.text()

    def first(system: System, block: Symbol, fixed: Symbol, limits: Symbol) -> Symbol:
        return begin(system, block[:width], fixed, limits)  # type: ignore[arg-type, return-value]

    everything = ("block", "fixed", "limits")
    parts = {
        "BEGIN": traced(first, *everything, to="block"),
        "ADVANCE": traced(advance, *everything, to="block"),
        "ENCLOSE": traced(enclose, "block", "limits", to="bracket"),
        "NARROW": traced(narrow, *everything, "bracket", to="bracket"),
        "SETTLE": traced(settle, "block", "bracket", to="out"),
        "REAL": real,
        "WHOLE": whole,
        "WIDTH": str(width),
        "FIXED": str(fixed),
        "LOCATIONS": str(LOCATIONS),
        "SETS": str(SETS),
    }
    defined = "".join(f"#define {name} {text}\n" for name, text in parts.items())
    return defined + Path(__file__).with_name("kernel.c").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def compiler() -> tuple[tuple[str, ...], str] | None:
    """The command of the C compiler, and what it says of itself and of this processor; None where there is none."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        command = shlex.split(name)
        if not command or shutil.which(command[0]) is None:
            continue
        probe = subprocess.run(
            [*command, *FLAGS, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True, check=False
        )
        if probe.returncode == 0:
            return tuple(command), probe.stdout
    return None


def cache_folder() -> Path:
    """`sign_in_dynamics` in $XDG_CACHE_HOME, or in ~/.cache where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "sign_in_dynamics"


def _library(text: str) -> ctypes.CDLL:
    """The program as a loaded library, from the cache where it is there and whole, or else compiled."""
    found = compiler()
    if found is None:
        raise FileNotFoundError("C compiler")
    command, target = found
    key = hashlib.sha256("\0".join([*command, *FLAGS, target, text]).encode()).hexdigest()
    path = cache_folder() / f"{key}.so"
    try:
        if not _whole(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, lambda temporary: _compile(command, text, temporary))
        return ctypes.CDLL(str(path))
    except (OSError, InputError):  # a cache that cannot be written to, or from which nothing may be loaded
        with tempfile.TemporaryDirectory() as folder:
            once = Path(folder) / path.name
            _compile(command, text, once)
            return ctypes.CDLL(str(once))


def _compile(command: tuple[str, ...], text: str, path: Path) -> None:
    """Write the library of a program, and after it, where a loader does not look, the digest of its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernel.so"
        subprocess.run(
            [*command, *FLAGS, "-shared", "-fPIC", "-x", "c", "-", "-o", str(made), "-lm"],
            input=text.encode(),
            check=True,
            capture_output=True,
        )
        binary = made.read_bytes()
    path.write_bytes(binary + hashlib.sha256(binary).digest())


def _whole(path: Path) -> bool:
    """Whether the file is ours and as it was written."""
    try:
        status = path.lstat()
        content = path.read_bytes()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and hashlib.sha256(content[:-DIGEST]).digest() == content[-DIGEST:]
