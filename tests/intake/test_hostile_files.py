"""Whatever an upstream puts where its file should be costs only itself: intake refuses it by name and goes on."""

from __future__ import annotations

import errno
import gc
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.duplex import DUPLEX_RINGS_AT, create_duplex
from ipc.ring import RING_HEAD_AT, RING_TAIL_AT
from oms_actors.edges import parked
from oms_actors.edges.upstreams import SPARE_DESCRIPTORS
from oms_actors.instance import PARKED
from tests.intake.desk import Desk
from tests.intake.makers import new

REQUESTS, REPORTS = 64 << 10, 64 << 10
REPORTS_AT = DUPLEX_RINGS_AT + REQUESTS + 4096
ENDLESS = 2**64 - 16


def made(desk: Desk, name: str, words: dict[int, int] | None = None, reports: int = REPORTS) -> Path:
    """An upstream's file with some words scribbled over, there from one instant to the next."""
    hidden, path = desk.runtime / f".{name}", desk.runtime / "upstreams" / f"{name}.up"
    create_duplex(str(hidden), REQUESTS, reports, name).close()
    with open(hidden, "r+b") as file:
        for at, value in (words or {}).items():
            file.seek(at)
            file.write(struct.pack("<Q", value))
    path.parent.mkdir(exist_ok=True)
    hidden.rename(path)
    return path


def serves(desk: Desk, number: int) -> bool:
    """Does the desk still serve a decent upstream?"""
    oms = desk.upstream("good")
    oms.submit(new(number))
    desk.settle()
    return len(list(oms.reports())) == 2


@pytest.mark.parametrize("ring_at", [DUPLEX_RINGS_AT, REPORTS_AT], ids=["requests", "reports"])
@pytest.mark.parametrize("words", [
    {RING_HEAD_AT: ENDLESS, RING_TAIL_AT: ENDLESS},
    {RING_HEAD_AT: ENDLESS - 4096, RING_TAIL_AT: ENDLESS},
    {RING_HEAD_AT: 1 << 63, RING_TAIL_AT: 1 << 63},
], ids=["end", "near the end", "half"])  # fmt: skip
def test_a_header_at_the_end_of_all_positions_brings_nobody_down(
    desk: Desk, ring_at: int, words: dict[int, int]
) -> None:
    assert serves(desk, 1)
    made(desk, "bad", {ring_at + at: value for at, value in words.items()})
    assert serves(desk, 2)
    assert list(desk.intake.upstreams._bad) == ["bad"]
    assert serves(desk, 3)


