"""Every public name is documented: what it is, each of its arguments, the shapes of its arrays and what it raises."""

import ast
import enum
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PACKAGES = (
    "commons",
    "theory",
    "dynamics",
    "sparse_training",
    "sparse_training.data",
    "sparse_training.export",
    "sparse_training.integrations",
    "sparse_training.masks",
    "sparse_training.methods",
    "sparse_training.models",
    "sparse_training.reparam",
    "sparse_training.runs",
    "sparse_training.sharpness",
    "sparse_training.signs",
    "sparse_training.sweeps",
    "sparse_training.training",
    "sparse_training.transplant",
)
ARRAYS = re.compile(r"\b(Tensor|ArrayLike|NDArray|Array)\b")
# A shape is written (N,), (d, N), (...) or told: "as mask", "broadcast", "0-d", "of one shape", "elementwise".
SHAPE = re.compile(r"\((\w+,|\w+, \w+|\.\.\.)|shape|broadcast|elementwise|0-d|\bas \w+|by (parameter|layer|name)|array")
REFUSALS = {"refuse", "InputError", "number", "choice", "finite", "broadcast"}


def public() -> Iterator[tuple[str, Any]]:
    """(package.name, object) of every function and class that a package offers, each once."""
    seen: set[int] = set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if (inspect.isclass(value) or inspect.isfunction(value)) and id(value) not in seen:
                seen.add(id(value))
                yield f"{package}.{name}", value


def functions() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """(name, function, what documents it) of public functions and of the public methods of public classes."""
    for name, value in public():
        if inspect.isfunction(value):
            yield name, value, inspect.getdoc(value) or ""
            continue
        for method, member in vars(value).items():
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if inspect.isfunction(function) and not method.startswith("_"):
                inherited = [getattr(base, method) for base in value.__mro__ if hasattr(base, method)]
                texts = [inspect.getdoc(each) or "" for each in inherited]
                yield f"{name}.{method}", function, "\n".join([*texts, inspect.getdoc(value) or ""])


def fields(kind: type) -> list[str]:
    """What a class is constructed from: its dataclass fields or the arguments of its __init__."""
    try:
        return [name for name in inspect.signature(kind).parameters if name not in ("args", "kwargs", "self")]
    except ValueError:
        return []


def is_constructed(value: Any) -> bool:
    """Whether people construct it: a class, but no Enum, whose members are its documentation."""
    return inspect.isclass(value) and not issubclass(value, enum.Enum)


NAMES = dict(public())
FUNCTIONS = {name: (function, text) for name, function, text in functions()}


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def with_references(text: str) -> str:
    """The text and, where it says that something is "as in `name`" or "as `name`", the text of that public name."""
    by_name = {full.rpartition(".")[2]: value for full, value in NAMES.items()}
    referred = re.findall(r"as (?:in |of |for )?`(\w+)`", text)
    return "\n".join([text, *(inspect.getdoc(by_name[name]) or "" for name in referred if name in by_name)])


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_described(name: str) -> None:
    text = inspect.getdoc(NAMES[name]) or ""
    assert len(text.split()) > 3
    assert not text.startswith(f"{NAMES[name].__name__}("), "the docstring is the one that dataclass makes up"


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if is_constructed(value)])
def test_every_field_of_a_public_class_is_explained(name: str) -> None:
    kind = NAMES[name]
    text = "\n".join(inspect.getdoc(base) or "" for base in kind.__mro__ if base is not object)
    text += inspect.getdoc(kind.__init__) or ""
    assert [field for field in fields(kind) if not mentions(text, field)] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_a_public_function_is_explained(name: str) -> None:
    function, text = FUNCTIONS[name][0], with_references(FUNCTIONS[name][1])
    parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
    few = len(parameters) == 1  # one argument is what the first sentence is about
    assert [p for p in parameters if not few and not mentions(text, p)] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_have_shapes(name: str) -> None:
    function, text = FUNCTIONS[name][0], with_references(FUNCTIONS[name][1])
    takes_arrays = any(ARRAYS.search(str(a)) for a in inspect.get_annotations(function).values())
    assert not takes_arrays or SHAPE.search(text)


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if inspect.isfunction(value)])
def test_what_is_raised_is_said(name: str) -> None:
    function, text = FUNCTIONS[name][0], with_references(FUNCTIONS[name][1])
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert not called & REFUSALS or "Raise" in text or "InputError" in text
