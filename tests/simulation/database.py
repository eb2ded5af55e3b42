"""SQLite as persistence meets it: the real one, with a hand on the connection."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from simulation.clock import MS

if TYPE_CHECKING:
    from simulation.world import World


class Database:
    """What befalls every connection that the desk makes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gone_until_ns = 0
        """Until then it cannot be opened, nor used."""
        self.slow_until_ns = 0
        """Until then a commit takes two seconds."""

    def module(self) -> SimpleNamespace:
        """In the place of the module sqlite3."""
        return SimpleNamespace(**{**vars(sqlite3), "connect": self._connect})

    def _connect(self, path: Any, **options: Any) -> sqlite3.Connection:
        self.check()
        options["timeout"] = 0.0
        connection = sqlite3.connect(path, factory=Connection, **options)
        connection.database = self
        process = self.world.current
        if process is not None:
            process.connections.append(connection)
        return connection

    def check(self) -> None:
        self.world.point("database")
        if self.world.clock.true_ns < self.gone_until_ns:
            raise sqlite3.OperationalError("disk I/O error")


class Connection(sqlite3.Connection):
    """One connection."""

    database: Database

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self.database.check()
        if sql.startswith("COMMIT") and self.database.world.clock.true_ns < self.database.slow_until_ns:
            self.database.world.let_others_work(self.database.world.current, 2_000 * MS)
        return super().execute(sql, *arguments)

    def abandon(self) -> None:
        """Its process is dead: an open transaction is rolled back by whoever comes next."""
        self.close()
