"""A configuration survives TOML, refuses what it does not know with the nearest name, and presets say their source."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from commons import InputError
from sparse_training.methods import METHODS
from sparse_training.reparam import REPARAMS
from sparse_training.runs.config import Config, presets

CHANGES = [
    ["optimizer=adamw", "optimizer.betas=[0.9, 0.95]", "schedule=triangular"],
    ["reparam=sign-in", "reparam.beta=[0.5, 2]", "reparam.momentum=transport", "mask.density=0.05"],
    ["schedule=step", "schedule.drops=[1, 2.5]", 'source="a \\"quoted\\" source"'],
]


@pytest.mark.parametrize("name", presets())
def test_presets_read_and_name_their_source(name: str) -> None:
    config = Config.preset(name)
    assert config.source
    assert Config.from_tree(tomllib.loads(config.to_toml())) == config


@pytest.mark.parametrize(
    "changes", [*CHANGES, *([f"method={m}"] for m in METHODS), *([f"reparam={r}"] for r in REPARAMS)]
)
def test_toml_keeps_every_value(changes: list[str]) -> None:
    config = Config().with_set(changes)
    assert Config.from_tree(tomllib.loads(config.to_toml())) == config
    assert config != Config() or changes in (["method=static"],)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.lrr=1", "optimizer.lrr; did you mean lr?"),
        ("optimiser.lr=1", "optimiser; did you mean optimizer?"),
        ("reparam=signin", "did you mean sign-in?"),
        ("reparam=nome", "did you mean none?"),
        ("method=none", "method.name='none' is not one of static"),
        ("method=sparse_training.runs:Config", "is not a subclass of Method"),
        ("preset.x=1", "unknown setting preset"),
        ("epochs=many", "epochs='many' is not of type int"),
        ("epochs=0", "epochs=0"),
        ("mask.density=12", "did you mean 0.12?"),
        ("reparam.beta=0", "reparam.beta"),
        ("optimizer.lr", "field=value"),
        ("optimizer=3", "a section"),
        ("data=digits", "a section"),
    ],
)
def test_mistakes_get_one_line(setting: str, message: str) -> None:
    config = Config().with_set(["reparam=sign-in"]) if setting == "reparam.beta=0" else Config()
    with pytest.raises(InputError) as caught:
        config.with_set([setting])
    text = str(caught.value)
    assert message.removeprefix("reparam.") in text
    assert "\n" not in text


def test_a_new_variant_starts_from_its_own_defaults() -> None:
    config = Config().with_set(["optimizer.lr=0.7"])
    assert config.with_set(["optimizer=sgd"]).optimizer.lr == 0.7
    assert config.with_set(["optimizer=adamw"]).optimizer == Config().with_set(["optimizer=adamw"]).optimizer


def test_undefined_combinations_are_refused() -> None:
    with pytest.raises(InputError, match="defined with method='rigl'"):
        Config().with_set(["method=rigl", "reparam=spred"])


OUTSIDE = """
from dataclasses import dataclass
from typing import ClassVar

from sparse_training.methods import Static
from sparse_training.reparam import SignIn
from sparse_training.runs.optimizers import SGD, Constant


@dataclass(frozen=True)
class Method(Static):
    every: int = 7


@dataclass(frozen=True)
class Reparam(SignIn):
    strength: float = 0.5


@dataclass(frozen=True)
class Optimizer(SGD):
    warmth: float = 1.0


@dataclass(frozen=True)
class Schedule(Constant):
    floor: float = 0.0
"""


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("method", "every", 3), ("reparam", "strength", 0.25), ("optimizer", "warmth", 2.0), ("schedule", "floor", 0.1)],
)
def test_a_part_from_outside_is_configured_and_stored_under_the_name_that_loads_it(
    section: str, field: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_variants.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"outside_variants:{section.title()}"
    config = Config().with_set([f"{section}={name}", f"{section}.{field}={value}"])
    assert getattr(getattr(config, section), field) == value
    tree = tomllib.loads(config.to_toml())
    assert tree[section]["name"] == name
    assert Config.from_tree(tree) == config
    found = type(getattr(config, section))
    assert replace(config, **{section: found()}).tree()[section]["name"] == name
