"""A specification as TOML: the fields of `SupervisorSpec` at the top, one `[[children]]` table per child.

Every error of the file is listed at once, each by its place.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from typing import Any, Final, get_type_hints

from supervisor.spec import ChildSpec, Restart, Strategy, SupervisorSpec, check


class SpecErrors(ValueError):
    """What is wrong, one line each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def parse(text: str) -> SupervisorSpec:
    """Raises SpecErrors."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecErrors([f"not TOML: {error}"]) from error
    tables = document.pop("children", [])
    if not _is_list_of(dict, tables):
        raise SpecErrors(["children: must be [[children]] tables"])
    errors: list[str] = []
    fields = _fields(SupervisorSpec, document, "", errors)
    children = tuple(_child(table, number, errors) for number, table in enumerate(tables, 1))
    spec = SupervisorSpec(children, **fields)
    errors += check(spec)
    if errors:
        raise SpecErrors(errors)
    return spec


def _child(table: dict[str, Any], number: int, errors: list[str]) -> ChildSpec:
    """A stand-in takes the place of a missing or unfit name or argv, so that the rest can still be checked."""
    place = f"child {table.get('name', number)!r}: "
    errors += [f"{place}{name}: missing" for name in ("name", "argv") if name not in table]
    return ChildSpec(**{"name": f"child-{number}", "argv": ("-",)} | _fields(ChildSpec, table, place, errors))


def _fields(kind: type, table: Mapping[str, Any], place: str, errors: list[str]) -> dict[str, Any]:
    """The values of `table` as `kind` wants them; what does not fit goes to `errors`."""
    hints = get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)} - {"children"}
    found = {}
    for key, value in table.items():
        if key not in known:
            errors.append(f"{place}{key}: unknown; known are {', '.join(sorted(known))}")
            continue
        what, convert = _KINDS[hints[key]]
        try:
            found[key] = convert(value)
        except TypeError:
            errors.append(f"{place}{key}: {value!r} is not {what}")
    return found


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _string(value: object) -> str:
    return value if isinstance(value, str) else _no()


def _integer(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _no()


def _number(value: object) -> float:
    return value if isinstance(value, float) else _integer(value)


def _strings(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and _is_list_of(str, value) else _no()


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    return tuple(value.items()) if isinstance(value, dict) and _is_list_of(str, [*value.values()]) else _no()


def _no() -> Any:
    raise TypeError


_KINDS: Final[dict[Any, tuple[str, Any]]] = {
    str: ("a string", _string),
    str | None: ("a string", _string),
    int: ("a whole number", _integer),
    int | None: ("a whole number", _integer),
    float: ("a number", _number),
    tuple[str, ...]: ("a list of strings", _strings),
    tuple[tuple[str, str], ...]: ("a table of strings", _pairs),
    Restart: ("a string", _string),
    Strategy: ("a string", _string),
}
