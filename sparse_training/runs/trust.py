"""Which code a configuration file may have imported: only what whoever reads it has named.

A run's folder from elsewhere is data. A setting such as model = "package.module:callable" names code, which is
imported, and so run, when the setting is used. In Python and on the command line such a name is the user's own; in a
file it is refused unless the user trusts it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from commons.checks import InputError

Trust = bool | Collection[str]  # True: whatever the file names; or the names, "package.module:callable", to accept

# The settings that `Registry.find` looks up; those of a variant, such as method, are looked up by its name.
CODE = ("model", "data.name", "data.tokenizer", "mask.score", "mask.distribution", "sign_init.name")


def code_in(tree: Mapping[str, Any], variants: Iterable[str]) -> dict[str, str]:
    """The settings of a tree that name code to import, and their values: {"model": "package.module:callable"}."""
    found = {}
    for setting in (*CODE, *(f"{section}.name" for section in variants)):
        section, _, key = setting.partition(".")
        value = tree.get(section)
        if isinstance(value, Mapping):
            value = value.get(key)
        elif key and key != "name":
            continue  # such as mask = "text", which is refused as no section
        if isinstance(value, str) and ":" in value and not re.fullmatch(r"\d+:\d+", value):
            found[setting] = value
    return found


def check_trusted(tree: Mapping[str, Any], variants: Iterable[str], trust: Trust, source: str) -> None:
    """Raise InputError, with the setting and how to trust it, if a file's tree names code that is not trusted."""
    if trust is True:
        return
    accepted = (trust,) if isinstance(trust, str) else trust or ()
    for setting, name in code_in(tree, variants).items():
        if name not in accepted:
            raise InputError(
                f"{source} names code that would be run, {setting}={name!r}; if you trust that code, pass "
                f"--trust {name} on the command line, or trust=[{name!r}] in Python"
            )
