"""Kills, signals and refused file operations at any moment: what is gone on with ends bit for bit as if nothing was."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.injection import OPERATIONS, SET, command, content, forked, kill_self, limit, run_command, train_in

from commons.files import TEMPORARY

pytestmark = pytest.mark.faults


def at_operation(folder: Path, number: int, act, run) -> object:
    """To be run forked: `run`, where operation `number` on a file of the folder is preceded by act()."""

    def watched():
        OPERATIONS.watch(folder, number, act)
        try:
            return run()
        finally:
            OPERATIONS.watch("")

    return watched


def operations_of(folder: Path) -> int:
    """How many operations a whole run makes."""
    run = train_in(folder)

    def counted() -> None:
        OPERATIONS.watch(folder)
        run()
        print("operations", OPERATIONS.count)

    told = forked(counted)
    shutil.rmtree(folder)
    return int(told.out.split()[-1])


def gone_on(folder: Path, expected) -> str:
    """Go on with a run that was ended; empty where it ends as expected and leaves no unfinished file."""
    told = forked(train_in(folder))
    if told.status or told.fault:
        return told.fault or f"status {told.status}: {told.err}"
    left = [path.name for path in folder.rglob(f"{TEMPORARY}*")]
    if left:
        return f"left {left}"
    found = content(folder)
    differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return f"differs: {differing[0]}" if differing else ""


@pytest.mark.parametrize("part", range(4))
def test_sigkill_before_every_operation_on_a_file(tmp_path, expected, ledger, part):
    total = operations_of(tmp_path / "run")
    assert total > 50
    for number in range(part, total, 4):
        folder = tmp_path / f"run-{number}"
        told = forked(at_operation(folder, number, kill_self, train_in(folder)))
        assert told.status == -signal.SIGKILL
        ledger.add("SIGKILL at an operation", gone_on(folder, expected), number)
        shutil.rmtree(folder)
    ledger.close()


def test_sigkill_again_and_again(tmp_path, expected, ledger):
    for stride in (40, 55, 70, 85):
        folder = tmp_path / f"run-{stride}"
        for _ in range(30):
            told = forked(at_operation(folder, stride, kill_self, train_in(folder)))
            if told.status == 0:
                break
            ledger.add("SIGKILL again and again", told.fault if told.status != -9 else "", stride)
        ledger.add("SIGKILL again and again", gone_on(folder, expected), stride)
    ledger.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_at_a_random_moment(tmp_path, expected, ledger, number):
    rng = random.Random(int(number))
    for turn in range(20):
        folder = tmp_path / f"run-{turn}"

        def during(pid: int, folder: Path = folder) -> None:
            until = time.monotonic() + 20
            while not (folder / ".lock").exists() and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.4))
            os.kill(pid, number)

        told = forked(train_in(folder), during)
        ended = {0, -number, 130 if number == signal.SIGINT else 75}
        harm = told.fault if told.status != -number else ""
        harm = harm or ("" if told.status in ended else f"status {told.status}")
        ledger.add(f"{number.name} at a random moment", harm or gone_on(folder, expected), turn)
        shutil.rmtree(folder, ignore_errors=True)
    ledger.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_an_operation_that_is_refused(tmp_path, expected, ledger, code):
    """Disk or inodes full, a broken disk, too many open files, a read-only folder, from the n-th operation on."""
    total = operations_of(tmp_path / "run")
    for number in random.Random(code).sample(range(total), min(total, 30)):
        folder = tmp_path / f"run-{number}"

        def refuse(folder=folder) -> None:
            OPERATIONS.watch(folder, 0, refuse)  # and every one after it
            raise OSError(code, os.strerror(code), str(folder / "file"))

        told = forked(at_operation(folder, number, refuse, train_in(folder)))
        harm = told.fault if told.status in (2, 74) else f"status {told.status}: {told.err[-300:]}"
        ledger.add(f"{errno.errorcode[code]} at an operation", harm or gone_on(folder, expected), number)
        shutil.rmtree(folder, ignore_errors=True)
    ledger.close()


def test_a_file_size_limit(tmp_path, expected, finished, ledger):
    rng = random.Random(5)
    for size in [0, 1, 100, *(rng.randrange(400_000) for _ in range(20))]:
        folder = tmp_path / f"run-{size}"
        with limit(resource.RLIMIT_FSIZE, size):
            told = forked(train_in(folder))
        harm = told.fault if told.status in (0, 2, 74) else f"status {told.status}: {told.err[-300:]}"
        ledger.add("file size limit", harm or gone_on(folder, expected), size)
        shutil.rmtree(folder, ignore_errors=True)
    mask = tmp_path / "m.safetensors"
    commands = [
        ("export", str(finished), "--out", str(tmp_path / "e.safetensors")),
        ("signs", str(finished), "--out", str(tmp_path / "s.csv")),
        ("masks", "--model", "mlp", "--density", "0.1", "--in-channels", "1", "--image-size", "8", "--out", str(mask)),
        ("phase", "--flow", "sign-in", "--grid", "8", "--out", str(tmp_path / "p.npz")),
    ]
    for argv in commands:
        assert command(*argv).status == 0
        whole = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        for size in (0, 50, 200):
            with limit(resource.RLIMIT_FSIZE, size):
                told = forked(run_command(*argv))
            harm = told.fault or ("" if told.status == 74 else f"status {told.status}")
            now = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
            ledger.add("file size limit", harm or ("" if now == whole else "the old file is lost"), (argv[0], size))
    ledger.close()


@pytest.mark.parametrize(("kind", "values"), [
    (resource.RLIMIT_NOFILE, [3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24]),
    (resource.RLIMIT_AS, [10, 30, 60, 100, 150, 200, 300, 400, 500]),
], ids=["open files", "memory"])  # fmt: skip
def test_a_limit_of_the_process(tmp_path, expected, ledger, kind, values):
    for value in values:
        folder = tmp_path / f"run-{value}"
        run = train_in(folder)

        def limited(run=run, value=value) -> object:
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            amount = held + value * 100_000 if kind == resource.RLIMIT_AS else value
            with limit(kind, amount):
                return run()

        told = forked(limited)
        name = "open files" if kind == resource.RLIMIT_NOFILE else "memory"
        harm = told.fault if told.status in (0, 2, 74) else f"status {told.status}: {told.err[-400:]}"
        ledger.add(f"limit of {name}", harm or gone_on(folder, expected), value)
    ledger.close()


SMALL = """
import subprocess, sys
room, kind, *argv = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", kind, "tmpfs", room], check=True, capture_output=True)
done = subprocess.run([sys.executable, "-m", "figures.cli", "train", *argv, "--out", room + "/run"])
sys.exit(done.returncode)
"""


@pytest.mark.parametrize("kind", ["size=20k", "size=200k", "nr_inodes=2", "nr_inodes=5", "nr_inodes=9"])
def test_a_small_file_system(tmp_path, ledger, kind):
    """A real full disk, where a user may mount one in a name space of their own."""
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", SMALL, str(tmp_path), kind]
    command += ["--preset", "digits-mlp", "--set", *SET]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "unshare" in done.stderr or "CalledProcessError" in done.stderr:
        pytest.skip("no file system can be mounted here")
    harm = "" if done.returncode in (2, 74) and done.stderr.count("\n") == 1 else f"{done.returncode}: {done.stderr}"
    ledger.add("a small file system", harm, kind)
    ledger.close()


def test_a_folder_that_may_not_be_written_to(begun, copy, ledger):
    """As another user where this one is root, whom no permission stops."""
    folder = copy(begun)
    for place in (folder, *folder.parents):
        if os.access(place, os.W_OK) and place.stat().st_uid == os.getuid():
            place.chmod(0o755)
        if place.name.startswith("pytest-of"):
            break
    for place in (folder, folder / "checkpoints"):
        place.chmod(0o555)
        run = train_in(folder)

        def as_another(run=run) -> object:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            return run()

        told = forked(as_another)
        ledger.add("read-only folder", told.fault or ("" if told.status in (2, 74) else f"status {told.status}"), place)
        place.chmod(0o755)
    ledger.close()


def test_two_processes_at_once(tmp_path, expected, finished, ledger):
    for turn in range(10):
        folder = tmp_path / f"run-{turn}"
        second = []
        first = forked(train_in(folder), lambda pid: second.append(forked(train_in(folder))))  # noqa: B023
        both = [first, *second]
        harm = next((told.fault for told in both if told.fault), "")
        if not harm and sorted(told.status for told in both) not in ([0, 0], [0, 2]):
            harm = str([told.status for told in both])
        ledger.add("two processes, one run", harm or gone_on(folder, expected), turn)
    out = tmp_path / "e.safetensors"
    export = run_command("export", str(finished), "--out", str(out))
    for turn in range(10):
        second = []
        first = forked(export, lambda pid: second.append(forked(export)))  # noqa: B023
        statuses = [first.status, second[0].status]
        ledger.add("two processes, one output", "" if statuses == [0, 0] else first.err + second[0].err, turn)
        ledger.add("two processes, one output", command("export", str(finished), "--out", str(out)).fault, turn)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["e.safetensors"]
    ledger.close()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_of_torchrun(tmp_path, ledger, rank):
    """The others end too, without a hang, and the same command goes on."""
    settings = ["--preset", "digits-mlp", "--set", "epochs=400", "engine.device=cpu", "mask.density=0.1"]
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "figures.cli"]
    argv += ["train", *settings, "--out", str(tmp_path / "run")]
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 90
    while not metrics.exists() and time.monotonic() < until and started.poll() is None:
        time.sleep(0.2)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    ranks = {_rank(int(child)): int(child) for child in children}
    os.kill(ranks[rank], signal.SIGKILL)
    try:
        _, err = started.communicate(timeout=90)
        harm = "" if started.returncode else "status 0"
    except subprocess.TimeoutExpired:
        started.kill()
        harm, err = "it hangs", ""
    ledger.add("a killed process of torchrun", harm, f"rank {rank}: {err[-300:] if harm else ''}")
    told = forked(run_command("train", *settings, "--out", str(tmp_path / "run")), _terminate_soon)
    ledger.add("a killed process of torchrun", "" if told.status in (0, 75) else told.fault or told.err, "gone on")
    ledger.close()


def _rank(pid: int) -> int:
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((int(entry[5:]) for entry in environment if entry.startswith(b"RANK=")), -1)


def _terminate_soon(pid: int) -> None:
    time.sleep(3)
    os.kill(pid, signal.SIGTERM)
