"""`--data` takes a name, code or a path in every command, and says in one line what else it was given."""

import pytest

from commons import InputError
from sparse_training.__main__ import parser
from sparse_training.data import DATASETS
from sparse_training.data.named import located, named
from sparse_training.runs.config import Config

TAKE_DATA = {"train", "ablate", "transplant", "sweep", "export", "masks", "sharpness"}


def test_a_registered_name_is_a_name_even_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in DATASETS:
        (tmp_path / name).mkdir()
        assert named(name) == (name, "")
        assert named(f"./{name}") == ("", f"./{name}")


def test_a_path_is_a_path_and_code_is_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("text")
    assert named("book.txt") == ("", "book.txt")
    assert named("/data/of/the/cluster") == ("", "/data/of/the/cluster")
    assert named("own:stripes") == ("own:stripes", "")
    assert located("book.txt", None) == ("text", "book.txt")


@pytest.mark.parametrize("text", ["cifar", "photos"])
def test_what_is_neither_is_told_with_what_is_valid(text):
    with pytest.raises(InputError, match=f"data='{text}' .*cifar10.*module:callable.*existing path"):
        named(text)


def test_a_folder_is_loaded_as_what_it_holds_and_named_once(cifar10_pickles):
    folder = str(cifar10_pickles[0])
    assert located(folder, None) == ("cifar10", folder)
    assert located("cifar10", folder) == ("cifar10", folder)
    with pytest.raises(InputError, match="data_root"):
        located(folder, folder)


def test_a_configuration_takes_both():
    config = Config.preset("cifar10-resnet20")
    assert config.with_data("cifar10-16").data.name == "cifar10-16"
    there = config.with_data("some/folder").data
    assert (there.name, there.root) == ("cifar10", "some/folder")


def test_every_command_that_has_the_option_says_the_same_of_it():
    commands = next(action.choices for action in parser()._actions if isinstance(action.choices, dict))
    found = {name: command._option_string_actions.get("--data") for name, command in commands.items()}
    said = {name: option for name, option in found.items() if option is not None}
    assert set(said) == TAKE_DATA
    assert {option.metavar for option in said.values()} == {"NAME|PATH"}
    assert len({option.help[:80] for option in said.values()}) == 1
