"""Every command that a page names, and every command that another one says to look next, is a command that exists."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

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
