"""The persistence role against databases and journals that fail in every way they can."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oms_actors.actors import persistence
from oms_actors.actors.commands import Stats
from oms_actors.actors.persistence import Alarm, PersistenceRole
from oms_actors.config import Config, PersistenceConfig
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.store import StoreError
from tests.persistence.compare import assert_same
from tests.persistence.naive import tables
from tests.support.disk import Killed
from tests.support.journals import Script, mixed_day, open_script, plain_day
from tests.support.roles import context_of, resolve

MS = 1_000_000


class Bench:
    """Journals, a database and a role whose clock only moves when told to."""

    def __init__(self, folder: Path, clock: Clock, **settings: Any) -> None:
        self.clock = clock
        self.resolved = resolve(folder, Config(persistence=PersistenceConfig(**settings)))
        self.data = Path(self.resolved.data_dir)
        self.path = self.data / (settings.get("database") or "oms.sqlite")
        self.boot = journals.boot_word()
        self.script = self.open_script()
        self.role = self.start()

    def open_script(self) -> Script:
        marks: dict[str, Any] = {role: journals.mark(self.resolved, role) for role in ("intake", "sender")}
        return open_script(journals.folder(self.resolved), segment_bytes=1 << 18, boot=self.boot, marks=marks)

    def start(self) -> PersistenceRole:
        """A new life over the same files."""
        self.role = PersistenceRole(context_of(self.resolved, "persistence"))
        self.role.start()
        return self.role

    def work(self) -> int:
        """Until nothing happens any more; how many batches."""
        batches = idle = 0
        while idle < 3:
            self.clock.ns += 3_000 * MS  # beyond every pause
            worked = self.role.work()
            batches += worked
            idle = 0 if worked else idle + 1
        return batches

    @property
    def alarm(self) -> int:
        return self.role.page["alarm"]

    def assert_complete(self) -> None:
        assert_same(self.path, tables(OsDisk(journals.folder(self.resolved))))


class Clock:
    """In place of time.monotonic_ns."""

    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns


Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    clock, made = Clock(), []
    monkeypatch.setattr(persistence, "monotonic_ns", clock)

    def make(**settings: Any) -> Bench:
        made.append(Bench(tmp_path, clock, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.role.store.close()


# -- what it does -----------------------------------------------------------------------------------------------------


def test_everything_in_the_journals_becomes_rows_and_the_page_counts_them(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 300, 1)
    bench.work()
    bench.assert_complete()
    page = bench.role.page
    expected = tables(OsDisk(journals.folder(bench.resolved)))
    assert page["requests"] == len(expected["new_orders"]) + len(expected["changes"])
    assert page["executions"] == len(expected["executions"])
    others = sum(row["response_type"] > 0 for row in expected["reports"].values())
    fills = sum(row["flags"] & 8 > 0 for row in expected["executions"].values())
    assert page["responses"] == fills + others
    assert len(bench.role.store.query("SELECT * FROM responses")) == fills + others
    assert len(bench.role.store.query("SELECT * FROM requests")) == page["requests"]
    assert (page["lag_bytes_intake"], page["lag_bytes_sender"], page["alarm"]) == (0, 0, 0)
    assert page.histogram("commit_ns").count == page["commits"] > 0
    assert bench.role.command(Stats()) == page.counters()


def test_a_row_is_there_as_soon_as_its_frame_is_durable_and_the_interval_is_over(make: Make) -> None:
    bench = make(commit_interval_ms=50)
    bench.work()
    bench.script.new("A-1")
    assert not bench.role.ready()
    bench.script.flush()
    assert bench.role.ready()
    assert bench.role.work()
    bench.script.new("A-2")
    bench.script.flush()
    assert not bench.role.ready()
    assert bench.role.next_due_ns() == bench.clock.ns + 50 * MS
    bench.clock.ns += 50 * MS
    assert bench.role.ready()
    assert bench.role.work()
    bench.assert_complete()


def test_with_nothing_to_do_it_is_not_ready_and_looks_again_after_its_interval(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 50, 2)
    bench.work()
    assert not bench.role.ready()
    assert bench.role.next_due_ns() == bench.clock.ns + 50 * MS


def test_a_backlog_is_worked_off_in_batches_without_pauses(make: Make) -> None:
    bench = make(batch_records=1_000)
    plain_day(bench.script, 2_000, per_frame=50)
    batches = 0
    while bench.role.work():
        batches += 1
    bench.work()
    assert batches >= 8
    bench.assert_complete()


def test_an_orderly_stop_takes_in_what_is_left(make: Make) -> None:
    bench = make()
    bench.work()
    mixed_day(bench.script, 50, 3)
    bench.role.work()
    mixed_day(bench.script, 50, 4)
    bench.role.stop()
    bench.assert_complete()


def test_a_senders_frame_waits_for_the_requests_that_it_had_consumed(make: Make) -> None:
    bench = make()
    script = bench.script
    order = script.new("A-1")
    script.send(order)
    consumed = script.intake.sequence
    script.sender.append(b"".join(script._out), len(script._out), 5, 5, consumed)
    script._out.clear()
    bench.work()
    assert bench.role.page["sends"] == 0
    assert bench.alarm == Alarm.SENDER_AHEAD
    script.flush_intake()
    bench.work()
    assert bench.role.page["sends"] == 1
    assert bench.alarm == Alarm.NONE
    bench.assert_complete()


def test_a_frame_that_is_no_records_is_kept_whole_and_the_rest_goes_on(make: Make) -> None:
    bench = make()
    bench.script.new("A-1")
    bench.script.flush()
    bench.script.intake.append(bytes(192), 1, 77, 5)
    bench.script.new("A-2")
    bench.script.flush()
    bench.work()
    with closing(sqlite3.connect(bench.path)) as database:
        assert database.execute("SELECT origin, sequence, time_ns, data FROM raw").fetchall() == [
            ("intake", 2, 77, bytes(192))
        ]
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (2,)


# -- exactly once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_killed_before_or_after_the_nth_commit_every_row_is_there_once(make: Make, nth: int, after: bool) -> None:
    bench = make(batch_records=100)
    mixed_day(bench.script, 400, nth)
    commit, count = bench.role.store.commit, 0

    def dying(rows: Any, places: Any) -> None:
        nonlocal count
        count += 1
        if after or count < nth:
            commit(rows, places)
        if count == nth:
            raise Killed

    bench.role.store.commit = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        bench.work()
    bench.role.store.close()
    bench.start()
    bench.work()
    bench.assert_complete()


@pytest.mark.parametrize("statement", [1, 2, 3, 7])
def test_an_error_inside_of_a_transaction_leaves_nothing_of_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    bench = make()
    mixed_day(bench.script, 200, 5)
    from oms_actors.edges import store

    write, count = store._write, 0

    def failing(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == statement:
            raise sqlite3.OperationalError("disk I/O error")
        write(*arguments)

    monkeypatch.setattr(store, "_write", failing)
    bench.clock.ns += 10_000 * MS
    assert not bench.role.work()
    assert bench.alarm == Alarm.DATABASE_FAILED
    bench.work()
    assert bench.alarm == Alarm.NONE
    bench.assert_complete()


# -- databases that fail ----------------------------------------------------------------------------------------------


def test_a_locked_database_is_tried_again_with_growing_pauses_and_nothing_is_lost(make: Make) -> None:
    bench = make()
    bench.work()
    mixed_day(bench.script, 100, 6)
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        pauses = []
        for _ in range(4):
            bench.clock.ns = max(bench.clock.ns, bench.role.next_due_ns())
            assert not bench.role.work()
            pauses.append((bench.role.next_due_ns() - bench.clock.ns) // MS)
            assert not bench.role.ready()
        assert pauses == [50, 100, 200, 400]
        assert bench.alarm == Alarm.DATABASE_FAILED
        assert bench.role.page["retries"] == 4
        waiting = {role: bench.role.page[f"lag_bytes_{role}"] for role in ("intake", "sender")}
        assert waiting == {each.role: each.reader.durable() for each in (bench.role.intake, bench.role.sender)}
        other.execute("ROLLBACK")
    mixed_day(bench.script, 100, 7)
    bench.work()
    assert bench.alarm == Alarm.NONE
    bench.assert_complete()


def test_a_missing_folder_is_waited_for_also_at_the_start(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    bench = make(database="disk/oms.sqlite")
    mixed_day(bench.script, 50, 8)
    bench.work()
    bench.work()
    assert bench.alarm == Alarm.DATABASE_FAILED
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1
    assert "unable to open database file" in said[0]
    (bench.data / "disk").mkdir()
    bench.work()
    bench.assert_complete()


def test_a_database_that_was_moved_away_is_made_anew_with_every_row(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 50, 9)
    bench.work()
    shutil.move(bench.path, bench.data / "elsewhere")
    mixed_day(bench.script, 50, 10)
    bench.work()
    bench.assert_complete()


def test_an_older_copy_of_the_database_that_is_put_back_is_brought_up_to_date(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 50, 11)
    bench.work()
    bench.role.store.close()
    shutil.copy(bench.path, bench.data / "copy")
    bench.start()
    mixed_day(bench.script, 50, 12)
    bench.work()
    for path in bench.data.glob("oms.sqlite*"):
        path.unlink()
    shutil.copy(bench.data / "copy", bench.path)
    mixed_day(bench.script, 50, 13)
    bench.work()
    bench.assert_complete()


def test_a_full_disk_stops_only_the_database_and_later_everything_comes(make: Make) -> None:
    bench = make()
    bench.work()
    mixed_day(bench.script, 1_000, 14)
    opened = bench.role.store.open

    def open_full() -> Any:
        places = opened()
        pages = bench.role.store.query("PRAGMA page_count")[0][0]
        bench.role.store.query(f"PRAGMA max_page_count = {pages}")
        return places

    bench.role.store.open = open_full  # type: ignore[method-assign]
    bench.role.store.close()
    bench.work()
    assert bench.alarm == Alarm.DATABASE_FAILED
    bench.role.store.open = opened  # type: ignore[method-assign]
    bench.work()
    assert bench.alarm == Alarm.NONE
    bench.assert_complete()


def test_a_commit_may_take_seconds_and_what_comes_meanwhile_is_next(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 50, 15)
    commit, calls = bench.role.store.commit, bench.role.context.vitals

    def slow(rows: Any, places: Any) -> None:
        assert calls.entered
        bench.clock.ns += 2_000 * MS
        if bench.clock.ns < 10**12 + 20_000 * MS:
            mixed_day(bench.script, 20, 16)
        commit(rows, places)

    bench.role.store.commit = slow  # type: ignore[method-assign]
    bench.work()
    assert not calls.entered
    bench.assert_complete()
    assert bench.role.page.histogram("commit_ns").max == 2_000 * MS


def test_the_database_of_another_desk_or_version_is_left_alone(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 50, 17)
    bench.work()
    before = bench.path.read_bytes()
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("UPDATE desk SET order_id_prefix = 'other'")
        database.commit()
    bench.role.store.close()
    bench.work()
    assert bench.alarm == Alarm.DATABASE_FOREIGN
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("UPDATE desk SET order_id_prefix = ?", (persistence.order_id_prefix(7),))
        database.execute("PRAGMA user_version = 99")
        database.commit()
    bench.work()
    assert bench.alarm == Alarm.DATABASE_FOREIGN
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("PRAGMA user_version = 1")
        database.commit()
    mixed_day(bench.script, 50, 18)
    bench.work()
    assert bench.alarm == Alarm.NONE
    bench.assert_complete()
    assert before


def test_a_file_that_is_no_database_is_an_alarm_and_no_end(make: Make) -> None:
    bench = make(database="notes.txt")
    bench.role.store.close()
    for path in bench.data.glob("notes.txt*"):
        path.unlink()
    bench.path.write_text("buy milk\n" * 500)
    mixed_day(bench.script, 20, 19)
    bench.work()
    assert bench.alarm == Alarm.DATABASE_FAILED
    assert bench.path.read_text().startswith("buy milk")


# -- ahead of the journal ---------------------------------------------------------------------------------------------


def test_a_database_ahead_of_its_journal_is_set_aside_and_made_anew(make: Make) -> None:
    bench = make()
    folder = journals.folder(bench.resolved)
    mixed_day(bench.script, 100, 20)
    shutil.copytree(folder, bench.data / "older")
    mixed_day(bench.script, 100, 21)
    bench.work()
    shutil.rmtree(folder)  # a power cut: the tail is gone, and it is another boot
    shutil.move(bench.data / "older", folder)
    bench.boot += 2
    bench.script = bench.open_script()
    mixed_day(bench.script, 100, 22)
    bench.role.store.close()
    bench.start()
    bench.work()
    assert bench.role.page["set_aside"] == 1
    bench.assert_complete()
    aside = list(bench.data.glob("oms.sqlite.ahead-*"))
    assert len(aside) == 1
    with closing(sqlite3.connect(aside[0])) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone()[0] > 0


def test_a_damaged_journal_is_an_alarm_and_goes_on_once_it_is_mended(make: Make) -> None:
    bench = make()
    mixed_day(bench.script, 50, 23)
    path = next(journals.folder(bench.resolved).glob("intake-*.journal"))
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    bench.work()
    assert bench.alarm == Alarm.JOURNAL_FAILED
    data[300] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    bench.work()
    assert bench.alarm == Alarm.NONE
    bench.assert_complete()


# -- responses.log ----------------------------------------------------------------------------------------------------


def test_responses_log_has_a_line_for_each_response_once_also_after_a_kill(make: Make) -> None:
    bench = make(responses_log=True)
    order = bench.script.new("A-1")
    bench.script.send(order)
    bench.script.ack(order)
    bench.script.fill(order, text="as agreed")
    bench.script.flush()
    bench.work()
    bench.role.store.close()
    bench.start()
    bench.script.reject(bench.script.new("A-2"), text="no")
    bench.script.flush()
    bench.work()
    lines = (bench.data / "responses.log").read_text().splitlines()
    assert [line.split("  ")[1:] for line in lines] == [
        ["A-1", "ACK", "250.0 us", "#2"],
        ["A-1", "FILL", "250.0 us", "'as agreed'", "#3"],
        ["A-2", "REJECT", "250.0 us", "'no'", "#6"],
    ]
    assert lines[0].startswith("2025-06-15T15:06:40.000002Z")


def test_a_log_that_cannot_be_written_keeps_no_row_out(make: Make) -> None:
    bench = make(responses_log=True)
    (bench.data / "responses.log").mkdir()
    mixed_day(bench.script, 50, 24)
    bench.work()
    bench.assert_complete()


def test_a_store_that_is_not_open_says_so(make: Make) -> None:
    bench = make()
    bench.role.store.close()
    with pytest.raises(StoreError, match="not open"):
        bench.role.store.begin()
