"""Diagrams: chunks, refinement and a kill change nothing; files give back what was saved."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from commons import InputError
from commons.files import OldForm
from dynamics import phase
from dynamics.phase import alone, phase_diagram
from dynamics.results import PhaseDiagram, Sweep
from theory import Chart, ChartFlow, Identity, SignIn, Standard


@dataclass(frozen=True)
class Scaled(Chart):
    """θ = ku, in a class whose name alone does not tell its flows apart."""

    k: float

    def chart(self, u):
        return self.k * u


def test_chunk_size_changes_nothing():
    whole = phase_diagram(SignIn(1.0, 0.5), grid=33)
    small = phase_diagram(SignIn(1.0, 0.5), grid=33, chunk=100)
    assert np.array_equal(whole.outcome, small.outcome)


@pytest.mark.parametrize("flow", [Standard(), SignIn(1.0, 0.5)], ids=str)
def test_refinement_gives_the_same_labels(flow):
    full, refined = phase_diagram(flow, grid=50), phase_diagram(flow, grid=50, refine=True)
    assert np.array_equal(full.outcome, refined.outcome)


def test_refinement_integrates_few_cells(monkeypatch):
    monkeypatch.setattr(phase, "AUDIT", 16)
    refined = phase_diagram(SignIn(1.0, 0.5), grid=129, refine=True)
    assert refined.agreement == 1
    assert refined.settings["integrated"] < 129**2 / 8


def test_saved_diagram_is_read_back(tmp_path):
    diagram = phase_diagram(Standard(), grid=17)
    diagram.save(tmp_path / "d.npz")
    again = PhaseDiagram.load(tmp_path / "d.npz")
    assert np.array_equal(diagram.outcome, again.outcome)
    assert np.array_equal(diagram.time, again.time, equal_nan=True)
    assert (again.settings, again.agreement) == (diagram.settings, diagram.agreement)
    with pytest.raises(InputError, match="sweep"):
        Sweep.load(tmp_path / "d.npz")


def test_finished_chunks_are_not_integrated_again(tmp_path, monkeypatch):
    first = phase_diagram(Standard(), grid=16, chunk=64, parts=tmp_path)
    monkeypatch.setattr(phase, "integrate", None)
    assert np.array_equal(phase_diagram(Standard(), grid=16, chunk=64, parts=tmp_path).outcome, first.outcome)
    with pytest.raises(TypeError):
        phase_diagram(SignIn(1.0, 0.5), grid=16, chunk=64, parts=tmp_path)


def test_damaged_chunk_is_integrated_again(tmp_path):
    first = phase_diagram(Standard(), grid=16, chunk=64, parts=tmp_path)
    next(tmp_path.glob("rows-*")).write_bytes(b"no archive")
    assert np.array_equal(phase_diagram(Standard(), grid=16, chunk=64, parts=tmp_path).outcome, first.outcome)


def test_undecided_starts_are_no_agreement():
    assert phase_diagram(Standard(), grid=8, horizon=1e-3).agreement == 0


@pytest.mark.slow
def test_killed_diagram_goes_on(tmp_path):
    command = (
        "from dynamics import phase_diagram\nfrom theory import SignIn\n"
        f"phase_diagram(SignIn(1.0, 0.5), grid=96, chunk=960, parts={str(tmp_path)!r})"
    )
    child = subprocess.Popen([sys.executable, "-c", command])
    while child.poll() is None and len(list(tmp_path.glob("rows-*"))) < 2:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    resumed = phase_diagram(SignIn(1.0, 0.5), grid=96, chunk=960, parts=tmp_path)
    assert np.array_equal(resumed.outcome, phase_diagram(SignIn(1.0, 0.5), grid=96, chunk=960).outcome)


@pytest.mark.parametrize("wrong", [{"grid": 1}, {"extent": 0.0}, {"chunk": 0}, {"rtol": 0.0}], ids=str)
def test_mistakes_get_one_line(wrong):
    with pytest.raises(InputError):
        phase_diagram(Standard(), **wrong)


def test_a_diagram_of_an_older_version_is_read_and_said_to_be_one(tmp_path):
    new = phase_diagram(SignIn(1.0, 0.25), grid=8)
    flows = {"SignIn": {"beta_a": "1.0", "beta_w": "0.25"}, "ChartFlow": {"chart_a": "{}", "chart_w": "{'beta': 1.0}"}}
    for name, values in flows.items():
        path, settings = tmp_path / f"{name}.npz", {**new.settings, "flow": {"name": name, **values}}
        np.savez(
            path, outcome=new.outcome, a=new.a, w=new.w, time=new.time, agreement=1.0, settings=json.dumps(settings),
            kind="phase",
        )  # fmt: skip
        with pytest.warns(OldForm, match="older form") as told:
            old = PhaseDiagram.load(path)
        assert len(told) == 1
        assert "\n" not in str(told[0].message)
        assert np.array_equal(old.outcome, new.outcome)
        assert old.flow == (SignIn(1.0, 0.25) if name == "SignIn" else None)
        assert old.label == ("Sign-In, β_a = 1, β_w = 0.25" if name == "SignIn" else old.label)
        assert name == "SignIn" or "beta" in old.label
        old.save(tmp_path / "new.npz")
        assert PhaseDiagram.load(tmp_path / "new.npz").label == old.label


def test_a_diagram_in_float32_needs_no_tolerance_of_yours():
    diagram = phase_diagram(Standard(), grid=17, dtype=torch.float32)
    assert diagram.agreement == 1
    assert diagram.settings["rtol"] == 1e-5


def test_chunks_of_another_chart_are_not_taken(tmp_path):
    first, second = ChartFlow(Identity(), Scaled(1.0)), ChartFlow(Identity(), Scaled(4.0))
    phase_diagram(first, grid=16, parts=tmp_path)
    again = phase_diagram(second, grid=16, parts=tmp_path)
    assert np.array_equal(again.time, phase_diagram(second, grid=16).time, equal_nan=True)


def test_one_output_has_one_writer(tmp_path):
    out = tmp_path / "d.npz"
    with alone(out) as parts:
        assert parts.is_dir()
        with pytest.raises(InputError, match="another process"), alone(out):
            pass
        assert parts.is_dir()
        (parts / "rows-000000.npz").touch()
    assert parts.is_dir()
    (parts / "rows-000000.npz").unlink()
    with alone(out):
        pass
    assert not parts.exists()


def test_help_needs_neither_sympy_nor_torch():
    probe = "import sys, dynamics.__main__; sys.exit(bool({'sympy', 'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
