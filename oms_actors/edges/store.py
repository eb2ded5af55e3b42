"""The SQLite database: one writer, WAL, whole batches. The hot side: raw driver, no ORM.

A batch is one transaction: the rows and how far the journals are in (`positions`), so a row is there exactly once
however often the process dies. `synchronous=NORMAL`: a commit does not wait for the disk. What a power cut takes away
(rows and positions together) is read again from the journals, which are the durable part.

A database error leaves the store closed; `open` it again, and it says where to go on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ipc import inject
from oms_actors.core.fold import Shape, Values
from oms_actors.edges.journal import Position
from oms_actors.errors import OmsError
from oms_actors.record import order_uuid

SCHEMA_VERSION = 1
SQL_FILE = Path(__file__).with_name("schema.sql")
PAGE_BYTES = 8_192
"""Of a new database; one that is there keeps what it has. Rows only come behind the last, so larger pages are less work
(twice SQLite's: 3 %), as long as a batch fills many of them."""
CHECKPOINT_PAGES = 8_192
"""WAL pages after which a commit moves them into the database (64 MiB): hot pages are then written once, not often."""
BUSY_TIMEOUT_S = 0.1
"""How long a statement waits for another's lock; then it is tried again later."""
PARAMETERS = 1_000
"""Values per INSERT: several rows in one statement cost a third less than one by one."""
_PRAGMAS = (
    f"PRAGMA page_size = {PAGE_BYTES}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA secure_delete = OFF",
    "PRAGMA cache_size = -65536",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {2 * CHECKPOINT_PAGES * PAGE_BYTES}",
)


class StoreError(OmsError):
    """The database cannot be used now; says which file and why. Trying again later may help."""


class StoreForeign(StoreError):
    """The file is there and fine, but not ours: another desk's, or another version's. It is left alone."""


class Place(NamedTuple):
    """How far a journal is in: its next frame, and the sequence of its next record."""

    position: Position
    sequence: int


def order_id_prefix(desk: int) -> str:
    """What the order ids of a desk begin with; the order's number as 12 hex digits completes them."""
    return order_uuid(desk, 1)[:-12]


@cache
def sql_of(shape: Shape, rows: int = 1) -> str:
    """One statement that writes `rows` rows of a shape."""
    one = "(" + ",".join("?" * len(shape.columns)) + ")"
    changed = ",".join(f"{column}=excluded.{column}" for column in shape.columns[shape.keys :])
    return (
        f"INSERT INTO {shape.table} ({','.join(shape.columns)}) VALUES {','.join([one] * rows)} "
        f"ON CONFLICT ({','.join(shape.columns[: shape.keys])}) DO UPDATE SET {changed}"
    )


class Store:
    """The one writer of a database file. `order_id_prefix` says which desk's it is.

    `open`, then for each batch `begin` (the write lock), `write`, `commit`. All raise StoreError, and are closed then.
    """

    def __init__(self, path: Path, order_id_prefix: str) -> None:
        self.path, self._prefix = path, order_id_prefix
        self._database: sqlite3.Connection | None = None
        self._identity = (0, 0)

    @property
    def is_open(self) -> bool:
        """Ready for a batch."""
        return self._database is not None

    def open(self) -> dict[str, Place]:
        """Opens or makes the file; how far each journal is in, by role."""
        self.close()
        try:
            self._database = database = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._make(database)
            self._check(database)
            self._identity = _identity(self.path)
            rows = database.execute("SELECT journal, generation, byte_offset, sequence FROM positions").fetchall()
            return {role: Place(Position(generation, offset), sequence) for role, generation, offset, sequence in rows}
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def _make(self, database: sqlite3.Connection) -> None:
        """Ours from here on: all of the schema or none of it."""
        for pragma in _PRAGMAS:
            database.execute(pragma)
        if _is_made(database):
            return
        database.execute("BEGIN IMMEDIATE")
        if not _is_made(database):
            for statement in SQL_FILE.read_text().split(";\n"):
                database.execute(statement)
            database.execute("INSERT INTO desk VALUES (?)", (self._prefix,))
        database.execute("COMMIT")

    def _check(self, database: sqlite3.Connection) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            self.close()
            raise StoreForeign(f"{self.path}: schema version {version}, this program writes {SCHEMA_VERSION}")
        found = database.execute("SELECT order_id_prefix FROM desk").fetchone()
        if found is None or found[0] != self._prefix:
            self.close()
            raise StoreForeign(f"{self.path}: belongs to another desk ({found and found[0]}, this is {self._prefix})")

    def begin(self) -> None:
        """Takes the write lock; StoreError also if the file is not at its path any more."""
        database = self._open_database()
        try:
            if _identity(self.path) != self._identity:
                raise OSError("another file has its name now")
            database.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def roll_back(self) -> None:
        """Gives the write lock back; nothing has happened."""
        try:
            self._open_database().execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def commit(self, rows: Mapping[Shape, Values], places: Mapping[str, Place]) -> None:
        """Rows and places become visible together."""
        database = self._open_database()
        try:
            for shape, found in rows.items():
                _write(database, shape, found)
            database.executemany(
                "REPLACE INTO positions (journal, generation, byte_offset, sequence) VALUES (?,?,?,?)",
                [(role, *place.position, place.sequence) for role, place in places.items()],
            )
            inject.point("persistence.written")
            database.execute("COMMIT")
            inject.point("persistence.committed")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Reads what is committed."""
        try:
            return self._open_database().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def checkpoint(self) -> bool:
        """Everything committed is on the disk now (unless a reader is in the way: False)."""
        try:
            busy, _, _ = self._open_database().execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return not busy

    def set_aside(self, suffix: str) -> Path:
        """Closes it and gives the file another name, which is returned; StoreError."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.{suffix}")
        try:
            for ending in ("-wal", "-shm"):  # left only if the last writer was killed
                if Path(f"{self.path}{ending}").exists():
                    os.rename(f"{self.path}{ending}", f"{aside}{ending}")
            os.rename(self.path, aside)
        except OSError as error:
            raise self._failed(error) from error
        return aside

    def close(self) -> None:
        """Lets go of the file; what was not committed is gone."""
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error:
                pass  # it was failing already

    def _open_database(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError(f"{self.path}: not open")
        return self._database

    def _failed(self, error: Exception) -> StoreError:
        self.close()
        return StoreError(f"{self.path}: {error}")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_made(database: sqlite3.Connection) -> bool:
    """Somebody's tables are in it."""
    return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _write(database: sqlite3.Connection, shape: Shape, values: Values) -> None:
    width = len(shape.columns)
    several = PARAMETERS // width
    step = several * width
    grouped = len(values) // step * step
    if grouped:
        database.executemany(sql_of(shape, several), [values[at : at + step] for at in range(0, grouped, step)])
    if grouped < len(values):
        rest = [values[at : at + width] for at in range(grouped, len(values), width)]
        database.executemany(sql_of(shape), rest)
