"""What the machine refuses is one line and status 74; no printed text steers a terminal; streams may be closed."""

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest

from commons.cli import Parser
from commons.text import one_line, printable


def tool(act: Callable[[], object]) -> Parser:
    parser = Parser(prog="tool")
    parser.set_defaults(run=lambda args: act())
    return parser


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "told"),
    [
        *((OSError(code, os.strerror(code), "x\x1b"), r"'x\x1b': " + os.strerror(code)) for code in
          (errno.ENOSPC, errno.EFBIG, errno.EMFILE, errno.EACCES, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG)),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left"),
        (MemoryError("Unable to allocate 3 TiB"), "not enough memory: Unable to allocate"),
        (RuntimeError("can't start new thread"), "no further thread"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "not enough memory"),
    ],
)  # fmt: skip
def test_what_the_machine_refuses_is_one_line_and_status_74(
    error: BaseException, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        tool(raising(error)).execute([])
    out, err = capsys.readouterr()
    assert stop.value.code == 74
    assert told in err
    assert err.count("\n") == 1
    assert not out


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OSError("no errno"), KeyError("x"), TypeError()])
def test_a_fault_of_ours_keeps_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)):
        tool(raising(error)).execute([])


def test_control_characters_are_escaped_in_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> None:
        print("a\x1b]0;owned\x07\n\tb\u202e\udcff\r")
        warnings.warn("two\nlines\x1b[2J", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        tool(act).execute([])
    out, err = capsys.readouterr()
    assert out == "a\\x1b]0;owned\\x07\n\tb\\u202e\\udcff\\r\n"
    assert err == "warning: two lines\\x1b[2J\n"


def test_text_that_a_stream_lacks_is_escaped() -> None:
    assert printable("β_a = 1 ± 2", "ascii") == "\\u03b2_a = 1 \\xb1 2"
    assert printable("β\n") == "β\n"
    assert one_line(" a\n  b\x00") == "a b\\x00"


SCRIPT = """
import sys
from commons.cli import Parser
p = Parser(prog="tool")
def run(args):
    print("begun", file=sys.stderr)
    for _ in range(args.lines): print("β = 1, " * 10)
p.add_argument("--lines", type=int, default=1)
p.set_defaults(run=run)
sys.exit(p.execute())
"""


@pytest.mark.parametrize(
    ("shell", "status", "told"),
    [
        ("{} --lines 3 >&-", 0, "begun\n"),
        ("{} --lines 3 2>&-", 0, ""),
        ("{} --lines 3 <&- >&- 2>&-", 0, ""),
        ("{} --lines 10000 >/dev/full", 74, "begun\ntool: No space left on device\n"),
        ("{} --lines 1 >/dev/full", 74, "begun\ntool: No space left on device\n"),
        ("{} --nonsense 2>/dev/full", 2, ""),
        ("{} --lines 10000 | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}", 141, "begun\n"),
        ("PYTHONIOENCODING=ascii {} --lines 1 >/dev/null", 0, "begun\n"),
    ],
)
def test_streams_may_be_closed_full_cut_off_or_ascii(shell: str, status: int, told: str) -> None:
    command = shell.format(f"{sys.executable} -c '{SCRIPT}'")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (status, told)
