import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def command(out: Path) -> list[str]:
    """Without kept results, which may change."""
    return [
        sys.executable,
        "-m",
        "figures",
        "reproduce",
        "--out",
        str(out),
        "--seeds",
        "3",
        "--grid",
        "16",
        "--bench",
        "0.02",
        "--results",
        str(out.parent),
    ]


@pytest.mark.slow
def test_a_killed_reproduction_ends_with_the_tables_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ended = subprocess.run(command(whole), cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "| claim" in ended.stdout

    process = subprocess.Popen(
        command(killed), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while len(list(killed.glob("*/**/summary.json"))) < 20:
        assert process.poll() is None
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    again = subprocess.run(command(killed), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr

    tables = sorted(path.name for path in (whole / "tables").iterdir())
    assert len(tables) == 30
    for name in tables:
        assert (killed / "tables" / name).read_bytes() == (whole / "tables" / name).read_bytes(), name
    assert {path.name for path in (whole / "figures").iterdir()} == {p.name for p in (killed / "figures").iterdir()}

    refused = subprocess.run(command(killed), cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
