"""Vital signs, and what is made of them: "hangs" told apart from "in call since"."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ipc import proc
from ipc.errors import NotThere, VersionMismatch
from ipc.vitals import SIZE_BYTES, STATUS_MAX_BYTES, State, Vitals
from supervisor.process import Process
from supervisor.watch import Signs, Verdict, judge

S = 1_000_000_000
NOW = 1_000 * S
OLD = NOW - 60 * S


@pytest.mark.parametrize(("signs", "resumed_ago_s", "verdict", "text"), [
    (Signs(NOW - S), 900, Verdict.FINE, ""),
    (Signs(NOW - S - 1), 900, Verdict.HANGS, "no heartbeat for 1.0 s, limit 1 s"),
    (Signs(OLD), 0.5, Verdict.FINE, ""),  # we did not look: a fresh timeout
    (Signs(OLD), 1.5, Verdict.HANGS, "no heartbeat for 1.5 s, limit 1 s"),
    (Signs(OLD, in_call_since_ns=NOW - 20 * S), 900, Verdict.IN_CALL, "in call since 20.0 s"),
    (Signs(OLD, in_call_since_ns=NOW - 31 * S), 900, Verdict.STUCK_IN_CALL, "in call since 31.0 s, limit 30 s"),
    (Signs(OLD, in_call_since_ns=NOW - 31 * S), 1, Verdict.IN_CALL, "in call since 1.0 s"),
    (Signs(NOW, in_call_since_ns=NOW - 31 * S, in_call_limit_ns=60 * S), 900, Verdict.IN_CALL, "in call since 31.0 s"),
    (Signs(NOW, in_call_since_ns=NOW - 3 * S, in_call_limit_ns=2 * S), 900, Verdict.STUCK_IN_CALL,
     "in call since 3.0 s, limit 2 s"),
    (Signs(NOW + S), 900, Verdict.FINE, ""),  # it beat after we read the clock
])
def test_a_child_is_judged_by_its_heartbeat_or_by_its_call(
        signs: Signs, resumed_ago_s: float, verdict: Verdict, text: str) -> None:
    assert judge(signs, 1_000, 30_000, NOW - int(resumed_ago_s * S), NOW) == (verdict, text)


def test_a_reader_sees_what_the_child_wrote(tmp_path: Path) -> None:
    child = Vitals.create(tmp_path / "a.vitals", in_call_limit_ns=5)
    reader = Vitals.attach(tmp_path / "a.vitals")
    assert (reader.state, reader.ready_ns, reader.heartbeat_ns, reader.status) == (State.STARTING, 0, 0, "")
    assert (reader.pid, reader.start_ticks) == (os.getpid(), proc.process_start_ticks(os.getpid()))
    assert reader.is_of_this_boot
    assert reader.in_call_limit_ns == 5
    child.ready(7)
    assert (reader.state, reader.ready_ns, reader.heartbeat_ns) == (State.READY, 7, 7)
    child.beat(8)
    child.enter_call(9)
    assert (reader.heartbeat_ns, reader.in_call_since_ns) == (8, 9)
    child.stopping()
    assert reader.state is State.STOPPING
    child.failed(11, "why")
    assert (reader.state, reader.exit_code, reader.status) == (State.FAILED, 11, "why")


def test_a_call_that_returned_is_a_sign_of_life(tmp_path: Path) -> None:
    child = Vitals.create(tmp_path / "a.vitals")
    before = time.monotonic_ns()
    child.enter_call(1)
    child.leave_call()
    assert child.in_call_since_ns == 0
    assert child.heartbeat_ns >= before


def test_the_mark_of_a_call_is_read_before_the_heartbeat() -> None:
    """Else a call that ends between the two reads looks like a hang."""
    class ReturnsBetweenTheReads:
        returned = False

        @property
        def in_call_since_ns(self) -> int:
            self.returned, was = True, self.returned
            return 0 if was else NOW - S

        @property
        def heartbeat_ns(self) -> int:
            self.returned, was = True, self.returned
            return NOW if was else NOW - 20 * S

        in_call_limit_ns = 0

    process = SimpleNamespace(_attach=ReturnsBetweenTheReads)
    signs = Process.signs(process)  # type: ignore[arg-type]
    assert signs is not None
    assert judge(signs, 1_000, 30_000, 0, NOW)[0] in (Verdict.FINE, Verdict.IN_CALL)


def test_a_long_status_is_cut_and_never_half_a_character(tmp_path: Path) -> None:
    child = Vitals.create(tmp_path / "a.vitals")
    child.say("x" + "é" * STATUS_MAX_BYTES)
    assert child.status == "x" + "é" * ((STATUS_MAX_BYTES - 1) // 2)


def test_a_successor_begins_anew(tmp_path: Path) -> None:
    first = Vitals.create(tmp_path / "a.vitals")
    first.ready(1)
    Vitals.create(tmp_path / "a.vitals")
    assert Vitals.attach(tmp_path / "a.vitals").ready_ns == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.vitals"]


@pytest.mark.parametrize(("content", "found"), [(b"", "0 bytes"), (b"\1" * SIZE_BYTES, "magic 0x1010101010101")])
def test_a_file_that_is_none_of_ours_is_refused_by_name(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "a.vitals"
    path.write_bytes(content)
    with pytest.raises(VersionMismatch, match=f"a.vitals has another layout: found {found}"):
        Vitals.attach(path)
    with pytest.raises(NotThere):
        Vitals.attach(tmp_path / "b.vitals")


def test_scribbled_vitals_bring_no_reader_down(tmp_path: Path) -> None:
    path = tmp_path / "a.vitals"
    Vitals.create(path)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), SIZE_BYTES) as words:
        words[64:] = b"\xff" * (SIZE_BYTES - 64)
    reader = Vitals.attach(path)
    assert reader.state is State.FAILED
    assert reader.status == ""
