"""What every flow owes, one table: its exact basin, its invariant, its description, a saved and drawn diagram.

A flow registered in `theory.FLOWS` is tested here without another line, and so is one made of charts of one's own.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.integrate import solve_ivp

from dynamics import Outcome, PhaseDiagram, integrate, phase_diagram, sample_paths
from dynamics.__main__ import main
from figures.phase_diagrams import mathematics, phase_figure
from figures.style import paper_style
from theory import (
    FLOWS,
    HAM,
    Chart,
    ChartFlow,
    Flow,
    Identity,
    LayerRates,
    MetricChart,
    SignDescent,
    SignIn,
    SignInSignDescent,
    UnitSpeed,
    invariant,
    margin,
    recovers,
)
from theory.flows import restored

AXIS = np.linspace(-2, 2, 33)


@dataclass(frozen=True)
class Cubic(Chart):
    k: float = 1.0

    def chart(self, u: sp.Expr) -> sp.Expr:
        return u + sp.nsimplify(self.k) * u**3


@dataclass(frozen=True)
class Rising(MetricChart):
    """A metric whose latent coordinate nobody needs to know."""

    k: float = 1.0

    def metric_expression(self, theta: sp.Expr) -> sp.Expr:
        return 1 + sp.nsimplify(self.k) * theta**2


REGISTERED = {name: maker() for name, maker in FLOWS.items()}
UNEQUAL = {
    "sign-in, β_a > β_w": SignIn(1.0, 0.25),
    "layer rates, η_a > η_w": LayerRates(1.0, 0.25),
    "unit speed, β_a > β_w": UnitSpeed(1.0, 0.25),
    "ham, α_a < α_w": HAM(2.0, 8.0),
    "steps of power 1/2": SignDescent(1.5),
    "sign-in, λ_a > λ_w": SignInSignDescent(1.0, 0.25),
    "sign-in, λ_a < λ_w, q = 3/2": SignInSignDescent(0.25, 1.0, 1.5),
}
OWN = {
    "cubic": ChartFlow(Identity(), Cubic()),
    "cubic, k = 2": ChartFlow(Identity(), Cubic(2.0)),
    "cubic a": ChartFlow(Cubic(), Identity()),
    "a metric alone": ChartFlow(Rising(2.0), Rising()),
}
ALL = {**REGISTERED, **UNEQUAL, **OWN}


def each(flows: dict[str, Flow]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("flow", flows.values(), ids=flows)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@each(ALL)
def test_integration_finds_the_exact_basin(flow: Flow) -> None:
    a, w = AXIS[:, None], AXIS[None]
    clear = np.abs(margin(a, w, flow)) > 1e-9
    found = integrate(flow, a, w).outcome == Outcome.RECOVERED
    assert np.array_equal(found[clear], recovers(a, w, flow)[clear])


@each(ALL)
def test_the_invariant_is_kept_along_paths(flow: Flow) -> None:
    a0, w0 = np.array([1.2, 0.4, 0.9, 1.5, -0.3]), np.array([0.7, 1.3, -1.2, -0.5, 1.4])
    a, w = sample_paths(flow, a0, w0, np.linspace(0, 2, 9), rtol=1e-10)
    alone = np.minimum.accumulate(w * np.sign(w0), axis=0) > 0.05  # on its own side of the kink, and not close to it
    assert alone[:, :2].all()
    drift = np.abs(invariant(a, w, flow) - invariant(a0, w0, flow))
    assert drift[alone].max() < 1e-7


@each(ALL)
def test_paths_are_those_of_a_plain_integrator(flow: Flow) -> None:
    """The slow twin: SciPy, one start after the other, in (a, w), with the metric in numbers and the loss by hand."""

    def field(_: float, point: np.ndarray) -> list[float]:
        a, w = point
        residual = a * w - (w > 0)
        slopes = np.array([residual * w, residual * a]) / 2
        drives = np.sign(slopes) * np.abs(slopes) ** (flow.exponent - 1)
        speed_a, speed_w = flow.a.metric(np.array([a]))[0], flow.w.metric(np.array([w]))[0]
        return [-speed_a * drives[0], -speed_w * drives[1]]

    def arrives(_: float, point: np.ndarray) -> float:
        """0 where sign descent comes to its kinks: near the teacher, and where a weight comes to 0."""
        return min(abs(point[0] * point[1] - 1) - 1e-2, *np.abs(point) - 1e-2) if flow.exponent < 2 else 1.0

    arrives.terminal = True  # type: ignore[attr-defined]
    times, compared = np.array([0.0, 0.1, 0.3, 1.0]), 0
    for a0, w0 in [(0.3, 0.8), (1.5, 1.2), (-0.2, 1.4), (0.5, -1.2), (-1.0, -0.8)]:
        found = solve_ivp(field, (0, 1), [a0, w0], t_eval=times, rtol=1e-10, atol=1e-12, events=arrives)
        slow = found.y
        if (np.sign(slow[1]) == np.sign(w0)).all():
            fast = np.concatenate(sample_paths(flow, a0, w0, found.t), axis=1).T
            np.testing.assert_allclose(fast, slow, rtol=1e-7, atol=1e-8)
            compared += slow.shape[1] - 1
    assert compared >= 4


@each(ALL)
def test_a_description_is_plain_and_no_other_flow_has_it(flow: Flow) -> None:
    described = flow.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["label"] == flow.label
    assert "\n" not in flow.label
    assert len(flow.label) > 5
    assert [name for name, other in ALL.items() if other.describe() == described and other != flow] == []
    assert [name for name, other in ALL.items() if other.label == flow.label and other != flow] == []


@each({**REGISTERED, **UNEQUAL})
def test_a_registered_flow_is_restored_from_its_description(flow: Flow) -> None:
    assert flow.name in FLOWS
    assert restored(json.loads(json.dumps(flow.describe()))) == flow


@each(OWN)
def test_a_flow_of_ones_own_is_told_in_words_and_never_executed(flow: Flow) -> None:
    assert restored(flow.describe()) is None
    told = [flow.a.describe(), flow.w.describe()]
    assert [chart for chart in told if "u + u**3" in str(chart) or "u**3 + u" in str(chart) or "theta**2" in str(chart)]


@each(ALL)
def test_a_diagram_is_saved_loaded_and_drawn(flow: Flow, tmp_path: Path) -> None:
    diagram = phase_diagram(flow, grid=12)
    assert diagram.agreement == 1
    diagram.save(tmp_path / "d.npz")
    again = PhaseDiagram.load(tmp_path / "d.npz")
    assert again.settings == diagram.settings
    assert again.label == flow.label
    assert np.array_equal(again.edge, diagram.edge)
    assert np.abs(margin(*again.edge[0], flow)).max() < 1e-9
    assert again.flow == (flow if flow.name in FLOWS else None)
    with paper_style():
        for drawn in (diagram, again):
            axes = phase_figure(drawn).axes[0]
            assert mathematics(flow.label).split(",")[0] in axes.get_title("left")
            assert sum(len(line.get_xdata()) == diagram.edge.shape[-1] for line in axes.lines) == len(diagram.edge)


@pytest.mark.parametrize("name", REGISTERED)
def test_the_command_line_takes_each_flow_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d.npz"
    monkeypatch.setattr(sys, "argv", ["dynamics", "phase", "--flow", name, "--grid", "8", "--out", str(out)])
    assert main() == 0
    assert "1.000000" in capsys.readouterr().out
    assert PhaseDiagram.load(out).flow == REGISTERED[name]
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]


OUTSIDE = """
from dataclasses import dataclass
from theory import Chart, ChartFlow, Identity

