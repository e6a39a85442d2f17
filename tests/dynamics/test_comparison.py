"""Flows side by side: what one recovers and the other does not, random starts at matched speeds, and decay."""

import sys
from pathlib import Path

import numpy as np
import pytest

from commons import InputError
from dynamics import (
    Outcome,
    PhaseDiagram,
    Reason,
    Sweep,
    by_quadrant,
    differences,
    flow_named,
    integrate_decay,
    integrate_factors,
    integrate_nd,
    phase_diagram,
)
from dynamics.__main__ import main
from dynamics.geometry import geometry, matched, starts, table
from figures.__main__ import main as draw
from theory import HAM, Flow, LayerRates, SignDescent, SignIn, UnitSpeed, beta_under_weight_decay, recovers, recovers_nd


@pytest.fixture(scope="module")
def pair() -> tuple[PhaseDiagram, PhaseDiagram]:
    return phase_diagram(SignIn(1.0, 0.25), grid=32), phase_diagram(LayerRates(1.0, 0.25), grid=32)


def test_sign_in_recovers_nothing_that_its_rates_do_not(pair: tuple[PhaseDiagram, PhaseDiagram]) -> None:
    code = differences(*pair)
    a, w = pair[0].a[:, None], pair[0].w[None]
    one, two = (recovers(a, w, diagram.flow) for diagram in pair if diagram.flow)
    assert np.array_equal(code, one + 2 * two)
    rows = {row["quadrant"]: row for row in by_quadrant(*pair)}
    assert {row["only the first"] for row in rows.values()} == {0}
    assert rows["a < 0, w > 0"]["only the second"] > 0.1
    assert rows["a > 0, w > 0"]["both"] == 1
    assert sum(row["starts"] for name, row in rows.items() if name != "all starts") == 32**2
    assert np.array_equal(differences(*reversed(pair)), np.array([0, 2, 1, 3])[code])


def test_undecided_is_neither_recovered_nor_failed(pair: tuple[PhaseDiagram, PhaseDiagram]) -> None:
    short = phase_diagram(SignIn(1.0, 0.25), grid=32, horizon=1e-3)
    assert (differences(short, pair[1])[short.outcome == Outcome.UNDECIDED] == -1).all()
    with pytest.raises(InputError, match="starts of the first"):
        differences(phase_diagram(SignDescent(), grid=8), pair[1])


@pytest.mark.parametrize(
    ("text", "flow"),
    [
        ("sign-in", SignIn()),
        ("sign-in,beta_a=2,beta-w=.25", SignIn(2.0, 0.25)),
        ("theory.flows:LayerRates, rate_w=3", LayerRates(1.0, 3.0)),
    ],
)
def test_a_flow_is_written_in_one_word(text: str, flow: Flow) -> None:
    assert flow_named("first", text) == flow


@pytest.mark.parametrize("text", ["sign-out", "sign-in,beta=1", "sign-in,beta_a=x", "ham,alpha_a", "sign-in,beta_a=-1"])
def test_a_mistake_in_it_is_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        flow_named("first", text)
    assert "\n" not in str(caught.value)


def test_the_command_compares_and_the_figure_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = ["sign-in,beta_w=0.25", "layer-rates,rate_w=0.25"]
    out = ["--grid", "16", "--out", str(tmp_path / "c.npz")]
    monkeypatch.setattr(sys, "argv", ["dynamics", "compare", *flows, *out])
    assert main() == 0
    assert "only the second" in capsys.readouterr().out
    files = [tmp_path / "c-first.npz", tmp_path / "c-second.npz"]
    assert [PhaseDiagram.load(file).flow for file in files] == [SignIn(1.0, 0.25), LayerRates(1.0, 0.25)]
    assert draw(["compare", *map(str, files)]) == 0
    assert (tmp_path / "c-first.png").exists()


def test_random_starts_recover_as_the_exact_basins_say(tmp_path: Path) -> None:
    sweep = geometry(count=24, scales=np.array([1.0]))
    exact = np.array(sweep.settings["exact"])
    decided = sweep.undecided == 0
    assert decided.mean() > 0.9
    np.testing.assert_allclose(sweep.rate[decided], exact[decided], atol=1e-12)
    rows = {row["flow"]: row for row in table(sweep, "balanced")}
    assert rows["Sign-In, β_a = 1, β_w = 0.25"]["own speeds"] == 1
    assert rows["unit speed, β_a = 1, β_w = 0.25"]["own speeds"] == 0
    assert rows["layer rates, η_a = 1, η_w = 0.25"]["matched speeds"] == 0
    sweep.save(tmp_path / "g.npz")
    assert Sweep.load(tmp_path / "g.npz").settings == sweep.settings
    assert draw(["geometry", str(tmp_path / "g.npz")]) == 0


