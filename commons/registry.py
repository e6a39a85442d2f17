"""Registries: the parts of one kind by name, which a user extends by a decorator or by "package.module:callable"."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, overload

from commons.checks import nearest, refuse

T = TypeVar("T")
V = TypeVar("V")


class Registry(MutableMapping[str, T]):
    """The parts of one kind, such as all scores, by name and in the order in which they were entered.

    expected: what an entry is, for error messages, with its article ("a subclass of Method").
    entries: the parts that are there from the beginning.
    accept: takes what a user registers or names and returns the entry that it stands for, or None if it cannot be
        one. By default everything is its own entry.

    A registry is a mutable mapping: `registry["name"] = part` enters or replaces, `del registry["name"]` takes away.

        @SCORES.register("mine")            # enters the function, and leaves it as it is
        def mine(setting): ...

        SCORES.register("mine", mine)       # the same as a call
        SCORES.find("score", "mine")        # the entry of that name
        SCORES.find("score", "mypkg:mine")  # the same for a part that is in no registry

    Raises:
        InputError: a name that is empty or has a colon, or an entry that is not what is expected.
    """

    def __init__(
        self,
        expected: str,
        entries: Mapping[str, T] | None = None,
        accept: Callable[[Any], T | None] = lambda part: part,
    ) -> None:
        self.expected = expected
        self._accept = accept
        self._entries: dict[str, T] = {}
        self._given: dict[str, object] = {}  # what each entry was made from
        self._found: dict[str, T] = {}  # entries that `find` has imported
        for name, part in (entries or {}).items():
            self[name] = part
        self._own = set(self._entries)  # known by name in every process

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __setitem__(self, name: str, part: Any) -> None:
        if not isinstance(name, str) or not name or ":" in name:
            refuse("name", name, "a text without a colon")
        self._entries[name] = self._entry(name, part)
        self._given[name] = part

    def __delitem__(self, name: str) -> None:
        del self._entries[name], self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.listed()})"

    @overload
    def register(self, name: str) -> Callable[[V], V]: ...
    @overload
    def register(self, name: str, part: V) -> V: ...
    def register(self, name: str, part: Any = None) -> Any:
        """Enter a part under a name and return it unchanged; without `part`, a decorator that does so.

        A definition may be entered again, as when the cell of a notebook is run twice.

        Raises:
            InputError: another part has the name, or as `Registry`.
        """
        if part is None:
            return lambda decorated: self.register(name, decorated)
        known = self._given.get(name, part)
        if known is not part and (_home(known) is None or _home(known) != _home(part)):
            refuse("name", name, "free", f"it names {known!r}; `registry[name] = ...` replaces it")
        self[name] = part
        return part

    def find(self, argument: str, name: str) -> T:
        """The entry of a name, or the part that "package.module:callable" names, which is imported.

        The current folder is importable, as it is with `python -m`. Code is imported, and so run: names that come
        from a file of someone else are to be refused before.

        Raises:
            InputError: in one line, with the argument: an unknown name, with the nearest one; a module that cannot be
                imported, and why; or a part that is not what is expected.
        """
        if isinstance(name, str) and ":" in name:
            self._found[name] = self._entry(argument, _imported(argument, name), name)
            return self._found[name]
        if name not in self._entries:
            refuse(argument, name, f"one of {', '.join(self)} or package.module:callable", nearest(str(name), self))
        return self._entries[name]

    def name_of(self, entry: T) -> str:
        """The name by which `find` gives this entry in any process: its name here, or "module:qualname".

        A part that was registered later has its name only where that was done, so its home is told if it has one.

        Raises:
            InputError: the entry has no name here and cannot be imported, such as a class defined within a function.
        """
        registered = next((name for name, known in self._entries.items() if known is entry), "")
        if registered in self._own:
            return registered
        found = next((name for name, known in self._found.items() if known is entry), "")
        home = _home(entry) or "<"
        importable = "" if "<" in home or (registered and home.startswith("__main__:")) else home
        name = found or importable or registered
        if not name:
            refuse("name", repr(entry), "known", "register it, or define it at the top level of a module")
        return name

    def listed(self) -> str:
        """The names as a text for people: "a, b or c"."""
        *others, last = self or ("nothing",)
        return f"{', '.join(others)} or {last}" if others else last

    def _entry(self, argument: str, part: object, name: str = "") -> T:
        entry = self._accept(part)
        if entry is None:
            refuse(argument, name or part, self.expected)
        return entry


def subclass_of(base: type) -> Callable[[object], Any]:
    """An `accept` of `Registry`: any subclass of base."""
    return lambda part: part if isinstance(part, type) and issubclass(part, base) else None


def accepted(function: Callable[..., object], arguments: Mapping[str, V]) -> dict[str, V]:
    """Those of the arguments that the signature of a function names, or all of them where it takes any keyword."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a callable written in C may have no signature
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in parameters}


def _home(part: object) -> str | None:
    """Where a class or a function is defined, as "module:qualname"; None for other objects."""
    module, name = getattr(part, "__module__", None), getattr(part, "__qualname__", None)
    if module is None or name is None:
        return None
    # A process that multiprocessing spawned calls the user's script __mp_main__.
    return f"{'__main__' if module == '__mp_main__' else module}:{name}"


def _imported(argument: str, name: str) -> object:
    """What "package.module:callable" names; a dotted callable is an attribute of an attribute."""
    module_name, _, attribute = name.partition(":")
    _make_current_folder_importable()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        _refuse_import(argument, name, error)
    try:
        return attrgetter(attribute)(module)
    except AttributeError:
        known = [key for key, value in vars(module).items() if callable(value)]
        refuse(argument, name, f"in module {module_name}, which has no {attribute!r}", nearest(attribute, known))


def _make_current_folder_importable() -> None:
    """Let modules of the current folder be found after all others, unless Python was told to keep them out."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        return
    if not sys.flags.safe_path and folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def _refuse_import(argument: str, name: str, error: Exception) -> NoReturn:
    library = os.path.dirname(os.__file__)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__ and not f.filename.startswith((library, "<frozen"))]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own and not isinstance(error, SyntaxError) else ""
    reason = " ".join(str(error).split())
    refuse(argument, name, "an importable package.module:callable", f"{type(error).__name__}: {reason}{place}")
