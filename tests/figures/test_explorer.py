"""The explorer's mathematics against theory/ and dynamics/, and the page itself, in headless Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.chromium import PROGRAM, Page, chromium

from dynamics import gradient_descent, integrate
from dynamics.decay import integrate_decay
from dynamics.outcome import Reason
from figures.__main__ import main
from figures.explorer import write_explorer
from theory import fate, recovers, separatrix
from theory.flows import FLOWS, Flow, SignIn, Standard

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
SHOWN: list[tuple[str, dict[str, float]]] = [
    ("standard", {}),
    ("layer-rates", {"rate_a": 1.0, "rate_w": 0.25}),
    ("sign-in", {"beta_a": 1.0, "beta_w": 0.25}),
    ("sign-in", {"beta_a": 0.3, "beta_w": 0.3}),
    ("unit-speed", {"beta_a": 0.25, "beta_w": 1.0}),
    ("ham", {"alpha_a": 8.0, "alpha_w": 2.0}),
    ("power", {"p": 0.5}),
    ("power", {"p": 2.0}),
    ("sign-descent", {}),
]
IDS = [name + "".join(f",{key}={value:g}" for key, value in given.items()) for name, given in SHOWN]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    file = tmp_path_factory.mktemp("explorer") / "explorer.html"
    write_explorer(file)
    with chromium() as tab:
        tab.open(file)
        yield tab


def made(name: str, given: dict[str, float]) -> Flow:
    return FLOWS[name](**given)


def flow_text(name: str, given: dict[str, float]) -> str:
    return f"makeFlow({json.dumps(name)}, {json.dumps(given)})"


@pytest.mark.parametrize(("name", "given"), SHOWN, ids=IDS)
def test_the_basin_is_that_of_theory_on_a_grid(page: Page, name: str, given: dict[str, float]) -> None:
    axis = np.linspace(-2, 2, 161)
    here = page.evaluate(
        f"(() => {{ const flow = {flow_text(name, given)}, axis = {axis.tolist()};"
        " return axis.map(a => axis.map(w => fate(flow, a, w))) })()"
    )
    a, w = np.meshgrid(axis, axis, indexing="ij")
    assert (np.array(here) == fate(a, w, made(name, given))).all()


@pytest.mark.parametrize(("name", "given"), SHOWN, ids=IDS)
def test_the_edge_that_is_drawn_is_the_separatrix(page: Page, name: str, given: dict[str, float]) -> None:
    a, w = separatrix(made(name, given), 200, 2.0)
    drawn = page.evaluate(
        f"(() => {{ const flow = {flow_text(name, given)}; return {a.tolist()}.map(a => edge(flow, a)) }})()"
    )
    assert drawn == pytest.approx(w.tolist(), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "given"), SHOWN, ids=IDS)
def test_its_integrator_agrees_with_dynamics(page: Page, name: str, given: dict[str, float], count: int) -> None:
    starts = np.random.default_rng(5).uniform(-2, 2, (2, count))
    flow = made(name, given)
    for horizon in (0.4, 5.0):
        # where a chart is rough, dynamics leaves w at the root of its rounding beside the wall
        rtol = 1e-13 if name == "power" else 1e-11
        ends = integrate(flow, *starts, horizon=horizon, rtol=rtol, arrival=1e-9, max_steps=100_000)
        there = np.stack([ends.a, ends.w])
        assert np.isin(ends.reason, (Reason.STEPS, Reason.ROUNDOFF)).sum() == 0
        here = page.evaluate(
            f"(() => {{ const flow = {flow_text(name, given)}, a = {starts[0].tolist()}, w = {starts[1].tolist()};"
            f" return a.map((x, i) => {{ const end = follow(flow, x, w[i], {{ until: {horizon} }}).points.at(-1);"
            " return [end.a, end.w] }) })()"
        )
        assert np.abs(np.array(here).T - there).max() < 1e-6


def test_every_start_that_it_decides_it_decides_as_the_theorem(page: Page) -> None:
    starts = np.random.default_rng(7).uniform(-2, 2, (2, 200))
    for name, given in SHOWN:
        ends = page.evaluate(
            f"(() => {{ const flow = {flow_text(name, given)}, w = {starts[1].tolist()};"
            f" return {starts[0].tolist()}.map((a, i) => follow(flow, a, w[i], {{ until: 200 }}).end) }})()"
        )
        decided = np.array(ends) != "moving"
        assert decided.mean() > 0.5
        assert ((np.array(ends) == "recovers") == recovers(*starts, made(name, given)))[decided].all()


def test_decay_of_the_factors_is_that_of_dynamics(page: Page) -> None:
    rng = np.random.default_rng(11)
    starts = np.stack([rng.uniform(-1, 2, 200), rng.uniform(0.2, 2, 200)])
    ends = integrate_decay(SignIn(1.0, 0.25), *starts, weight_decay=0.07, horizon=3.0, rtol=1e-11)
    there = np.stack([ends.a, ends.w, ends.beta_a, ends.beta_w])
    here = page.evaluate(
        f"(() => {{ const flow = makeFlow('sign-in', {{ beta_a: 1, beta_w: 0.25 }}), w = {starts[1].tolist()};"
        f" return {starts[0].tolist()}.map((a, i) => {{"
        " const { points, betas } = follow(flow, a, w[i], { until: 3, decay: 0.07 }), end = points.at(-1);"
        " return [end.a, end.w, betas.a(end.t), betas.w(end.t)] }) })()"
    )
    assert np.abs(np.array(here).T - there).max() < 1e-6


@pytest.mark.parametrize("given", [{}, {"decay": 0.05}, {"decay": 0.05, "reset": 7}])
@pytest.mark.parametrize("name", ["standard", "sign-in"])
def test_steps_are_those_of_dynamics(page: Page, name: str, given: dict[str, float]) -> None:
    starts = np.random.default_rng(13).uniform(-2, 2, (2, 300))
    flow = SignIn(1.0, 0.25) if name == "sign-in" else Standard()
    there = gradient_descent(
        *starts, lr=0.3, steps=40, flow=flow, weight_decay=given.get("decay", 0.0), reset_every=given.get("reset", 0)
    )
    settings = json.dumps({"lr": 0.3, "steps": 40, **given})
    here = np.array(
        page.evaluate(
            f"(() => {{ const flow = makeFlow('{name}', {{ beta_a: 1, beta_w: 0.25 }}), w = {starts[1].tolist()};"
            f" return {starts[0].tolist()}.map((a, i) => {{ const end = descend(flow, a, w[i], {settings}).at(-1);"
            " return [end.a, end.w] }) })()"
        )
    ).T
    assert np.abs(here - np.stack([there.a, there.w])).max() < 1e-9


@pytest.mark.parametrize(("name", "given"), SHOWN, ids=IDS)
def test_small_steps_follow_the_flow(page: Page, name: str, given: dict[str, float]) -> None:
    text = flow_text(name, given)
    end, last = page.evaluate(
        f"(() => {{ const flow = {text}, of = ({{ a, w }}) => [a, w];"
        " return [of(follow(flow, -0.4, 1.1, { until: 1 }).points.at(-1)),"
        " of(descend(flow, -0.4, 1.1, { lr: 1e-4, steps: 10000 }).at(-1))] })()"
    )
    assert last == pytest.approx(end, abs=5e-4)


def test_noise_has_the_size_of_a_batch_of_eight(page: Page) -> None:
    slopes = np.array(
        page.evaluate(
            "(() => { const normal = normals(3);"
            " return Array.from({ length: 20000 }, () => noisyGradient(0.5, 1, 0.7, normal)) })()"
        )
    )
    exact = page.evaluate("gradient(0.5, 1)")
    assert slopes.mean(0) == pytest.approx(exact, abs=0.01)
    # mean of x² over x > 0 of 8 normal inputs: variance (3/2 − ¼)/8; the noise adds ½·0.7²/8
    assert slopes[:, 0].var() == pytest.approx(((2 * exact[0]) ** 2 * 1.25 + 0.5 * 0.49) / 8, rel=0.05)


@pytest.mark.parametrize("widths", [(360,), pytest.param((360, 768, 1280), marks=pytest.mark.slow)])
def test_the_page_asks_for_nothing_and_complains_of_nothing(
    widths: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.html"
    assert main(["explorer", "--out", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    assert "<script src" not in file.read_text()
    with chromium() as tab:
        tab.open(file)
        for width in widths:
            for dark in (False, True):
                tab.look(width, dark=dark)
                for k in range(tab.evaluate("PRESETS.length")):
                    tab.evaluate(f"showPreset({k}); draw()")
                    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert tab.complaints == []
        assert tab.requests == [file.resolve().as_uri()]


def test_the_address_restores_the_state(page: Page) -> None:
    for address in page.evaluate("PRESETS.map(({ address }) => address)"):
        whole = page.evaluate(f"writeAddress(readAddress({json.dumps(address)}))")
        assert page.evaluate(f"writeAddress(readAddress({json.dumps(whole)}))") == whole
        for part in address.split("&"):
            assert part in whole
    broken = page.evaluate("readAddress('#first=__proto__,x&a=NaN&lr=-1&show=constructor&time=1e99')")
    assert (broken["first"]["name"], broken["a"], broken["lr"], broken["time"]) == ("sign-in", -1.2, 0.005, 200)


def test_hand_and_keys_move_the_start_and_an_svg_holds_the_picture(page: Page) -> None:
    page.look(1280)
    page.evaluate("showPreset(2); draw()")
    box: dict[str, Any] = page.evaluate("document.querySelector('.plane').getBoundingClientRect().toJSON()")
    x, y = page.evaluate(f"projection({box['width']}, 2).place(0.5, 1.5)")
    place = {"x": box["x"] + x, "y": box["y"] + y, "button": "left", "clickCount": 1}
    page.send("Input.dispatchMouseEvent", type="mousePressed", **place)
    page.send("Input.dispatchMouseEvent", type="mouseReleased", **place)
    assert page.evaluate("[state.a, state.w]") == pytest.approx([0.5, 1.5], abs=0.02)
    page.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
    assert page.evaluate("state.a") == pytest.approx(0.46, abs=0.02)
    assert page.evaluate("new Promise(done => setTimeout(() => done(location.hash.includes('a=0.4')), 600))")
    svg = page.evaluate("pictureSvg().text")
    faults = (
        f"new DOMParser().parseFromString({json.dumps(svg)}, 'image/svg+xml').querySelectorAll('parsererror').length"
    )
    assert page.evaluate(faults) == 0
    assert svg.count("<path") > 20
    assert svg.count("M") > 400  # the arrows
