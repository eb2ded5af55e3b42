"""Notes: no passwords in them, and a log that ends nobody."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from supervisor import fence, logs, published
from supervisor.logs import log_setup
from supervisor.notes import Note, redact
from supervisor.published import Published
from supervisor.restart import Exit
from supervisor.spec import ChildSpec, SupervisorSpec
from supervisor.supervisor import Supervisor


@pytest.mark.parametrize(("text", "shown"), [
    ("no route to postgresql://oms:hunter2@db:5432/oms", "no route to postgresql://oms:***@db:5432/oms"),
    ("mysql://u:p@ss@h/w", "mysql://u:***@h/w"),
    ("password=hunter2 host=db", "password=*** host=db"),
    ('{"api_key": "abc def", "user": "x"}', '{"api_key": ***, "user": "x"}'),
    ("DB_PASSWORD='a b'; x", "DB_PASSWORD=***; x"),
    ("exit code 7: ring intake is full", "exit code 7: ring intake is full"),
    ("http://localhost:8000/x@y", "http://localhost:8000/x@y"),
])
def test_passwords_are_not_told(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_the_log_is_json_lines_that_nobody_else_reads_and_it_is_rotated(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 200)
    path = tmp_path / "supervisor.log"
    tell = log_setup(path)
    for number in range(3):
        tell(Note(1_700_000_000_123_456_000, "a", "exited", f"exit code {number} é\n" + "x" * 60))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["text"].startswith("exit code 2 é\n")
    assert json.loads((tmp_path / "supervisor.log.1").read_text())["time"].startswith("2023-11-14T22:13:20.123456")


def test_a_log_that_cannot_be_written_does_not_end_the_supervisor(tmp_path: Path) -> None:
    def full(note: Note) -> None:
        raise OSError(28, "No space left on device")

    spec = SupervisorSpec((ChildSpec("a", ("/bin/true",), heartbeat_timeout_ms=0, restart="temporary"),))
    assert Supervisor(spec, tmp_path / "run", "full", on_event=full).run() == 0


def test_a_full_file_system_is_noted_and_supervision_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(runtime_dir: Path, document: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(published, "publish", full)
    notes: list[Note] = []
    spec = SupervisorSpec((ChildSpec("a", ("/bin/true",), heartbeat_timeout_ms=0, restart="temporary"),))
    assert Supervisor(spec, tmp_path, "full", on_event=notes.append).run() == 0
    assert {note.text for note in notes if note.what == "not published"} == {"[Errno 28] No space left on device"}


@pytest.mark.process
def test_a_bug_of_ours_leaves_no_child_behind(tmp_path: Path) -> None:
    started: list[int] = []

    def bug(note: Note) -> None:
        if note.what == "started":
            started.append(int(note.text.removeprefix("pid ")))
            raise RuntimeError("bug")

    spec = SupervisorSpec((ChildSpec("a", ("/bin/sleep", "600"), heartbeat_timeout_ms=0),))
    with pytest.raises(RuntimeError, match="bug"):
        Supervisor(spec, tmp_path, "x", on_event=bug).run()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_a_bad_spec_ends_in_exit_code_2_before_anything_is_made(tmp_path: Path) -> None:
    notes: list[Note] = []
    assert Supervisor(SupervisorSpec(()), tmp_path / "run", "bad", on_event=notes.append).run() == 2
    assert [(note.what, note.text) for note in notes] == [("refused", "children: none given")]
    assert not (tmp_path / "run").exists()


def test_a_failing_preparation_releases_the_instance(tmp_path: Path) -> None:
    def fails() -> None:
        raise OSError(28, "No space left on device")

    spec = SupervisorSpec((ChildSpec("a", ("/bin/true",), heartbeat_timeout_ms=0, restart="temporary"),))
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            Supervisor(spec, tmp_path, "x", prepare=fails).run()


def test_an_orphan_that_may_not_be_killed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(fd: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(fence, "open_process", lambda *_: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(fence.signal, "pidfd_send_signal", refuse)
    former = Published({"pid": 1, "start_ticks": 1, "boot_id": "x", "state": "up",
                        "children": [{"name": "a", "pid": 2, "start_ticks": 3}, {"name": "b", "pid": None}]}, False)
    left = fence.fence(former)
    assert left == published.Named("a", 2, 3, "x")
    (tmp_path / published.FILE_NAME).write_text(json.dumps(former.document))
    notes: list[Note] = []
    spec = SupervisorSpec((ChildSpec("a", ("/bin/true",), heartbeat_timeout_ms=0),))
    assert Supervisor(spec, tmp_path, "x", on_event=notes.append).run() == 6
    assert [note.what for note in notes] == ["stale", "not fenced"]


def test_a_full_file_system_leaves_the_former_document_and_nothing_half_made(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"pid": 1, "start_ticks": 1, "boot_id": "", "state": "ended", "children": []}
    published.publish(tmp_path, document)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        published.publish(tmp_path, document | {"pid": 2})
    found = published.read(tmp_path)
    assert found is not None
    assert found.supervisor.pid == 1
    assert [path.name for path in tmp_path.iterdir()] == [published.FILE_NAME]


def test_the_next_document_has_its_room_before_the_file_system_is_full(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"pid": 1, "start_ticks": 1, "boot_id": "", "state": "up", "children": []}
    published.publish(tmp_path, document)

    def full(fd: int, _: int, size: int) -> None:
        if os.fstat(fd).st_size < size:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    published.publish(tmp_path, document | {"pid": 2})
    found = published.read(tmp_path)
    assert found is not None
    assert found.supervisor.pid == 2


def test_who_wants_to_know_is_told_of_every_death(tmp_path: Path) -> None:
    told: list[tuple[str, int, str]] = []

    def on_exit(name: str, pid: int, code: int, exit: Exit) -> None:
        assert pid > 1
        told.append((name, code, exit.text))
        raise OSError(28, "No space left on device")  # which ends nobody

    children = tuple(ChildSpec(name, ("/bin/sh", "-c", command), heartbeat_timeout_ms=0, restart="temporary")
                     for name, command in (("a", "kill -9 $$"), ("b", "exit 3"), ("c", "exit 0")))
    assert Supervisor(SupervisorSpec(children), tmp_path, "told", on_exit=on_exit).run() == 0
    assert sorted(told) == [("a", -9, "killed by SIGKILL"), ("b", 3, "exit code 3"), ("c", 0, "exit code 0")]
