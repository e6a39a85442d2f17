"""Every command that a page names, and every command that another one says to look next, is a command that exists."""

import argparse
import ast
import importlib
import inspect
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from commons import cli
from figures.cli import parser

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("theory", "dynamics", "figures", "sparse_training")
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "theory/*.md", "dynamics/*.md", "sparse_training/*/*.md", "results/*.md")
    for page in ROOT.glob(pattern)
)
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
OWN_FLOW = re.compile(r"--flow \w+[.\w]*:")  # only its module says which options it has
INLINE = re.compile(r"`((?:python -m|sign-in) [^`\n]+)`")
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:(?:\S*/)?python -m ({'|'.join(ROOMS)})|sign-in)(?: (.*))?$")


def commands_in(text: str) -> Iterator[str]:
    """The commands of a page without what pipes and comments add."""
    for block in BLOCK.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from INLINE.findall(BLOCK.sub("", text))


parser_of = cache(parser)


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the parser of all commands has against the words; "" where they only lack something."""
    try:
        own = next((word for word in words[1:2] if words[0] == "figures" and ":" in word), "")
        parser_of(own).parse_args(words)
    except SystemExit as stop:
        told = capsys.readouterr().err.strip()
        return told if stop.code and not re.fullmatch(r"[^:]*: [^;]* is missing", told) else ""
    return ""


def words_of(room: str | None, line: str) -> list[str]:
    """The words as `sign-in` takes them."""
    words = shlex.split(re.split(r" [|>#]|&&", line)[0])
    ahead = {"theory": ["theory"], "figures": [] if words[:1] == ["reproduce"] else ["figures"]}
    return [*ahead.get(room or "", []), *words]


def test_every_command_of_a_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    wrong, count = [], 0
    for page in PAGES:
        for line in commands_in(page.read_text(encoding="utf-8")):
            found = COMMAND.match(line.strip())
            if not found or not found[2] or OWN_FLOW.search(line):
                continue
            count += 1
            told = complaint(words_of(found[1], found[2]), capsys)
            wrong += [f"{page.relative_to(ROOT)}: {line.strip()}: {told}"] if told else []
    assert not wrong, "\n".join(wrong)
    assert count > 50


def test_what_a_command_names_as_the_next_one_exists(capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "wrote":
                continue
            for keyword in call.keywords:
                assert isinstance(keyword.value, ast.Tuple)
                room, *rest = [x.value if isinstance(x, ast.Constant) else "x" for x in keyword.value.elts]
                told = complaint(words_of(str(room), shlex.join(map(str, rest))), capsys)
                assert not told, f"{file.relative_to(ROOT)}: {told}"
                count += 1
    assert count > 8


COMMANDS = ("theory.__main__", "dynamics.__main__", "figures.", "sparse_training.commands", "sparse_training.sweeps.")
# Commands that write nothing which another one looks at, and those that are done in two seconds.
PRINT = {"figures list": "prints what there is"}
QUICK = {
    "masks": "one batch at most",
    "sample": "a few hundred bytes",
    "signs": "reads recorded signs",
    "figures explorer": "a page that is written once",
    "figures FIGURE": "reads a file and draws it",
    "figures list": "prints what there is",
    "figures table": "reads a ledger",
}


def commands_of(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command by its words, with the function that runs it; what draws a file is one command, `figures`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands_of(below, f"{name} {word}".strip())
    run = parser.get_default("run")
    if run is not None:
        yield ("figures FIGURE" if parser.get_default("figure") else name), run


def calls_of(function: Callable[..., Any], seen: set[Any]) -> set[Any]:
    """The functions of `commons.cli` that a command calls, itself or through what is defined in `COMMANDS`."""
    function = inspect.unwrap(function)
    generated = function.__code__.co_filename.startswith("<")  # by a dataclass
    if function in seen or generated or not function.__module__.startswith(COMMANDS):
        return set()
    seen.add(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    known = dict(vars(importlib.import_module(function.__module__)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith((*COMMANDS, cli.__name__)):
            module = importlib.import_module(node.module or "")
            known |= {name.name: getattr(module, name.name, None) for name in node.names}
    named = [known.get(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)]
    methods = [method for each in named if inspect.isclass(each) for method in vars(each).values()]
    used = {each for each in (*named, *methods) if inspect.isfunction(each)}
    return used.union(*(calls_of(each, seen) for each in used))


def test_every_command_tells_how_far_it_is_and_what_it_wrote() -> None:
    found = {name: calls_of(run, set()) for name, run in commands_of(parser_of())}
    assert len(found) > 20
    assert {name for name, calls in found.items() if cli.wrote not in calls} == set(PRINT)
    assert {name for name, calls in found.items() if not calls & {cli.progress, cli.counting}} == set(QUICK)