def test_a_position_that_no_word_can_hold_parks_the_link(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    oms = desk.upstream("bad")
    oms.submit(new(1))
    desk.settle()
    link = next(iter(desk.intake.upstreams.links.values()))
    link.server.reports._tail = 2**64 - 16
    link.server.reports._limit = 2**64 + 100_000
    oms.submit(new(2))
    desk.settle()
    assert link.parked
    assert serves(desk, 3)


def test_a_report_ring_too_small_for_a_report_with_its_text_is_refused(desk: Desk) -> None:
    assert serves(desk, 1)
    for size in (1024, 1152, 2048):
        made(desk, f"tiny-{size}", reports=size)
    assert serves(desk, 2)
    assert sorted(desk.intake.upstreams._bad) == ["tiny-1024", "tiny-1152", "tiny-2048"]


# -- what is no file at all -------------------------------------------------------------------------------------------


def a_directory(path: Path) -> None:
    path.mkdir()


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_a_file(path: Path) -> None:
    other = path.parent.parent / "other"
    create_duplex(str(other), REQUESTS, REPORTS, "odd").close()
    path.symlink_to(other)


def a_closed_file(path: Path) -> None:
    create_duplex(str(path), REQUESTS, REPORTS, "odd").close()
    path.chmod(0)


def somebody_elses(path: Path) -> None:
    create_duplex(str(path), REQUESTS, REPORTS, "odd").close()
    os.chown(path, 65534, 65534)


ROOT = os.geteuid() == 0
KINDS = [
    a_directory, a_fifo, a_loop, a_socket, a_device, a_link_to_a_file,
    pytest.param(a_closed_file, marks=pytest.mark.skipif(ROOT, reason="root may open everything")),
    pytest.param(somebody_elses, marks=pytest.mark.skipif(not ROOT, reason="only root gives files away")),
]  # fmt: skip


@pytest.mark.parametrize("make", KINDS)
def test_what_is_not_a_plain_file_of_ours_is_refused_once_and_by_name(
    desk: Desk, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert serves(desk, 1)
    make(desk.runtime / "upstreams" / "odd.up")
    with caplog.at_level(logging.ERROR):
        assert serves(desk, 2)
        assert serves(desk, 3)
    assert list(desk.intake.upstreams._bad) == ["odd"]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["upstream odd is not served"]
    desk.kill()
    assert serves(desk, 4), "nor does it stop the next intake"


# -- descriptors ------------------------------------------------------------------------------------------------------


@pytest.fixture
def next_descriptor() -> Iterator[int]:
    """The descriptor that comes next; from it on they come one after the other."""
    gc.collect()  # what others have left open must not be closed meanwhile
    last = max(map(int, os.listdir("/proc/self/fd")))
    held = [os.dup(0)]
    while held[-1] < last:
        held.append(os.dup(0))
    os.close(held[-1])
    yield held.pop()
    for fd in held:
        os.close(fd)


def test_who_would_take_the_desks_last_descriptors_waits_until_another_leaves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    assert serves(desk, 1)
    limit = request.getfixturevalue("next_descriptor") + SPARE_DESCRIPTORS + 4  # a mapping takes two
    monkeypatch.setattr("resource.getrlimit", lambda _: (limit, limit))
    files = [made(desk, f"u{i}") for i in range(4)]
    with caplog.at_level(logging.ERROR):
        assert serves(desk, 2)
        assert serves(desk, 3)
    links = {link.name for link in desk.intake.upstreams.links.values()}
    refused = {f"u{i}" for i in range(4)} - links
    assert refused
    assert len(caplog.records) == len(refused), "each is told of once"
    said = {each.name: each.reason for each in parked.read(desk.runtime / PARKED)}
    assert said.keys() == refused
    assert all("no descriptors left" in reason for reason in said.values())
    assert links > {"good"}
    for path in files:
        if path.stem in links:
            path.unlink()
    assert serves(desk, 4)
    assert {link.name for link in desk.intake.upstreams.links.values()} == {"good", *refused}
    assert parked.read(desk.runtime / PARKED) == []


def test_a_scan_without_a_descriptor_is_made_up_for_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serves(desk, 1)

    def none_left(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("os.scandir", none_left)
        made(desk, "late")
        assert serves(desk, 2)
    assert serves(desk, 3)
    assert {link.name for link in desk.intake.upstreams.links.values()} == {"good", "late"}


def test_many_who_lag_are_told_the_rest_with_few_open_journals(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms_actors.edges.upstreams.READERS_MAX", 2)
    names = [f"u{i}" for i in range(5)]
    for name in names:
        desk.upstream(name).submit_many(new(f"{name}-{n}") for n in range(200))
    desk.settle()
    assert len(desk.intake.upstreams.refills) == 5
    told = dict.fromkeys(names, 0)
    for _ in range(100):
        for name in names:
            told[name] += len(list(desk.upstream(name).reports()))
        desk.settle()
        assert sum(each.reads for each in desk.intake.upstreams.refills.values()) <= 2
    assert set(told.values()) == {400}


# -- a file that shrinks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 4096, 8192])
def test_a_file_that_was_cut_parks_its_link_before_anybody_touches_it(desk: Desk, size: int) -> None:
    assert serves(desk, 1)
    oms = desk.upstream("bad")
    oms.submit(new(2))
    desk.settle()
    desk.intake.upstreams._checked_ns = 0
    os.truncate(desk.runtime / "upstreams" / "bad.up", size)
    desk.upstreams.pop("bad")
    desk.intake.upstreams.check()
    assert not desk.intake.upstreams.ready()
    assert serves(desk, 3)
    bad = next(link for link in desk.intake.upstreams.links.values() if link.name == "bad")
    assert bad.parked == f"its file was cut to {size} bytes"
    assert desk.intake.page["parked"] == 1
    for link in desk.intake.upstreams.links.values():
        link.look()
    desk.kill()
    assert serves(desk, 4), "nor does the next intake touch it"
    assert list(desk.intake.upstreams._bad) == ["bad"]


def test_the_file_that_a_predecessor_died_of_is_never_touched_again(desk: Desk) -> None:
    assert serves(desk, 1)
    path = made(desk, "bad")
    desk.settle()
    desk.intake.page["touched_file"] = path.stat().st_ino
    desk.kill()
    desk.predecessor = "killed by SIGBUS"
    assert serves(desk, 2)
    (bad,) = desk.intake.upstreams.parked
    assert (bad.name, bad.deadly) == ("bad", True)
    assert parked.read(desk.runtime / PARKED) == [bad]
    desk.kill()
    desk.predecessor = "killed by SIGKILL"
    assert serves(desk, 3)
    assert desk.intake.upstreams.parked == [bad], "whatever ended intake next"
    path.unlink()
    desk.settle()
    assert parked.read(desk.runtime / PARKED) == []
    oms = desk.upstream("bad")
    oms.submit(new(4))
    desk.settle()
    assert len(list(oms.reports())) == 2, "another file under that name is another chance"


def test_whose_file_was_touched_when_intake_died_of_something_else_is_served_on(desk: Desk) -> None:
    assert serves(desk, 1)
    oms = desk.upstream("innocent")
    desk.settle()
    desk.intake.page["touched_file"] = os.stat(desk.runtime / "upstreams" / "innocent.up").st_ino
    desk.kill()
    desk.predecessor = "killed by SIGKILL"
    oms.submit(new(2))
    desk.settle()
    assert len(list(oms.reports())) == 2
    assert desk.intake.upstreams.parked == []


def test_who_was_not_served_by_a_predecessor_only_is_not_told_of_any_more(desk: Desk) -> None:
    path = made(desk, "tiny", reports=1024)
    assert serves(desk, 1)
    assert [each.name for each in parked.read(desk.runtime / PARKED)] == ["tiny"]
    desk.kill()
    path.unlink()
    assert serves(desk, 2)
    assert parked.read(desk.runtime / PARKED) == []


def test_between_two_cycles_no_file_is_being_touched(desk: Desk) -> None:
    assert serves(desk, 1)
    desk.upstream("other")
    desk.settle()
    desk.intake.ready()
    assert desk.intake.page["touched_file"] == 0
    desk.intake.work()
    assert desk.intake.page["touched_file"] == 0
