import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commons.checks import InputError
from commons.parallel import run_jobs

ROOT = Path(__file__).parents[2]
CHILD = """
import sys, time
from commons.parallel import run_jobs
if __name__ == "__main__":
    list(run_jobs(time.sleep, [(60,), (60,)], workers=2))
"""


def test_every_job_is_answered_once_under_its_index() -> None:
    assert sorted(run_jobs(math.factorial, [(n,) for n in range(6)], workers=2)) == [
        (n, math.factorial(n)) for n in range(6)
    ]
    assert list(run_jobs(math.factorial, [], workers=2)) == []


def test_the_first_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="not defined for negative"):
        list(run_jobs(math.factorial, [(3,), (-1,)], workers=1))


def test_a_killed_worker_is_told_in_one_line() -> None:
    with pytest.raises(InputError, match="a worker process was killed"):
        list(run_jobs(os._exit, [(9,)], workers=1))


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    parent = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        # a shell that runs the tests in the background lets its children ignore SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def children() -> list[int]:
        path = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def wait_until(condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    # two workers and the resource tracker; give the workers the time to reach their initializer
    wait_until(lambda: len(children()) >= 3)
    time.sleep(3)
    pids = children()
    os.kill(parent.pid, number)  # to the parent alone, as `kill` does
    parent.wait(timeout=10)

    def running(pid: int) -> bool:
        try:
            return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False

    wait_until(lambda: not any(map(running, pids)))