@pytest.mark.parametrize("flow", [SignIn(1.0, 0.25), HAM(2.0, 8.0), SignDescent()], ids=str)
def test_matched_speeds_have_mean_one(flow: Flow) -> None:
    a, w = starts("Gaussian", 0.7, 1000, 0)
    at_rates = matched(flow, a, w)
    assert at_rates.exponent == flow.exponent
    assert at_rates.a.metric(a).mean() == pytest.approx(1)
    assert at_rates.w.metric(w).mean() == pytest.approx(1)


def test_at_matched_speeds_sign_in_and_its_unit_speed_are_one_flow() -> None:
    a, w = starts("Gaussian", 1.0, 500, 1)
    first, second = (matched(flow, a, w) for flow in (SignIn(1.0, 0.25), UnitSpeed(1.0, 0.25)))
    assert np.array_equal(recovers(a, w, first), recovers(a, w, second))


def test_decay_in_the_weights_is_decay_in_the_factors() -> None:
    flow, rng = SignIn(1.0, 0.25), np.random.default_rng(3)
    for side in (1, -1):
        a, w = rng.uniform(-1.5, 1.5, 20), side * rng.uniform(0.3, 1.5, 20)
        slow = integrate_factors(flow, a, w, horizon=1.5, weight_decay=0.2, rtol=1e-10)
        fast = integrate_decay(flow, a, w, horizon=1.5, weight_decay=0.2, rtol=1e-10)
        assert np.array_equal(slow.reason, fast.reason)
        for name in ("a", "w", "time"):
            np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(fast.beta_a, beta_under_weight_decay(1.0, 0.2, fast.time), rtol=1e-8)
        m, u = slow.factors[2:]
        np.testing.assert_allclose(m**2 - u**2, fast.beta_w, rtol=1e-6)


def test_with_beta_held_a_weight_rests_where_the_theorem_says() -> None:
    flow, decay = SignIn(1.0, 0.25), 0.05
    ends = integrate_decay(flow, [0.5, 1.5], [0.8, 1.2], horizon=500.0, weight_decay=decay, held=True, rtol=1e-10)
    assert (ends.reason == Reason.HORIZON).all()
    slope = (ends.a * ends.w - 1) * ends.w / 2
    np.testing.assert_allclose(slope, -2 * decay * ends.a / np.sqrt(4 * ends.a**2 + 1), rtol=1e-6)
    assert (ends.beta_a == 1).all()
    free = integrate_decay(flow, 0.5, 0.8, horizon=500.0, weight_decay=decay, rtol=1e-10)
    l1 = (free.a * free.w - 1) * free.w / 2  # β is gone, and |∂L/∂a| = λ as under ℓ₁
    assert l1 == pytest.approx(-decay, rel=1e-6)


def test_equal_charts_tilt_the_basin_of_many_inputs_by_the_exact_amount() -> None:
    """A start with a < 0 recovers iff a² is below ‖w‖² + ½Σ t_it_j over i < j, for one β at any speed."""
    rng = np.random.default_rng(4)
    w = rng.normal(size=(400, 3))
    for beta in (0.1, 1.0, 10.0):
        t = np.sqrt(4 * w**2 + beta**2) - beta
        bound = (w**2).sum(1) + ((t.sum(1)) ** 2 - (t**2).sum(1)) / 4
        a = -np.sqrt(bound) * rng.choice([0.999, 1.001], 400)
        for flow in (SignIn(beta, beta), UnitSpeed(beta, beta)):
            assert np.array_equal(recovers_nd(a, w, flow), a**2 < bound)


@pytest.mark.parametrize("flow", [LayerRates(1.0, 0.25), UnitSpeed(0.25, 1.0), HAM(2.0, 8.0)], ids=str)
def test_many_inputs_end_as_the_exact_basin_says(flow: Flow) -> None:
    rng = np.random.default_rng(5)
    a, w = rng.normal(size=60), rng.normal(size=(60, 3))
    ends = integrate_nd(flow, a, w)
    assert not (ends.outcome == Outcome.UNDECIDED).any()
    assert np.array_equal(ends.outcome == Outcome.RECOVERED, recovers_nd(a, w, flow))
    with pytest.raises(InputError, match="gradient flow"):
        integrate_nd(SignDescent(), a, w)
