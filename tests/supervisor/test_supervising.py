"""Real processes: each strategy, each kind of end, and what no program should do."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipc import proc
from supervisor import control, published
from supervisor.control import Stopped
from tests.supervisor.running import ROOT, WAIT_S, Instance, gone, open_pidfd, table, wait_for

pytestmark = pytest.mark.process
Make = Callable[..., Instance]

SLEEP = ["/bin/sleep", "600"]


def abc(**b: Any) -> list[str]:
    return [table("a"), table("b", **b), table("c")]


WITHIN_S = 10
"""What takes 2 s, or 1 s, on a machine of its own; a bench times it, here it must only not take for ever."""

# -- order and strategies ---------------------------------------------------------------------------------------------


def test_children_start_in_order_and_stop_in_reverse_and_nothing_is_left(instance: Make) -> None:
    desk = instance(*abc()).up()
    pidfds = [open_pidfd(pid) for pid in desk.pids().values()]
    assert desk.happened("started", "ready") == ["a started", "a ready", "b started", "b ready", "c started", "c ready"]
    assert desk.stop() == 0
    assert desk.happened("exited") == ["c exited", "b exited", "a exited"]
    assert all(gone(pidfd, 0) for pidfd in pidfds)
    document = desk.document
    assert (document["state"], document["reason"]) == ("ended", "asked to stop by SIGTERM")
    assert document["children"][0]["last_exit"] == {"kind": "normal", "text": "exit code 0"}


@pytest.mark.parametrize(("strategy", "others_replaced"), [
    ("one_for_one", set()), ("rest_for_one", {"c"}), ("one_for_all", {"a", "c"})])
def test_a_killed_child_comes_back_with_whom_its_strategy_names(
        instance: Make, strategy: str, others_replaced: set[str]) -> None:
    desk = instance(*abc(), strategy=strategy).up()
    before = desk.pids()
    at = time.monotonic()
    desk.kill("b", signal.SIGKILL)
    child = desk.back("b", before["b"])
    assert time.monotonic() - at < WITHIN_S
    assert (child["restarts"], child["last_exit"]["text"]) == (1, "killed by SIGKILL")
    after = desk.pids()
    assert {name for name in "ac" if after[name] != before[name]} == others_replaced


# -- kinds of end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usr1", "kind", "text"), [
    ("exit:0", "normal", "exit code 0"),
    ("exit:7", "error", "exit code 7"),
    ("fail:11", "error", "exit code 11: cannot reach postgresql://oms:***@db/oms"),
    ("abort", "signal", "killed by SIGABRT"),
])
def test_a_permanent_child_comes_back_and_its_end_is_told(instance: Make, usr1: str, kind: str, text: str) -> None:
    desk = instance(table("a", child=f"usr1={usr1}")).up()
    child = desk.back("a", desk.kill("a"))
    assert child["last_exit"] == {"kind": kind, "text": text}


def test_the_last_line_of_a_child_without_vitals_tells_why_it_ended(instance: Make) -> None:
    argv = ["/bin/sh", "-c", "echo ready; echo no space for a.vitals, password=hunter2 >&2; exit 28"]
    desk = instance(table("a", argv, heartbeat_timeout_ms=0, restart="temporary"))
    desk.start()
    assert desk.ended() == 0
    assert desk.child("a")["last_exit"]["text"] == "exit code 28: no space for a.vitals, password=***"


def test_a_password_that_a_child_dies_with_is_nowhere_to_be_read(instance: Make) -> None:
    desk = instance(table("a", child="usr1=fail:11")).up()
    desk.back("a", desk.kill("a"))
    desk.stop()
    assert "***@db" in desk.log.read_text()
    assert "hunter2" not in desk.log.read_text() + (desk.runtime / published.FILE_NAME).read_text()


def test_a_transient_child_comes_back_only_after_an_abnormal_end(instance: Make) -> None:
    desk = instance(table("a"), table("b", child="usr1=exit:0", restart="transient"),
                    table("c", child="usr1=exit:7", restart="transient")).up()
    desk.kill("b")
    desk.wait(lambda document: document["children"][1]["state"] == "down", "b to end")
    desk.back("c", desk.kill("c"))
    assert desk.child("b")["pid"] is None


def test_when_the_last_temporary_child_ends_so_does_the_supervisor(instance: Make) -> None:
    desk = instance(table("a", child="usr1=exit:0", restart="temporary")).up()
    desk.kill("a")
    assert desk.ended() == 0
    assert desk.document["reason"] == "every child has ended and none is to be restarted"


def test_a_hanging_child_is_killed_and_back_in_time(instance: Make) -> None:
    desk = instance(table("a", child="usr1=hang"), table("b")).up()
    b = desk.pids()["b"]
    at = time.monotonic()
    child = desk.back("a", desk.kill("a"))
    assert time.monotonic() - at < WITHIN_S
    assert child["last_exit"]["kind"] == "hang"
    assert desk.pids()["b"] == b


def test_a_stopped_child_is_killed_and_back_in_time(instance: Make) -> None:
    desk = instance(table("a", child="term=ignore")).up()
    at = time.monotonic()
    child = desk.back("a", desk.kill("a", signal.SIGSTOP))
    assert time.monotonic() - at < WITHIN_S
    assert child["last_exit"]["kind"] == "hang"


def test_a_child_in_a_long_call_does_not_hang(instance: Make) -> None:
    desk = instance(table("a", child="usr1=call:1200")).up()
    child = desk.back("a", desk.kill("a"))
    assert child["last_exit"]["text"] == "exit code 9"  # it came out of the call by itself


def test_a_call_longer_than_its_limit_is_ended(instance: Make) -> None:
    desk = instance(table("a", child="usr1=call:60000", call_timeout_ms=300)).up()
    child = desk.back("a", desk.kill("a"))
    assert child["last_exit"]["kind"] == "stuck_call"
    assert child["last_exit"]["text"].startswith("in call since 0.")


def test_a_child_that_grows_without_bound_is_killed(instance: Make) -> None:
    desk = instance(table("a", child="usr1=grow", memory_max_bytes=64 << 20)).up()
    child = desk.back("a", desk.kill("a"))
    assert child["last_exit"]["kind"] == "memory"
    assert child["last_exit"]["text"].endswith("MiB of private memory, limit 64 MiB")


def test_a_child_that_ignores_sigterm_is_killed_after_its_time_and_the_others_still_stop_in_order(
        instance: Make) -> None:
    desk = instance(*abc(child="term=ignore", shutdown_timeout_s=0.3)).up()
    assert desk.stop() == 0
    assert desk.happened("exited", "killed") == ["c exited", "b killed", "b exited", "a exited"]
    assert desk.child("b")["last_exit"]["kind"] == "not_stopped"


def test_a_second_request_to_stop_kills(instance: Make) -> None:
    desk = instance(table("a", child="term=ignore", shutdown_timeout_s=600)).up()
    desk.processes[-1].send_signal(signal.SIGINT)
    desk.wait(lambda document: document["children"][0]["state"] == "stopping", "stopping")
    assert desk.stop() == 5


# -- starts that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("child", "kind"), [
    ({"child": "start=die"}, "error"),
    ({"child": "start=never", "ready_timeout_s": 0.1}, "not_ready"),
    ({"child": "start=hang", "ready_timeout_s": 600}, "hang"),
    ({"argv": ["/nowhere/program"]}, "no_spawn"),
    ({"cwd": "/nowhere"}, "no_spawn"),
])
def test_a_child_that_fails_at_every_start_makes_the_supervisor_give_up_in_order_with_the_reason(
        instance: Make, child: dict[str, Any], kind: str) -> None:
    desk = instance(table("a"), table("b", **child), table("c"), intensity=2)
    desk.start()
    assert desk.ended() == 4
    document = desk.document
    assert document["reason"].startswith("3 restarts within 60 s, more than intensity = 2; the last was of 'b': ")
    assert desk.child("b")["last_exit"]["kind"] == kind
    assert desk.happened("started", "asked to stop")[-1] == "a asked to stop"
    assert desk.child("c")["last_exit"] is None  # never started: b was never ready


def test_failures_in_a_row_are_spaced_by_the_backoff(instance: Make) -> None:
    desk = instance(table("a", argv=["/nowhere/program"]), intensity=4, backoff_initial_ms=20)
    desk.start()
    assert desk.ended() == 4
    tried_ns = [event["at_ns"] for event in desk.document["events"] if event["what"] == "no spawn"]
    gaps_ms = [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(tried_ns)]
    assert [gap > least for gap, least in zip(gaps_ms, (19, 39, 79, 159), strict=True)] == [True] * 4


def test_without_descriptors_the_others_go_on_and_the_child_returns_when_there_are_some(instance: Make) -> None:
    desk = instance(table("a"), table("b"), intensity=1000, backoff_max_ms=50).up()
    supervisor, b = desk.processes[-1].pid, desk.pids()["b"]
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (4, limits[1]))
    former = desk.kill("a", signal.SIGKILL)
    wait_for(lambda: "Too many open files" in desk.log.read_text(), "a refusal by name")
    os.kill(b, 0)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    desk.back("a", former)
    assert desk.pids()["b"] == b


# -- the supervisor itself --------------------------------------------------------------------------------------------


def test_when_the_supervisor_is_killed_every_child_dies_and_the_next_start_works(instance: Make) -> None:
    desk = instance(table("a"), table("deaf", child="term=ignore"), table("stopped"),
                    table("foreign", argv=SLEEP, heartbeat_timeout_ms=0)).up()
    desk.kill("stopped", signal.SIGSTOP)
    pidfds = [open_pidfd(pid) for pid in desk.pids().values()]
    desk.processes[-1].kill()
    deadline = time.monotonic() + 2
    assert all(gone(pidfd, max(0, deadline - time.monotonic())) for pidfd in pidfds)
    desk.processes[-1].wait()
    found = published.read(desk.runtime)
    assert found is not None
    assert (found.state, found.alive) == ("up", False)
    desk.up()
    assert desk.happened("stale") == [" stale"]


def test_a_second_supervisor_leaves_at_once_and_touches_nothing(instance: Make) -> None:
    desk = instance(*abc()).up()
    pids = desk.pids()
    first = psutil.Process(desk.processes[0].pid)
    first.suspend()  # it need not answer, and it publishes nothing meanwhile
    wait_for(lambda: first.status() == psutil.STATUS_STOPPED, "the first to be stopped")
    before = {path: path.read_bytes() for path in desk.runtime.iterdir() if path.suffix != ".vitals"}
    inodes = {path: path.stat().st_ino for path in desk.runtime.iterdir()}
    second = desk.start(stderr=subprocess.DEVNULL)
    assert second.wait(WITHIN_S) == 3
    assert {path: path.stat().st_ino for path in desk.runtime.iterdir()} == inodes
    assert {path: path.read_bytes() for path in before} == before
    first.resume()
    assert f"by the supervisor with pid {desk.processes[0].pid}" in desk.log.read_text()
    assert desk.pids() == pids


def test_a_pause_of_the_supervisor_is_not_taken_for_a_hang_of_the_children(instance: Make) -> None:
    desk = instance(table("a")).up()
    supervisor, a = desk.processes[-1].pid, desk.pids()["a"]
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(a, signal.SIGSTOP)
    time.sleep(0.8)  # the pause itself: longer than the heartbeat's timeout
    os.kill(supervisor, signal.SIGCONT)
    os.kill(a, signal.SIGCONT)
    desk.wait(lambda document: desk.happened("paused"), "the pause to be noticed")
    assert desk.stop() == 0
    assert desk.happened("killed") == []


def test_stop_from_outside_asks_waits_and_says_how_it_went(instance: Make) -> None:
    desk = instance(table("a", child="term=ignore", shutdown_timeout_s=0.5)).up()
    assert control.stop(desk.runtime, 0.05) is Stopped.STILL_RUNNING
    assert control.stop(desk.directory / "nowhere", 1) is Stopped.NOT_RUNNING
    desk.ended()
    assert control.stop(desk.runtime, 1) is Stopped.NOT_RUNNING
    other = instance(table("a")).up()
    assert control.stop(other.runtime, WAIT_S) is Stopped.STOPPED


# -- what a dead supervisor left --------------------------------------------------------------------------------------


def leave_behind(desk: Instance, pid: int, ticks: int) -> None:
    """supervisor.json of a supervisor that was killed, with one child."""
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    desk.runtime.mkdir(mode=0o700)
    (desk.runtime / published.FILE_NAME).write_text(json.dumps({
        "pid": dead.pid, "start_ticks": 1, "boot_id": proc.boot_id(), "state": "up",
        "children": [{"name": "a", "pid": pid, "start_ticks": ticks}]}))


def test_an_orphan_of_a_dead_supervisor_is_killed_before_its_successor_starts(instance: Make) -> None:
    desk = instance(table("a"))
    orphan = subprocess.Popen(SLEEP)
    leave_behind(desk, orphan.pid, proc.process_start_ticks(orphan.pid))
    desk.up()
    assert orphan.wait(0) == -signal.SIGKILL


def test_a_reused_pid_in_a_stale_file_is_nobody(instance: Make) -> None:
    desk = instance(table("a"))
    innocent = subprocess.Popen(SLEEP)
    try:
        leave_behind(desk, innocent.pid, proc.process_start_ticks(innocent.pid) - 1)
        desk.up()
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("remains", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\xff",
                                     b'{"pid": 1, "start_ticks": 1, "boot_id": "", "state": "up", "children": [7]}'])
def test_a_file_that_makes_no_sense_does_not_stop_a_start(instance: Make, remains: bytes) -> None:
    desk = instance(table("a", argv=["/bin/true"], heartbeat_timeout_ms=0, restart="temporary"))
    desk.runtime.mkdir(mode=0o700)
    (desk.runtime / published.FILE_NAME).write_bytes(remains)
    desk.start()
    assert desk.ended() == 0


def test_a_runtime_directory_that_others_can_write_is_refused(instance: Make) -> None:
    desk = instance(table("a"))
    desk.runtime.mkdir()
    desk.runtime.chmod(0o777)
    desk.start()
    assert desk.ended() == 2
    assert "must belong to user" in desk.log.read_text()
    assert not list(desk.runtime.iterdir())


# -- as a library -----------------------------------------------------------------------------------------------------

HOOKS = """
import pathlib, shutil, sys
from supervisor.spec import ChildSpec, SupervisorSpec
from supervisor.supervisor import Supervisor
directory = pathlib.Path(sys.argv[1])
child = ChildSpec("a", ("/bin/cat", str(directory / "ring")), heartbeat_timeout_ms=0, restart="temporary")
sys.exit(Supervisor(SupervisorSpec((child,)), directory, "library",
    prepare=lambda: print((directory / "ring").write_text("made\\n")),
    clean_up=lambda code: shutil.rmtree(directory)).run())
"""


def test_prepare_comes_before_the_first_start_and_clean_up_may_remove_everything(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", HOOKS, str(directory)], cwd=ROOT, capture_output=True, text=True,
                          timeout=WAIT_S, check=True)
    assert done.stdout.splitlines() == ["made", "5"] or done.stdout.splitlines() == ["5", "made"]
    assert "not published" not in done.stderr
    assert not directory.exists()


def test_whoever_locks_a_removed_lock_file_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ipc import lock

    path = tmp_path / "supervisor.lock"
    try_lock = lock.try_lock

    def loses_the_race(fd: int) -> bool:
        monkeypatch.setattr(lock, "try_lock", try_lock)
        path.unlink()  # the former holder cleans up between our open and our lock
        return try_lock(fd)

    monkeypatch.setattr(lock, "try_lock", loses_the_race)
    mine = lock.FileLock(str(path))
    mine.acquire()
    assert lock.holder(str(path)) == os.getpid()
    mine.release()
