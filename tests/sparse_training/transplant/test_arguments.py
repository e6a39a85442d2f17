"""The arguments of `transplant` are told apart before anything is trained."""

import pytest

from sparse_training.commands.transplant import _method


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rigl", ("rigl", [])),
        ("rigl:method.every=20,epochs=3", ("rigl", ["method.every=20", "epochs=3"])),
        ("rigl:mask.distribution=2:4", ("rigl", ["mask.distribution=2:4"])),
        ("mine.module:Own", ("mine.module:Own", [])),
        ("mine.module:Own:method.every=20", ("mine.module:Own", ["method.every=20"])),
        ("mine:Own:model=mine:net", ("mine:Own", ["model=mine:net"])),
    ],
)
def test_a_method_and_its_settings_are_told_apart(text: str, parts: tuple[str, list[str]]) -> None:
    assert _method(text) == parts
