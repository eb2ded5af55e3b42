"""A restart needs no space: what a dead predecessor left is used on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import segment
from ipc.errors import NoSpace, NotThere
from ipc.page import PAGE_JSON_AT, Page
from ipc.vitals import State, Vitals
from ipc.wait import Bell


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """From `full()` on there is no space for anything new."""

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_space)
        yield patched


def test_a_page_begins_anew_where_its_predecessor_was(shm: Path, request: pytest.FixtureRequest) -> None:
    path = str(shm / "a.page")
    old = Page.create(path, ["orders"], ["latency"])
    old["orders"] = 7
    old.histogram("latency").record(1000)
    reader = Page.attach(path)
    old.close()
    request.getfixturevalue("full")
    new = Page.create(path, ["orders"], ["latency"])
    assert (new["orders"], new.histogram("latency").count, new.histogram("latency").max) == (0, 0, 0)
    new["orders"] = 3
    assert reader["orders"] == 3
    assert new.writer[0] == os.getpid()
    with pytest.raises(NoSpace):
        Page.create(path, ["orders", "fills"], ["latency"])
    assert Page.attach(path)["orders"] == 3, "another layout is another file, or nothing happens"


def test_vitals_begin_anew_where_the_predecessors_were(shm: Path, request: pytest.FixtureRequest) -> None:
    path = shm / "a.vitals"
    old = Vitals.create(path, in_call_limit_ns=5)
    old.ready(7)
    old.failed(11, "why")
    old.close()
    request.getfixturevalue("full")
    new = Vitals.create(path)
    found = (new.state, new.ready_ns, new.heartbeat_ns, new.exit_code, new.in_call_limit_ns, new.status)
    assert found == (State.STARTING, 0, 0, 0, 0, "")


def test_nothing_half_made_stays_when_there_is_no_space(shm: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("full")
    with pytest.raises(NoSpace):
        Bell.create(str(shm / "a.bell"))
    assert list(shm.iterdir()) == []


def test_what_is_no_file_of_that_size_is_replaced(shm: Path) -> None:
    path = shm / "a"
    path.write_bytes(b"x")
    file = segment.renew(str(path), 64, lambda view: view.__setitem__(slice(0, 1), b"y"))
    assert path.read_bytes() == b"y" + bytes(63)
    file.close()


@pytest.mark.parametrize("kind", [Page, Vitals])
def test_what_is_just_being_made_is_not_there_yet(shm: Path, kind: type[Page] | type[Vitals]) -> None:
    path = str(shm / "a")
    Page.create(path, ["orders"]).close() if kind is Page else Vitals.create(path).close()
    refused: list[NotThere] = []

    def attach(view: memoryview) -> None:
        with pytest.raises(NotThere, match="is just being made") as refusal:
            kind.attach(path)
        refused.append(refusal.value)

    segment.renew(path, os.stat(path).st_size, attach).close()
    assert len(refused) == 1


def test_a_page_that_is_begun_anew_while_somebody_reads_its_names_is_not_there_yet(shm: Path) -> None:
    path = str(shm / "a.page")
    Page.create(path, ["orders"]).close()
    with segment.open_plain(path) as file:
        os.pwrite(file.fileno(), bytes(64), PAGE_JSON_AT)
    with pytest.raises(NotThere, match="is just being made"):
        Page.attach(path)