@dataclass(frozen=True)
class Cubic(Chart):
    k: float
    def chart(self, u):
        return u + self.k * u**3

def cubic(k):
    return ChartFlow(Identity(), Cubic(k))
"""


def test_a_flow_from_outside_brings_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flows_of_mine.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    out, flow = tmp_path / "d.npz", "flows_of_mine:cubic"

    def run(*more: str) -> int:
        command = ["dynamics", "phase", "--flow", flow, "--grid", "8", "--out", str(out), *more]
        monkeypatch.setattr(sys, "argv", command)
        return main()

    assert run("--k", "2") == 0
    assert PhaseDiagram.load(out).settings["flow"]["w"]["k"] == 2
    for wrong in ([], ["--k", "nan"], ["--beta-a", "1"]):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="2"):
            run(*wrong)
        assert capsys.readouterr().err.count("\n") == 1


def test_a_registered_flow_gets_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FLOWS["cubic"] = lambda cubic_k=1.0: ChartFlow(Identity(), Cubic(cubic_k))
    try:
        out = tmp_path / "d.npz"
        command = ["dynamics", "phase", "--flow", "cubic", "--cubic-k", "2", "--grid", "8", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", command)
        assert main() == 0
        assert PhaseDiagram.load(out).label == OWN["cubic, k = 2"].label
    finally:
        del FLOWS["cubic"]
