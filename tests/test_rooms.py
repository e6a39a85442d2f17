"""The rooms and what they import: one direction between rooms, no circle anywhere, no torch in the mathematics."""

import ast
import importlib
from collections.abc import Iterator, Mapping
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


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of a file, type-only and deferred ones too; name is "" for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from ((node.module or "", alias.name) for alias in node.names)


def imports_of(room: str) -> Iterator[tuple[str, str]]:
    for name, path in FILES.items():
        if name.split(".")[0] == room:
            yield from imports(path)


def graph() -> dict[str, set[str]]:
    """Which of our modules each of them imports; `from package import module` is an import of that module."""
    edges: dict[str, set[str]] = {}
    for name, path in FILES.items():
        targets = ((f"{module}.{imported}" if imported else module, module) for module, imported in imports(path))
        edges[name] = {inner if inner in FILES else outer for inner, outer in targets if {inner, outer} & set(FILES)}
    return edges


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one repeated at the end; empty if there is no ring."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for target in sorted(edges[name]):
                if found := visit(target, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in edges if (found := visit(name, []))), [])


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    found = {module.split(".")[0] for module, _ in imports_of(room)} & set(ALLOWED)
    assert found - {room} <= ALLOWED[room]


@pytest.mark.parametrize("room", ["commons", "theory"])
def test_the_ground_needs_no_torch(room: str) -> None:
    assert "torch" not in {module.split(".")[0] for module, _ in imports_of(room)}


def test_a_ring_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other_in_a_ring() -> None:
    assert circle(graph()) == []


def test_no_module_hides_a_public_name_of_its_package() -> None:
    """Importing package.name, the module, would replace the function that the package offers under that name."""
    packages = {name: importlib.import_module(name) for name, path in FILES.items() if path.name == "__init__.py"}
    hidden = [f"{name}.{own}" for name, package in packages.items() for own in getattr(package, "__all__", ())]
    assert [name for name in hidden if name in FILES] == []


def test_training_takes_only_redistribution_from_theory_and_problems_the_closed_form_losses_too() -> None:
    losses = {"network_loss", "network_gradient", "separate_loss", "separate_gradient"}
    taken: dict[bool, set[str]] = {True: set(), False: set()}
    for name, path in FILES.items():
        if name.startswith("sparse_training"):
            problem = name.startswith("sparse_training.problems")
            taken[problem] |= {what for module, what in imports(path) if module.split(".")[0] == "theory"}
    assert taken[False] <= {"metric", "mirror_step", "reset"}
    assert taken[True] <= {"metric", "reset"} | losses
    assert "reset" in taken[False]
