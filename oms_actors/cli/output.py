"""What commands print: tables and sentences for people, one JSON object for machines, one line for an error.

rich is imported only by who draws something.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from oms_actors.errors import OmsError

if TYPE_CHECKING:
    from rich.console import Console

FINE, FAILED, USAGE = 0, 1, 2
_PLAIN_WIDTH = 160


class Failed(OmsError):
    """A command cannot go on: the message says what to do next."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        self.code = code
        super().__init__(message)


def usage(message: str) -> NoReturn:
    """Ends the command: it was called wrongly."""
    raise Failed(message, USAGE)


def emit(document: dict[str, Any]) -> None:
    """One JSON object as a line of stdout (the last one: nothing may be printed after it)."""
    sys.stdout.flush()
    print(json.dumps(document, default=_plain), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def console(stderr: bool = False) -> Console:
    """rich's console; wide enough for tables where the output is no terminal."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_PLAIN_WIDTH, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> None:
    """Draws a table on stdout; the columns named in `right` are numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    numbers = set(right)
    drawn = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
    for row in rows:
        drawn.add_row(*(each if isinstance(each, Text) else Text(cell(each)) for each in row))
    console().print(drawn)


def cell(value: Any) -> str:
    """A value as people write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    return str(value)


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "-"
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.1f} {unit}"
    return f"{count} B"


def time_of(ns: int | None) -> str:
    """UTC ns as local date and time, to the millisecond."""
    if not ns:
        return "-"
    from datetime import datetime

    return datetime.fromtimestamp(ns / 1e9).strftime("%Y-%m-%d %H:%M:%S.") + f"{ns // 1_000_000 % 1000:03d}"


def note(message: str) -> None:
    """A sentence for people, on stderr: stdout belongs to results."""
    print(message, file=sys.stderr, flush=True)


def hide_broken_pipe() -> None:
    """Whoever read our output has enough: nothing more is written, nor complained about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
