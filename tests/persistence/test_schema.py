"""One schema source: what the hot process executes and writes is what the metadata says."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from oms_actors.core.fold import SHAPES
from oms_actors.edges import schema
from oms_actors.edges.store import SCHEMA_VERSION, sql_of
from oms_actors.messages import OrdStatus


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.SQL_FILE.read_text())
    return connection


def test_schema_sql_is_what_schema_py_generates() -> None:
    assert schema.SQL_FILE.read_text() == schema.sqlite_script(), "run python -m oms_actors.edges.schema"


def test_every_shape_fits_its_table() -> None:
    with closing(database()) as connection:
        for shape in SHAPES:
            table = schema.metadata.tables[shape.table]
            assert set(shape.columns) <= set(table.columns.keys())
            assert {column.name for column in table.primary_key} == set(shape.columns[: shape.keys])
            connection.executemany(sql_of(shape, 2), [range(2 * len(shape.columns))])


def test_every_view_can_be_read_and_the_version_is_there() -> None:
    with closing(database()) as connection:
        for view in schema.VIEWS:
            connection.execute(f"SELECT * FROM {view}").fetchall()
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION


def test_decimals_and_times_read_exactly() -> None:
    with closing(database()) as connection:
        for value, text in ((58533000000, "585.33"), (-1, "-0.00000001"), (0, "0"), (-150000000, "-1.5"),
                            (2**63 - 1, "92233720368.54775807"), (10000000000, "100")):  # fmt: skip
            assert connection.execute(f"SELECT {schema._decimal(str(value))}").fetchone()[0] == text
        shown = connection.execute(f"SELECT {schema._time('1750000000123456789')}").fetchone()[0]
        assert shown == "2025-06-15 15:06:40.123456789"


def test_the_hot_process_does_not_import_the_library_behind_the_schema() -> None:
    code = "import sys, oms_actors.actors.persistence; print('sqlalchemy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_file_lies_in_the_package() -> None:
    assert Path(schema.__file__).parent == schema.SQL_FILE.parent


def test_the_simple_view_of_an_order_is_one_word() -> None:
    lives = {
        "OPEN": (OrdStatus.PENDING_NEW, 0, False), "SUBMITTED": (OrdStatus.NEW, 0, True),
        "PARTIAL": (OrdStatus.PARTIALLY_FILLED, 5, True), "MATCHED": (OrdStatus.FILLED, 9, True),
        "FAILED": (OrdStatus.CANCELED, 5, True),
    }  # fmt: skip
    with closing(database()) as connection:
        for number, (word, (status, cum, sent)) in enumerate(lives.items(), 1):
            connection.execute("INSERT INTO new_orders (order_number, client_order_id) VALUES (?, ?)", (number, word))
            connection.execute(
                "INSERT INTO order_states (order_number, ord_status, cum_quantity) VALUES (?, ?, ?)",
                (number, int(status), cum),
            )
            if sent:
                connection.execute("INSERT INTO sends (sequence, order_number) VALUES (?, ?)", (number, number))
        found = connection.execute("SELECT client_order_id, simple FROM v_orders ORDER BY order_number").fetchall()
    assert [row[1] for row in found] == list(lives)
