"""Raw values of a file and of the environment, walked along the fields of a struct; every problem is collected.

A value that does not fit becomes a Problem and its default stands in, so that the walk goes on and finds the next one.
Each value remembers where it was said: the file, or the variable that was laid over it.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from oms_actors.config import DECIMALS, RANGES
from oms_actors.errors import FieldError
from oms_actors.messages import fixed

DEFAULT = "default"
_SECRET = re.compile(r"password|secret|token|passphrase", re.IGNORECASE)


class Problem(NamedTuple):
    """One thing that is wrong: where it was said, the key, its value, and what to do about it."""

    file: str
    key: str
    value: str
    fix: str

    def __str__(self) -> str:
        said = f"{self.key} = {self.value}" if self.key and self.value else self.key or self.value
        return f"{self.file}: {said}: {self.fix}" if said else f"{self.file}: {self.fix}"


class Wrong(Exception):
    """A value was reported and has no replacement."""


def masked(key: str, value: Any) -> Any:
    """`value`, or stars where the key says that it is a secret; in tables, too."""
    if isinstance(value, dict):
        return {name: masked(name, each) for name, each in value.items()}
    return "***" if value and _SECRET.search(key) else value


class Reading:
    """One look at a file and an environment: what was said, `problems`, and by "section.key" the `sources`."""

    def __init__(self, root: type[msgspec.Struct], prefix: str) -> None:
        self.tree: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.sources: dict[str, str] = {}
        self._root, self._prefix = root, prefix
        self._origin: dict[str, str] = {}
        self._file = DEFAULT

    def problem(self, file: str, key: str, value: Any, fix: str) -> None:
        """`value` None: it is not worth showing."""
        shown = "" if value is None else json.dumps(masked(key or file, value), default=str)
        self.problems.append(Problem(file, key, shown, fix))

    def at(self, key: str, value: Any, fix: str) -> None:
        """A problem with a key, at the place where it was said."""
        said = key.partition("[")[0]
        while said and said not in self._origin:
            said = said.rpartition(".")[0]
        self.problem(self._origin.get(said, self._file), key, value, fix)

    # -- what was said ------------------------------------------------------------------------------------------------

    def file(self, path: Path) -> None:
        """Takes in a TOML file."""
        self._file = str(path)
        try:
            self.tree = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            self.problem(str(path), "", None, "no such file: `oms config init` writes one")
        except tomllib.TOMLDecodeError as error:
            self.problem(str(path), "", None, f"is not TOML: {error}")
        except (OSError, UnicodeDecodeError) as error:
            self.problem(str(path), "", None, f"cannot be read: {error}")
        self._remember(self.tree, "", str(path))

    def _remember(self, tree: Any, path: str, origin: str) -> None:
        if path:
            self._origin[path] = origin
        if isinstance(tree, dict):
            for key, value in tree.items():
                self._remember(value, f"{path}.{key}" if path else key, origin)

    def environment(self, environ: Mapping[str, str], ignored: frozenset[str]) -> None:
        """Lays <PREFIX>_<SECTION>_<KEY> over what the file said."""
        known = _variables(self._root, self._prefix, ())
        for name in sorted(environ):
            if not name.startswith(f"{self._prefix}_") or name in ignored:
                continue
            path, wanted = known[name] if name in known else _open_key(name, known)
            if path:
                value = _from_text(environ[name], wanted)
                _put(self.tree, path, value)
                self._remember(value, ".".join(path), name)
            else:
                self._unknown_variable(name, environ[name], known)

    def _unknown_variable(self, name: str, value: str, known: Mapping[str, Any]) -> None:
        """Only what was surely meant for us: other programs may use the prefix, too."""
        near = difflib.get_close_matches(name, known, 1, 0.85)
        section = name[len(self._prefix) + 1 :].partition("_")[0]
        keys = [key for key in known if key.startswith(f"{self._prefix}_{section}_")]
        if near:
            self.problem(name, "", value, f"is no setting: did you mean {near[0]}?")
        elif keys:
            self.problem(name, "", value, f"is no setting; there are {', '.join(keys)}")

    # -- what fits ----------------------------------------------------------------------------------------------------

    def struct(self, kind: type[Any], table: Any, path: str = "") -> Any:
        """`table` as a `kind`, what is wrong in it reported and left at its default; Wrong if there is no default."""
        if not isinstance(table, dict):
            self.at(path, table, f"must be a table: write [{path}] on a line of its own")
            table = {}
        hints = get_type_hints(kind)
        self._unknown_keys(table, list(hints), path)
        found: dict[str, Any] = {}
        for name, hint in hints.items():
            key = f"{path}.{name}" if path else name
            self.sources[key] = self._origin.get(key, DEFAULT)
            if name in table or _is_struct(hint):
                try:
                    found[name] = self._field(kind, name, hint, table.get(name, {}), key)
                except Wrong:
                    pass
        missing = [field.name for field in msgspec.structs.fields(kind) if field.required and field.name not in found]
        for name in missing:
            if name not in table:
                self.at(f"{path}.{name}", None, "is missing")
        if missing:
            raise Wrong
        return kind(**found)

    def _unknown_keys(self, table: dict[str, Any], known: list[str], path: str) -> None:
        for name in table:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.6)
                hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
                said = None if isinstance(table[name], dict) else table[name]
                what = "key" if path else "section"
                self.at(f"{path}.{name}" if path else name, said, f"unknown {what}: {hint}")

    def _field(self, kind: type[Any], name: str, hint: Any, raw: Any, key: str) -> Any:
        decimal = name in DECIMALS.get(kind, ())
        if decimal and type(raw) is int:
            raw = str(raw)
        value = self._value(hint, raw, key)
        if decimal and (value or not _may_be_empty(kind, name)):
            try:
                fixed(name, value)
            except FieldError as error:
                self._wrong(key, value, error.limit)
        if name in RANGES.get(kind, {}):
            low, high = RANGES[kind][name]
            if not low <= value <= high:
                self._wrong(key, value, f"must be {low} to {high}")
        return value

    def _value(self, kind: Any, raw: Any, key: str) -> Any:
        """`raw` as a `kind`, or Wrong after it was reported."""
        if get_origin(kind) in (Union, types.UnionType):
            kind = get_args(kind)[0]
        origin, arguments = get_origin(kind), get_args(kind)
        if _is_struct(kind):
            return self.struct(kind, raw, key)
        if origin is tuple and _is_struct(arguments[0]):
            return self._tables(arguments[0], raw, key)
        if origin is dict and _is_struct(arguments[1]):
            table = raw if isinstance(raw, dict) else self._wrong(key, raw, f"must be tables: write [{key}.NAME]")
            return {name: self.struct(arguments[1], each, f"{key}.{name}") for name, each in table.items()}
        try:
            return msgspec.convert(_times_as_text(raw), kind)
        except msgspec.ValidationError:
            return self._wrong(key, raw, _expected(kind, masked(key, raw)))

    def _tables(self, kind: type[Any], raw: Any, key: str) -> tuple[Any, ...]:
        """All of them are looked at, even where one is wrong."""
        if not isinstance(raw, list):
            self._wrong(key, raw, f"must be a list of tables: write [[{key}]]")
        found = []
        for at, each in enumerate(raw):
            try:
                found.append(self.struct(kind, each, f"{key}[{at}]"))
            except Wrong:
                pass
        return tuple(found)

    def _wrong(self, key: str, value: Any, fix: str) -> Any:
        self.at(key, value, fix)
        raise Wrong


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _may_be_empty(kind: type[Any], name: str) -> bool:
    return any(field.name == name and field.default == "" for field in msgspec.structs.fields(kind))


def _times_as_text(raw: Any) -> Any:
    """TOML knows dates and times of its own; we take them as the text that they are."""
    if isinstance(raw, (date, time)):
        return raw.isoformat()
    return [_times_as_text(each) for each in raw] if isinstance(raw, list) else raw


def _expected(kind: Any, raw: Any) -> str:
    """What a value of this type looks like, for a person."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is bool:
        return "must be true or false"
    if kind is int:
        return "must be a whole number" + (", without quotes" if isinstance(raw, str) and raw.isdigit() else "")
    if kind is float:
        return "must be a number"
    if kind is str:
        return f'must be text: write "{raw}"' if isinstance(raw, (int, float)) else "must be text in quotes"
    if origin is Literal:
        near = difflib.get_close_matches(str(raw), arguments, 1, 0.6)
        return f"must be one of {_quoted(arguments)}" + (f': did you mean "{near[0]}"?' if near else "")
    if origin is tuple:
        if get_origin(arguments[0]) is Literal:
            return f"must be a list of {_quoted(get_args(arguments[0]))}"
        return "must be a list such as " + ('["A", "B"]' if arguments[0] is str else '[["09:00", "12:00"]]')
    return "must be a table"


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _variables(kind: Any, prefix: str, path: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Every variable there is: its name, the path of its key, and the type that it wants."""
    found: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name, hint in get_type_hints(kind).items():
        if get_origin(hint) in (Union, types.UnionType):
            hint = get_args(hint)[0]
        variable = f"{prefix}_{name.upper()}"
        if _is_struct(hint):
            found |= _variables(hint, variable, (*path, name))
        else:
            found[variable] = ((*path, name), hint)
    return found


def _open_key(name: str, known: Mapping[str, tuple[tuple[str, ...], Any]]) -> tuple[tuple[str, ...], Any]:
    """A key inside a table whose keys are free, such as OMS_EXCHANGE_OPTIONS_HOST; ((), None) if it is none."""
    for variable, (path, hint) in known.items():
        if name.startswith(f"{variable}_") and hint == dict[str, Any]:
            return (*path, name[len(variable) + 1 :].lower()), Any
    return (), None


def _from_text(text: str, wanted: Any) -> Any:
    """A variable's text as the value that a file would hold; what cannot be read stays text, and is refused later."""
    if wanted is str or get_origin(wanted) is Literal:
        return text
    if get_origin(wanted) is tuple and not _is_struct(get_args(wanted)[0]) and not text.lstrip().startswith("["):
        return [each.strip() for each in text.split(",") if each.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    table: Any = tree
    for key in path[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            return  # the file has a plain value where a table belongs: reported there
    table[path[-1]] = value
