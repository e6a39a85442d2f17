"""Recorded steps are those of the same operators called one by one, whatever method, reparametrization or optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from sparse_training.methods import METHODS, Static, Training, unmet_need
from sparse_training.reparam import REPARAMS, SCALINGS
from sparse_training.runs.config import Config
from sparse_training.training.loop import train
from tests.sparse_training.training.replay import Replay, stand_in

ACTING = {  # settings under which each method acts within two epochs of three steps
    "gmp": ["method.begin_at=0.2", "method.every=1"],
    "rigl": ["method.every=2"],
    "str": ["method.initial=-3.0"],
    "imp": ["method.share=0.6"],
    "lrr": ["method.share=0.6"],
}
CASES = {f"{method} none": [f"method={method}", *ACTING.get(method, [])] for method in METHODS}
CASES |= {
    f"{method} {reparam}": [f"method={method}", f"reparam={reparam}", *ACTING.get(method, [])]
    for method in ("acdc", "rigl")
    for reparam, kind in REPARAMS.items()
    if not unmet_need(METHODS[method](), kind())
}
CASES |= {f"static {reparam}": [f"reparam={reparam}"] for reparam in REPARAMS}
CASES |= {f"scaling {name}": [f"scaling={name}", "reparam=ham", "method=set"] for name in SCALINGS}
CASES |= {"layer rates": ["scaling=layer-rates", "scaling.first=2.0", "reparam=unit-speed"]}
CASES |= {
    f"active {name}": [f"reparam={name}", "reparam.storage=active"]
    for name in REPARAMS
    if "storage" in REPARAMS[name].__dataclass_fields__
}
CASES |= {"in pieces": ["engine.accumulate=2", "reparam=sign-in", "method=acdc"]}
CASES |= {"adamw": ["optimizer=adamw", "reparam=sign-in", "reparam.momentum=transport", "method=acdc"]}
CASES |= {"nesterov, clip": ["optimizer.nesterov=true", "clip=0.5", "reparam=ham", "optimizer.weight_decay=1e-3"]}

TEXT = ["data.name=python-text", "data.crops=24", "data.context=16", "data.test_crops=8", "batch_size=8", "model=gpt"]
TEXT += ['mask.include=["blocks.*"]', "optimizer=adamw", "clip=1.0"]
CASES |= {
    "text, clocks": [*TEXT, "method=rigl", "method.every=2", "optimizer.clock=weight", "optimizer.grown_warm_up=2"]
}
CASES |= {"text, pieces": [*TEXT, "reparam=sign-in", "engine.accumulate=2"]}
QUICK = ("acdc sign-in", "rigl ham", "set none", "str none", "imp none", "static pilot", "static unit-speed")
QUICK += ("active sign-in", "in pieces", "scaling root-density", "adamw", "nesterov, clip", "text, clocks")
EVERY = [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize("case", EVERY)
def test_recorded_steps_are_those_of_operators_called_one_by_one(
    digits: Callable[..., Config],
    same: Callable[[Path, Path], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    config = digits("engine.graphs=true", "mask.density=0.2", "batch_size=512", *CASES[case])
    for name, recorded in (("one-by-one", False), ("recorded", True)):
        stand_in(monkeypatch, recorded)
        train(config, tmp_path / name)
        assert Replay.made == (0 if not recorded else 1 if "root-density" in case else 2)
    assert same(tmp_path / "one-by-one", tmp_path / "recorded")


@pytest.mark.parametrize(
    "case", ["adamw", "rigl ham", "text, clocks", pytest.param("layer rates", marks=pytest.mark.slow)]
)
def test_a_recorded_run_goes_on_bit_for_bit(
    digits: Callable[..., Config], goes_on: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    stand_in(monkeypatch, recorded=True)
    assert goes_on(digits("engine.graphs=true", "mask.density=0.2", "batch_size=512", *CASES[case]), 1)


@dataclass(frozen=True)
class Moving(Static):
    """A method that gives parameters another storage after the second step, which none should."""

    name: ClassVar[str] = "moving"

    def on_step(self, training: Training) -> None:
        if training.step == 2:
            for parameter in training.model.parameters():
                parameter.data = parameter.data.clone()


def test_what_moved_is_recorded_anew(
    digits: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, Moving.name, Moving)
    stand_in(monkeypatch, recorded=True)
    train(digits("engine.graphs=true", "method=moving", "epochs=1"), tmp_path / "run")
    assert Replay.made == 4
