"""Help texts list what the registries hold. They are written out because `--help` must not wait for torch."""

import pytest

from commons.registry import Registry
from sparse_training.__main__ import parser
from sparse_training.masks import DISTRIBUTIONS, SCORES
from sparse_training.methods import METHODS
from sparse_training.models import MODELS
from sparse_training.reparam import REPARAMS


@pytest.mark.parametrize(
    ("command", "registries"),
    [("train", [SCORES, METHODS, REPARAMS]), ("masks", [SCORES, DISTRIBUTIONS, MODELS])],
)
def test_the_names_of_the_registries_are_in_the_help(
    command: str, registries: list[Registry[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for registry in registries:
        assert ", ".join(registry) in text
