"""Kinds of weights: those of q, k, v, o, up and down in all blocks of a transformer, each of which counts as one."""

from collections.abc import Iterable


def by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameter names by the last module in them, q for blocks.0.attention.q.weight, in the order of first ones."""
    found: dict[str, list[str]] = {}
    for name in names:
        owner = name.rpartition(".")[0]
        found.setdefault(owner.rpartition(".")[2] or name, []).append(name)
    return found
