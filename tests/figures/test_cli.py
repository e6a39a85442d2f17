"""`sign-in` offers what `python -m` offers, says its version, and answers for help without heavy imports."""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import commons
import dynamics
import figures
import sparse_training
import theory
from commons.cli import Parser
from figures import __main__ as drawing
from figures.cli import main, parser
from sparse_training.__main__ import parser as training_parser

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "sympy", "scipy", "matplotlib", "sklearn", "PIL"}


def commands(top: Parser) -> dict[str, Parser]:
    (action,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def test_every_command_of_every_room_is_offered_with_the_same_options() -> None:
    offered = commands(parser())
    own = commands(training_parser())
    assert {"theory", "phase", "betas", "dimension", "figures", "reproduce", "train", "masks", "transplant"} <= set(
        offered
    )
    assert set(own) <= set(offered)
    for name, command in own.items():
        assert offered[name]._option_string_actions.keys() == command._option_string_actions.keys()
    assert {"phase", "sweep", "sharpness"} <= set(commands(offered["figures"]))


def test_what_computes_is_at_the_top_and_what_draws_below_figures() -> None:
    offered = commands(parser())
    assert offered["sharpness"]._defaults["run"].__module__.startswith("sparse_training")
    assert commands(offered["figures"])["sharpness"]._defaults["run"].__module__ == drawing.__name__


def test_a_command_runs_and_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "--theorem", "5.1"]) == 0
    assert "1 of 1 proved" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["train", "--preset", "digits-mpl", "--out", "x"])
    assert stop.value.code == 2
    assert "did you mean digits-mlp?" in capsys.readouterr().err


def test_one_version_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for room in (commons, theory, dynamics, sparse_training, figures):
        assert room.__version__ == stated
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sign-in-lottery {stated}\n"


def test_a_checkout_that_is_not_installed_has_a_version_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import commons.version as module

    monkeypatch.setattr(module, "PACKAGE", "no-such-package-here")
    assert module._version() == commons.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["phase", "--help"], ["figures", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom figures.cli import main\n"
        f"try:\n    main({arguments})\nfinally:\n    print('loaded', sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: sign-in" in done.stdout
    assert done.stdout.endswith("loaded []\n")
