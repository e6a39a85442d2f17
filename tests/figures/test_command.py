import os
import subprocess
import sys
from pathlib import Path

import pytest

from figures.__main__ import main

ROOT = Path(__file__).parents[2]


def figures(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "figures", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reproduse"], "reproduse"),
        (["reproduce", "--out", "{tmp}/a", "--sed", "3"], "did you mean --seeds?"),
        (["reproduce", "--out", "{tmp}/a", "--seeds", "x"], "--seeds"),
        (["reproduce", "--out", "{tmp}/a", "--seeds", "2"], "seeds=2 is not an integer in [3, inf)"),
        (["reproduce", "--out", "{tmp}/a", "--device", "abacus"], "device='abacus' is not usable here"),
        (["reproduce", "--out", "{tmp}/file"], "cannot be written to"),
        (["reproduce", "--out", "{tmp}/foreign"], "not of a reproduction"),
        (["reproduce", "--out", "{tmp}/finished"], "--force"),
        (["reproduce", "--out", "{tmp}/other"], "unfinished run with"),
        (["reproduce", "--out", "{tmp}/other", "--force"], "earlier version"),
        (["reproduce", "--out", "{tmp}/damaged"], "settings.json' cannot be read"),
        (["phase", "{tmp}/absent.npz"], "absent.npz"),
        (["phases", "{tmp}/absent.npz"], "phase"),
        (["no_such_module:draw", "{tmp}/file"], "No module named"),
        (["phase", "{tmp}/file"], "is no whole .npz file"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(arguments: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, files in {"foreign": ["thesis.tex"], "finished": ["summary.json"], "other": ["settings.json"]}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text('{"device": "cpu", "seeds": 77, "grid": 16}')
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "settings.json").write_text("{")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ended = figures(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert told in ended.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_reproduction_that_a_signal_stops_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparse_training.training.loop import PreemptedError

    def stopped(*_: object, **__: object) -> None:
        raise PreemptedError("stopped by a signal; the same call goes on")

    monkeypatch.setattr("figures.reproduce.reproduce", stopped)
    assert main(["reproduce", "--out", str(tmp_path / "out")]) == os.EX_TEMPFAIL
    assert capsys.readouterr().err == "stopped by a signal; the same call goes on\n"


@pytest.mark.parametrize("room", ["theory", "dynamics", "sparse_training", "figures"])
def test_help_answers_without_torch_and_its_like(room: str) -> None:
    watch = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{room}', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'sympy', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", watch], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "usage" in ended.stdout
