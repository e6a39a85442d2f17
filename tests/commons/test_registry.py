"""A registry finds its parts by name and anyone's by module:callable, stores the name that finds them again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from commons.registry import Registry, subclass_of


class Part:
    pass


class First(Part):
    pass


class Second(Part):
    class Inner(Part):
        pass


@pytest.fixture
def parts() -> Registry[type[Part]]:
    return Registry("a subclass of Part", {"first": First}, accept=subclass_of(Part))


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@given(st.dictionaries(st.text(st.characters(exclude_characters=":"), min_size=1), st.integers()))
def test_it_is_a_mapping_that_keeps_its_order(entries: dict[str, int]) -> None:
    registry = Registry("a number", entries)
    assert dict(registry) == entries
    assert list(registry) == list(entries)
    for name, value in entries.items():
        assert registry.find("n", name) == value
        del registry[name]
    assert not registry


def test_a_decorator_enters_a_part_and_leaves_it_as_it_is(parts: Registry[type[Part]]) -> None:
    decorated = parts.register("second")(Second)
    assert decorated is Second is parts["second"]
    assert parts.register("inner", Second.Inner) is Second.Inner
    assert parts.listed() == "first, second or inner"
    homes = [f"{__name__}:Second", f"{__name__}:Second.Inner"]
    assert [parts.name_of(part) for part in parts.values()] == ["first", *homes]  # names that every process can find


def test_a_name_that_is_taken_is_kept_except_by_the_same_definition(parts: Registry[type[Part]]) -> None:
    with pytest.raises(InputError, match="name='first' is not free"):
        parts.register("first", Second)
    assert parts["first"] is First
    again = type("First", (Part,), {"__module__": First.__module__, "__qualname__": First.__qualname__})
    parts.register("first", again)
    assert parts["first"] is again


@pytest.mark.parametrize("name", ["", "a:b"])
def test_names_that_could_not_be_found_again_are_refused(parts: Registry[type[Part]], name: str) -> None:
    with pytest.raises(InputError, match="without a colon"):
        parts.register(name, Second)


def test_what_accept_returns_is_the_entry() -> None:
    registry: Registry[str] = Registry("a number", accept=lambda part: str(part) if isinstance(part, int) else None)
    registry.register("one", 1)
    assert registry["one"] == "1"
    with pytest.raises(InputError, match=r"^two=2\.0 is not a number$"):
        registry.register("two", 2.0)


@pytest.mark.usefixtures("outside")
def test_a_part_from_outside_is_found_and_stored_under_a_name_that_finds_it(
    parts: Registry[type[Part]], tmp_path: Path
) -> None:
    (tmp_path / "outside_package").mkdir()
    (tmp_path / "outside_package" / "__init__.py").write_text("from outside_package.part import *")
    code = f"from {__name__} import Part\nclass Mine(Part):\n    class Inner(Part):\n        pass\n"
    (tmp_path / "outside_package" / "part.py").write_text(code)
    found = parts.find("part", "outside_package:Mine")
    assert parts.name_of(found) == "outside_package:Mine"
    inner = found.Inner  # type: ignore[attr-defined]
    assert parts.name_of(inner) == "outside_package.part:Mine.Inner"
    assert parts.find("part", "outside_package.part:Mine.Inner") is inner
    assert list(parts) == ["first"]


def test_a_part_that_cannot_be_imported_again_has_no_name(parts: Registry[type[Part]]) -> None:
    class Local(Part):
        pass

    with pytest.raises(InputError, match="top level of a module"):
        parts.name_of(Local)
    assert parts.name_of(parts.register("local", Local)) == "local"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("frist", "one of first or package.module:callable; did you mean first?"),
        (3, "part=3 is not one of"),
        ("no_such_module_here:Part", "No module named 'no_such_module_here'"),
        (":Part", "importable"),
        ("outside_broken:Part", "SyntaxError"),
        ("outside_raising:Part", "ZeroDivisionError: division by zero (FOLDER/outside_raising.py, line 2)"),
        ("outside_good:Prat", "has no 'Prat'; did you mean Part?"),
        ("outside_good:number", "part='outside_good:number' is not a subclass of Part"),
        ("outside_good:", "has no ''"),
    ],
)
def test_a_wrong_name_is_one_line(parts: Registry[type[Part]], outside: Path, name: str, words: str) -> None:
    (outside / "outside_broken.py").write_text("class :\n")
    (outside / "outside_raising.py").write_text("\n1 / 0\n")
    (outside / "outside_good.py").write_text("class Part:\n    pass\nnumber = 3\n")
    with pytest.raises(InputError) as refusal:
        parts.find("part", name)
    text = str(refusal.value).replace(str(outside), "FOLDER")
    assert text.startswith("part=")
    assert words in text
    assert "\n" not in text


def test_the_current_folder_is_importable_and_shadows_nothing(tmp_path: Path) -> None:
    """As a program on the path is run, whose own folder is the one that Python looks in."""
    (tmp_path / "work").mkdir()
    for name in ("mine", "json"):
        (tmp_path / "work" / f"{name}.py").write_text("number = 3\n")
    program = tmp_path / "program.py"
    program.write_text(
        "from commons.registry import Registry\n"
        "registry = Registry('a part')\n"
        "print(registry.find('part', 'mine:number'), registry.find('part', 'json:loads')('4'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "3 4\n", done.stderr
