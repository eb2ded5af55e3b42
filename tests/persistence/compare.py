"""A database against the naive model."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.persistence.naive import Tables

KEYS = {
    "new_orders": 1, "order_states": 1, "changes": 1, "sends": 1, "reports": 1, "executions": 1, "sessions": 1,
    "raw": 2, "upstreams": 1, "matches": 1, "own_cancels": 1,
}  # fmt: skip


def content(path: Path) -> Tables:
    """Every row, as the model has it."""
    found: Tables = {}
    with closing(sqlite3.connect(path)) as connection:
        for table, keys in KEYS.items():
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            found[table] = {}
            for row in cursor:
                key: Any = row[0] if keys == 1 else row[:keys]
                assert key not in found[table], f"{table} has {key} twice"
                values = zip(names[keys:], row[keys:], strict=True)
                found[table][key] = {name: value for name, value in values if value is not None}
    return found


def assert_same(path: Path, expected: Tables) -> None:
    """Says the first difference."""
    found = content(path)
    for table in KEYS:
        wanted = expected.get(table, {})
        assert set(found[table]) == set(wanted), f"keys of {table}"
        for key, row in wanted.items():
            assert found[table][key] == row, f"{table} {key}"
