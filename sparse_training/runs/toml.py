"""Converts nested dataclasses to and from TOML and `key.field=value` texts; unknown names and wrong types are refused.

Nothing here depends on the names of the fields, which config.py states.
"""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from commons.checks import InputError, choice, nearest, percentage, refuse
from commons.registry import Registry

Tree = dict[str, Any]
Variants = Mapping[
    str, Registry[Any]
]  # for each field that comes in variants, the dataclasses it can be an instance of
NONE = "none"  # the name of the variant None, where a field may be None


def as_tree(value: Any, variants: Variants) -> Tree:
    """A dataclass as nested dictionaries; a section that comes in variants starts with its `name`."""
    tree: Tree = {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if field.name in variants:
            name = NONE if content is None else variants[field.name].name_of(type(content))
            tree[field.name] = {"name": name, **({} if content is None else as_tree(content, {}))}
        else:
            tree[field.name] = as_tree(content, {}) if dataclasses.is_dataclass(content) else content
    return tree


def from_tree(kind: Any, tree: Mapping[str, Any], variants: Variants, path: str = "") -> Any:
    """Build the dataclass `kind`; fields that tree leaves out have their defaults.

    Raises:
        InputError: an unknown field, with the nearest one, or a value of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in tree.items():
        where = f"{path}{key}"
        if key not in fields:
            hint = nearest(key, fields)
            raise InputError(f"unknown setting {where}; " + (hint or f"there are {', '.join(fields) or 'none'}"))
        if key in variants:
            section = {"name": value} if isinstance(value, str) else dict(_section(where, value))
            optional = type(None) in typing.get_args(hints[key])
            variant = _variant(f"{where}.name", section.pop("name", ""), variants[key], optional)
            if variant is None and section:
                raise InputError(f"unknown setting {where}.{next(iter(section))}; {where}={NONE} has no settings")
            values[key] = None if variant is None else from_tree(variant, section, {}, f"{where}.")
        elif dataclasses.is_dataclass(hints[key]):
            values[key] = from_tree(hints[key], _section(where, value), {}, f"{where}.")
        else:
            values[key] = _converted(where, value, hints[key])
    return kind(**values)


def merged(base: Tree, change: Mapping[str, Any], variants: Variants) -> Tree:
    """A copy of base with the values of change; a section whose `name` changes starts from that variant's defaults."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in change.items():
        if key in variants and isinstance(value, str):
            value = {"name": value}
        known = result.get(key)
        if isinstance(value, Mapping) and isinstance(known, dict):
            other = key in variants and value.get("name", known.get("name")) != known.get("name")
            result[key] = {**({} if other else known), **value}
        else:
            result[key] = value
    return result


def parse_settings(texts: Iterable[str]) -> Tree:
    """Trees of `epochs=3`, `optimizer.lr=0.2`, `reparam=sign-in`; values are TOML, or plain text where that fails."""
    tree: Tree = {}
    for text in texts:
        path, equals, value = text.partition("=")
        keys = [key.strip() for key in path.split(".")]
        if not equals or not all(keys) or len(keys) > 2:
            refuse("setting", text, "of the form field=value or section.field=value")
        if len(keys) == 1:
            tree[keys[0]] = _parsed(value)
            continue
        section = tree.setdefault(keys[0], {})
        if not isinstance(section, dict):
            section = tree[keys[0]] = {"name": section}
        section[keys[1]] = _parsed(value)
    return tree


def to_toml(tree: Mapping[str, Any]) -> str:
    """A tree as TOML: its own values first, then one table a section."""
    own = [f"{key} = {_toml(value)}\n" for key, value in tree.items() if not isinstance(value, dict)]
    tables = [
        f"\n[{key}]\n" + "".join(f"{name} = {_toml(content)}\n" for name, content in value.items())
        for key, value in tree.items()
        if isinstance(value, dict)
    ]
    return "".join(own + tables)


def from_toml(text: str, source: str) -> Tree:
    """TOML text as a tree; InputError names the source."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        raise InputError(f"{source} is not TOML: {error}") from None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text.strip()


def _variant(argument: str, name: Any, registry: Registry[Any], optional: bool) -> Any:
    """The class of a variant, or None for the name "none" where the field may be None."""
    if not isinstance(name, str):
        refuse(argument, name, "a name")
    if not optional or ":" in str(name):
        return registry.find(argument, name)
    return None if choice(argument, name, [NONE, *registry]) == NONE else registry[name]


def _section(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        refuse(where, value, "a section; set one of its fields")
    return value


def _converted(where: str, value: Any, hint: Any) -> Any:  # noqa: RET503 (refuse never returns)
    """Value as the annotated type: exact, an integer where a float is asked for, or a list where a tuple is."""
    for option in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        origin = typing.get_origin(option)
        if origin is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(option)
            repeated = len(inner) == 2 and inner[1] is Ellipsis
            if repeated or len(inner) == len(value):
                kinds = [inner[0]] * len(value) if repeated else inner
                return tuple(_converted(where, item, kind) for item, kind in zip(value, kinds, strict=True))
        elif option is float and type(value) in (int, float):
            return float(value)
        elif origin is None and type(value) is option:
            return value
    kind = hint.__name__ if isinstance(hint, type) else hint
    refuse(where, value, f"of type {kind}", percentage(value) if hint is float and isinstance(value, str) else "")
