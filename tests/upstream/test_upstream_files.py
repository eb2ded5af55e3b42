"""The upstreams as files: what `oms upstream list` and `remove` do, whatever lies there."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ipc.duplex import DUPLEX_RINGS_AT, create_duplex
from ipc.errors import NotOurs
from ipc.ring import RING_HEAD_AT, RING_TAIL_AT
from oms_actors import Upstream
from oms_actors.edges import parked
from oms_actors.edges.upstream_files import remove, upstreams
from oms_actors.instance import PARKED


@pytest.fixture
def folder(runtime: Path) -> Path:
    found = runtime / "upstreams"
    found.mkdir()
    return found


def test_what_is_no_file_is_listed_with_the_reason_and_can_be_removed(runtime: Path, folder: Path) -> None:
    (folder / "a.up").mkdir()
    os.mkfifo(folder / "b.up")
    (folder / "c.up").symlink_to("/dev/zero")
    (folder / "d.up").symlink_to("d.up")
    found = upstreams(runtime)
    assert [each.name for each in found] == ["a", "b", "c", "d"]
    assert all(each.problem and not each.alive and not each.rings for each in found)
    for name in "abcd":
        remove(runtime, name)
    assert upstreams(runtime) == []


def test_whom_intake_does_not_serve_is_listed_with_the_reason(runtime: Path, folder: Path) -> None:
    for name in ("bad", "good"):
        create_duplex(str(folder / f"{name}.up"), 1 << 16, 1 << 16, name).close()
    parked.write(runtime / PARKED, [parked.Parked("bad", 7, "its file was cut to 0 bytes")])
    assert [each.problem for each in upstreams(runtime)] == ["not served: its file was cut to 0 bytes", ""]


@pytest.mark.parametrize(("head", "tail", "depth"), [(64, 0, 0), (0, 1 << 40, 1 << 16), (0, 64, 64)])
def test_a_scribbled_header_never_shows_an_impossible_depth(
    runtime: Path, folder: Path, head: int, tail: int, depth: int
) -> None:
    path = folder / "a.up"
    create_duplex(str(path), 1 << 16, 1 << 16, "a").close()
    with open(path, "r+b", buffering=0) as file:
        for at, value in ((RING_HEAD_AT, head), (RING_TAIL_AT, tail)):
            os.pwrite(file.fileno(), struct.pack("<Q", value), DUPLEX_RINGS_AT + at)
    requests, reports = upstreams(runtime)[0].rings
    assert (requests.depth, reports.depth) == (depth, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_another_user_leaves_no_file_that_the_desk_cannot_serve(runtime: Path) -> None:
    os.chown(runtime, 65534, 65534)
    with pytest.raises(NotOurs, match="belongs to user 65534, not to 0"):
        Upstream.attach(name="u")
    assert not (runtime / "upstreams").exists()
