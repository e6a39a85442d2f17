"""A folder or a file from elsewhere runs no code: what it names is imported only for a user who says so."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest

from commons import InputError
from sparse_training.__main__ import parser
from sparse_training.runs import Config, Run
from sparse_training.runs.config import VARIANTS
from sparse_training.runs.trust import CODE, code_in
from sparse_training.training import train

MODULE = """
import os
from dataclasses import dataclass
from pathlib import Path

Path(os.environ["TRUST_TEST_MARKER"]).touch()

from sparse_training.data import load
from sparse_training.masks import by_layer
from sparse_training.methods import Static
from sparse_training.models import mlp as net
from sparse_training.reparam import SignIn, SparseOpt
from sparse_training.runs.optimizers import SGD, Constant

digits = lambda tokenizer=None: load("digits")
tokens = list
score = lambda setting: {name: weight.detach().abs() for name, weight in setting.weights.items()}
share = by_layer(sum)
signs = lambda probe: {}


@dataclass(frozen=True)
class Method(Static):
    pass


class Reparam(SignIn):
    pass


class Scaling(SparseOpt):
    pass


class Optimizer(SGD):
    pass


class Schedule(Constant):
    pass
"""
NAMES = {
    "model": "outside_hostile:net",
    "data.name": "outside_hostile:digits",
    "data.tokenizer": "outside_hostile:tokens",
    "mask.score": "outside_hostile:score",
    "mask.distribution": "outside_hostile:share",
    "sign_init.name": "outside_hostile:signs",
    **{f"{section}.name": f"outside_hostile:{section.title()}" for section in VARIANTS},
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run whose every part is code of one module, which creates a file when it is imported."""
    root = tmp_path_factory.mktemp("elsewhere")
    (root / "outside_hostile.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUST_TEST_MARKER", str(root / "was-run"))
        patch.syspath_prepend(root)
        settings = [f"{setting}={name}" for setting, name in NAMES.items()]
        settings += ["epochs=1", "batch_size=512", "mask.density=0.2"]
        assert parser().execute(["train", "--set", *settings, "--out", str(root / "run")]) == 0
        assert (root / "was-run").exists()
        yield root / "run"


@pytest.fixture
def marker(run_folder: Path) -> Path:
    """The file that the module creates; it is absent, and the module is not loaded."""
    file = run_folder.parent / "was-run"
    file.unlink(missing_ok=True)
    sys.modules.pop("outside_hostile", None)
    return file


READERS = {
    "sharpness": ["sharpness", "RUN"],
    "transplant": ["transplant", "--source", "RUN", "--out", "OUT"],
    "config of train": ["train", "--config", "RUN/config.toml", "--out", "OUT"],
    "config of ablate": ["ablate", "reset", "--config", "RUN/config.toml", "--out", "OUT", "--runs", "OUT"],
    "config of transplant": ["transplant", "--method", "acdc", "--config", "RUN/config.toml", "--out", "OUT"],
    "resume": ["train", "--preset", "digits-mlp", "--out", "RUN"],
    "signs": ["signs", "RUN"],
    "export": ["export", "RUN", "--out", "OUT/net.safetensors"],
}


@pytest.mark.parametrize("reader", READERS)
def test_no_command_runs_what_a_folder_names(
    reader: str, run_folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.replace("RUN", str(run_folder)).replace("OUT", str(tmp_path)) for word in READERS[reader]]
    if reader in ("signs", "export"):
        assert parser().execute(arguments) == 0
    else:
        with pytest.raises(SystemExit) as stop:
            parser().execute(arguments)
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert error.count("\n") == 1
        assert "config.toml names code that would be run, " in error
        assert "--trust outside_hostile:" in error
    assert not marker.exists()


def test_no_reader_in_python_runs_what_a_folder_names(run_folder: Path, marker: Path) -> None:
    run = Run(run_folder)
    for read in (lambda: run.config, run.model, lambda: Config.load(run_folder / "config.toml")):
        with pytest.raises(InputError, match="trust="):
            read()
    run.metrics(), run.masks(), run.weights(), run.summary, run.environment
    assert not marker.exists()


@pytest.mark.parametrize("setting", NAMES)
def test_each_name_must_be_trusted(setting: str, run_folder: Path, marker: Path) -> None:
    others = [name for name in NAMES.values() if name != NAMES[setting]]
    with pytest.raises(InputError, match=f"{setting}='{NAMES[setting]}'"):
        Run(run_folder, trust=others).config  # noqa: B018
    assert not marker.exists()


@pytest.mark.usefixtures("marker")
def test_what_is_trusted_is_run(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for trust in (True, list(NAMES.values())):
        assert Run(run_folder, trust=trust).model().fc3.out_features == 10
    trusted = [word for name in NAMES.values() for word in ("--trust", name)]
    for words in (trusted, ["--trust", "all"]):
        out = ["--out", str(tmp_path), "--tol", "0.1", "--samples", "64"]
        assert parser().execute(["sharpness", str(run_folder), *words, *out]) == 0
    assert "λ_max" in capsys.readouterr().out
    assert Run(run_folder, trust=True).config.code == [
        NAMES[setting] for setting in (*CODE, *(f"{v}.name" for v in VARIANTS))
    ]


@pytest.mark.usefixtures("marker")
def test_a_name_on_the_command_line_is_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'model = "{NAMES["model"]}"\n')
    arguments = ["train", "--config", str(file), "--show", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        parser().execute(arguments)
    assert parser().execute([*arguments, "--model", NAMES["model"]]) == 0
    assert f'model = "{NAMES["model"]}"' in capsys.readouterr().out


def test_every_other_text_in_a_configuration_is_never_looked_up(run_folder: Path, marker: Path, tmp_path: Path) -> None:
    """A setting that is added one day and names code must be in `CODE`, or this test fails."""
    tree = Config().with_set(["epochs=1", "batch_size=2048", "engine.device=cpu"]).tree()
    sections = {"": tree, **{key: value for key, value in tree.items() if isinstance(value, dict)}}
    texts = [(name, key) for name, section in sections.items() for key, value in section.items() if type(value) is str]
    assert len(texts) > 10
    for name, key in texts:
        changed = deepcopy(tree)
        (changed[name] if name else changed)[key] = "outside_hostile:net"
        if not code_in(changed, VARIANTS):
            with suppress(InputError):
                train(Config.from_tree(changed), tmp_path / f"{name}.{key}")
            assert not marker.exists(), (name, key)
