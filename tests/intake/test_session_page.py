"""The session page: consistent for readers whatever happens to the writer."""

from pathlib import Path

from oms_actors.core.hours import ALWAYS, CLOSED, SessionState
from oms_actors.edges.session_page import SessionView, SessionWriter

OPEN = SessionState(1, 20260706, 100, 200, 300)


def test_a_reader_that_came_before_the_page_sees_closed_and_then_what_is_published(tmp_path: Path) -> None:
    view = SessionView(tmp_path / "session.page")
    assert view.read() == CLOSED
    assert not view.known
    SessionWriter(tmp_path / "session.page").publish(OPEN, 5)
    assert view.read() == OPEN
    assert view.known


def test_the_interval_is_half_open() -> None:
    assert OPEN.is_open_at(100)
    assert OPEN.is_open_at(199)
    assert not OPEN.is_open_at(200)
    assert not OPEN.is_open_at(99)
    assert ALWAYS.is_open_at(1_800_000_000_000_000_000)
    assert not CLOSED.is_open_at(0)


def test_a_writer_that_died_in_the_middle_leaves_readers_with_the_last_whole_state(tmp_path: Path) -> None:
    writer, view = SessionWriter(tmp_path / "p"), SessionView(tmp_path / "p")
    writer.publish(OPEN, 5)
    assert view.read() == OPEN
    writer.page["version"] += 1
    writer.page["close_ns"] = 999
    assert view.read() == OPEN
    successor = SessionWriter(tmp_path / "p")
    successor.publish(CLOSED, 6)
    assert view.read() == CLOSED
    assert successor.page["version"] % 2 == 0


def test_a_page_of_another_layout_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"x" * 4096)
    view = SessionView(tmp_path / "p")
    assert view.read() == CLOSED
    SessionWriter(tmp_path / "p").publish(OPEN, 1)
    assert view.read() == OPEN
