"""Imports run one way between the rooms, and the mathematics needs no torch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "commons": set(),
    "theory": {"commons"},
    "dynamics": {"commons", "theory"},
    "sparse_training": {"commons", "theory"},
    "figures": {"commons", "theory", "dynamics", "sparse_training"},
}


def imports(room: str) -> Iterator[tuple[str, str]]:
    """(module, name) of every import in a room, wherever it stands in a file; name is "" for `import module`."""
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    found = {module.split(".")[0] for module, _ in imports(room)} & set(ALLOWED)
    assert found - {room} <= ALLOWED[room]


@pytest.mark.parametrize("room", ["commons", "theory"])
def test_the_ground_needs_no_torch(room: str) -> None:
    assert "torch" not in {module.split(".")[0] for module, _ in imports(room)}


def test_training_takes_only_the_reset_and_the_metric_from_theory() -> None:
    taken = {name for module, name in imports("sparse_training") if module.split(".")[0] == "theory"}
    assert taken <= {"metric", "reset"}
    assert "reset" in taken
