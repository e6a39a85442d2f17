"""Every example of docs/extending.md adds its part from outside: one file of at most 30 lines, nothing edited here.

Each is used by the command line under `module:name`, is stored so that it is found again, and is then taken away.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commons import InputError
from commons.registry import Registry
from dynamics import PhaseDiagram
from figures.cli import main
from figures.drawing import FIGURES
from sparse_training.data import DATASETS
from sparse_training.masks import SCORES, Masks
from sparse_training.methods import METHODS
from sparse_training.models import MODELS
from sparse_training.reparam import REPARAMS
from sparse_training.runs import Run
from theory import FLOWS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL))
PARTS: dict[str, tuple[Registry[object], str]] = {
    "own_score": (SCORES, "score"),
    "own_method": (METHODS, "Halfway"),
    "own_reparam": (REPARAMS, "Triple"),
    "own_flow": (FLOWS, "flow"),
    "own_figure": (FIGURES, "accuracy"),
    "own_data": (DATASETS, "stripes"),
    "own_model": (MODELS, "linear"),
}  # type: ignore[assignment]
TRAIN = [
    "train",
    "--preset",
    "digits-mlp",
    "--epochs",
    "2",
    "--device",
    "cpu",
    "--density",
    "0.2",
    "--set",
    "batch_size=256",
]


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples as modules in the current folder, which no test before has imported."""
    for name, text in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [])


def call(words: list[str]) -> int:
    """The command as a shell would start it: `phase` looks for --flow among the words of the process."""
    sys.argv = ["sign-in", *words]
    return main()


def trained(*words: str) -> Run:
    assert call([*TRAIN, *words, "--out", "run"]) == 0
    return Run("run", trust=True)


def use_score() -> None:
    assert call(["masks", "--model", "mlp", "--data", "digits", "--density", "0.1", "--score", "own_score:score"]) == 0
    masks = Masks.load("masks.safetensors")
    assert masks.active == round(0.1 * masks.total)
    assert trained("--mask", "own_score:score:erk").config.mask.score == "own_score:score"


def use_method() -> None:
    run = trained("method.at=0.4", "--method", "own_method:Halfway")
    assert [run.masks(epoch).density for epoch in (0, 2)] == [1.0, pytest.approx(0.2, abs=1e-4)]
    assert 'name = "own_method:Halfway"\nat = 0.4\n' in run.config.to_toml()


def use_reparam() -> None:
    run = trained("optimizer.lr=0.4", "--reparam", "own_reparam:Triple")
    assert run.metrics()[-1]["test_accuracy"] > 50  # it learns, as someone who copies the example expects
    assert 'name = "own_reparam:Triple"' in run.config.to_toml()
    assert all(not weight[~run.masks()[name]].any() for name, weight in run.weights().items())


def use_flow() -> None:
    words = ["phase", "--flow", "own_flow:flow", "--k", "2", "--grid", "17", "--out", "cubic.npz"]
    assert call(words) == 0
    assert PhaseDiagram.load("cubic.npz").agreement == 1.0
    assert call(["figures", "phase", "cubic.npz"]) == 0


def use_figure() -> None:
    Path("one.csv").write_text("epoch,accuracy\n0,10\n1,90\n")
    assert call(["figures", "own_figure:accuracy", "one.csv"]) == 0
    assert Path("one.pdf").stat().st_size > 1000


def use_data() -> None:
    run = trained("data.name=own_data:stripes")
    assert run.summary["test_accuracy"] > 60
    assert run.config.code == ["own_data:stripes"]


def use_model() -> None:
    run = trained("--model", "own_model:linear")
    assert list(run.masks()) == ["1.weight"]
    assert run.model()[1].out_features == 10


USES = (use_score, use_method, use_reparam, use_flow, use_figure, use_data, use_model)


@pytest.mark.parametrize(("name", "use"), list(zip(PARTS, USES, strict=True)), ids=PARTS)
def test_a_part_from_outside_is_used_by_the_command_line(
    name: str, use: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(EXAMPLES[name].splitlines()) <= 30
    use()


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_registered_and_taken_away(name: str) -> None:
    registry, attribute = PARTS[name]
    before = list(registry)
    part = registry.find("part", f"{name}:{attribute}")
    registry["mine"] = part
    assert registry.find("part", "mine") is registry["mine"]
    assert registry.find("part", registry.name_of(registry["mine"])) is registry["mine"]
    del registry["mine"]
    assert list(registry) == before
    with pytest.raises(InputError, match="'mine' is not one of"):
        registry.find("part", "mine")


def test_the_table_of_the_readme_names_every_part() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(EXAMPLES) == set(PARTS)
    for name in PARTS:
        assert name in text
