"""One process, one actor: whatever fails ends the process, by its own code and with its reason on record."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from ipc import lock, proc
from ipc.errors import IpcError
from ipc.mailbox import Mailbox
from ipc.vitals import State, Vitals
from oms_actors.actors.commands import Mail, Reconnect, Reload, SessionChanged, Stats, encode
from oms_actors.actors.crash import ExitCode, last_report
from oms_actors.actors.remote import AskFailed, remote_ref, this_is_an_actor

pytestmark = pytest.mark.process

PROGRAM = Path(__file__).with_name("role_program.py")


class Child(subprocess.Popen[str]):
    """The process of a faulty role."""

    def __init__(self, runtime: Path, where: str = "nowhere", how: str = "", **environment: str) -> None:
        self.runtime = runtime
        env = {**os.environ, "RUNTIME_DIR": str(runtime), "SUPERVISOR_PID": str(os.getpid()), **environment}
        super().__init__([sys.executable, str(PROGRAM), where, how], env=env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def until_ready(self) -> "Child":
        until(lambda: self.poll() is not None or self.vitals_state() is State.READY)
        assert self.poll() is None, self.communicate()
        return self

    def vitals_state(self) -> State | None:
        try:
            vitals = Vitals.attach(self.runtime / "faulty.vitals")
        except (IpcError, OSError):
            return None
        return vitals.state if vitals.pid == self.pid else None

    def ends_with(self, code: int) -> dict[str, Any]:
        """Its crash report, once it ended with this code."""
        assert self.wait(timeout=20) == code, self.communicate()
        report = last_report(self.runtime / "crash", "faulty")
        assert report is not None
        assert (report["role"], report["pid"], report["exit_code"]) == ("faulty", self.pid, code)
        return report


def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.005)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def start(runtime: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start_one(where: str = "nowhere", how: str = "", **environment: str) -> Child:
        children.append(Child(runtime, where, how, **environment))
        return children[-1]

    yield start_one
    for child in children:
        child.kill()
        child.communicate()


FAILURES = [
    ("init", "exception", ExitCode.START, "starting"),
    ("start", "exception", ExitCode.START, "starting"),
    ("ready", "exception", ExitCode.INBOX, "waiting for input"),
    ("next_due_ns", "exception", ExitCode.INBOX, "waiting for input"),
    ("work", "exception", ExitCode.WORK, "working"),
    ("start", "exit", 7, "starting"),
    ("ready", "exit", 7, "waiting for input"),
    ("work", "exit", 7, "working"),
    ("work", "exit0", ExitCode.WORK, "working"),
]


@pytest.mark.parametrize(("where", "how", "code", "doing"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES])
def test_a_failure_ends_the_process_with_its_code_and_a_report(
    runtime: Path, start: Callable[..., Child], where: str, how: str, code: int, doing: str
) -> None:
    report = start(where, how).ends_with(code)
    assert report["reason"].startswith(f"{doing}: ")
    assert f'fail_if("{where}")' in report["traceback"]
    assert report["log"] or where == "init"
    vitals = Vitals.attach(runtime / "faulty.vitals")
    assert (vitals.state, vitals.exit_code, vitals.status) == (State.FAILED, code, report["reason"])


@pytest.mark.parametrize(("how", "code"), [("exception", ExitCode.COMMAND), ("exit", 7)])
def test_a_command_that_fails_ends_the_process_and_leaves_the_mailbox(
    runtime: Path, start: Callable[..., Child], how: str, code: int
) -> None:
    child = start("tell", how).until_ready()
    ref = remote_ref(runtime, "faulty")
    ref.tell(SessionChanged())
    assert child.ends_with(code)["reason"].startswith("carrying out a command: ")
    start().until_ready()
    assert ref.ask(Stats())["told"] == ["Stats"], "what killed the one must not kill the next"


def test_an_ask_that_fails_is_answered_before_the_process_ends(runtime: Path, start: Callable[..., Child]) -> None:
    child = start("ask", "exception").until_ready()
    with pytest.raises(AskFailed, match=r"faulty: .*broken in ask"):
        remote_ref(runtime, "faulty").ask(Stats())
    child.ends_with(ExitCode.COMMAND)


def test_a_reply_that_cannot_be_encoded_is_a_failure(runtime: Path, start: Callable[..., Child]) -> None:
    child = start("unencodable").until_ready()
    remote_ref(runtime, "faulty").ask(Reload(), block=False)
    child.ends_with(ExitCode.COMMAND)


def test_a_thread_that_dies_takes_the_process_with_it(runtime: Path, start: Callable[..., Child]) -> None:
    child = start("thread", "exception").until_ready()
    remote_ref(runtime, "faulty").tell(Reload())
    assert child.ends_with(ExitCode.THREAD)["reason"].startswith("running thread adapter: ValueError")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_is_an_orderly_end(start: Callable[..., Child], number: signal.Signals) -> None:
    child = start().until_ready()
    child.send_signal(number)
    assert child.communicate(timeout=20)[0] == "stopped in order\n"
    assert child.returncode == ExitCode.ORDERLY
    assert last_report(child.runtime / "crash", "faulty") is None
    assert child.vitals_state() is State.STOPPING


def test_a_stop_by_mailbox_is_an_orderly_end(runtime: Path, start: Callable[..., Child]) -> None:
    child = start().until_ready()
    remote_ref(runtime, "faulty").stop()
    assert child.wait(timeout=20) == 0


def test_a_stop_that_fails_has_its_own_code(start: Callable[..., Child]) -> None:
    child = start("stop", "exception").until_ready()
    child.terminate()
    child.ends_with(ExitCode.STOP)


def test_a_second_process_of_a_role_leaves_and_touches_nothing(start: Callable[..., Child]) -> None:
    first = start().until_ready()
    report = start().ends_with(ExitCode.ALREADY_RUNNING)
    assert f"locked by process {first.pid}" in report["reason"]
    assert first.vitals_state() is State.READY
    assert remote_ref(first.runtime, "faulty").ask(Stats())["pid"] == first.pid


def test_a_child_whose_parent_is_gone_before_it_looked_leaves(start: Callable[..., Child]) -> None:
    report = start(SUPERVISOR_PID="4194305").ends_with(ExitCode.PARENT_GONE)
    assert "parent process 4194305 is gone" in report["reason"]


def test_a_child_dies_with_its_parent(runtime: Path) -> None:
    command = [sys.executable, str(PROGRAM), "nowhere", ""]
    program = f"""
import os, subprocess, sys
env = dict(os.environ, RUNTIME_DIR={str(runtime)!r}, SUPERVISOR_PID=str(os.getpid()))
print(subprocess.Popen({command!r}, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid, flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        ticks = proc.process_start_ticks(child)
        until(lambda: lock.holder(str(runtime / "faulty.lock")) == child)
        parent.kill()
        parent.wait()
    until(lambda: not proc.is_same_process(child, ticks) or proc_state(child) == "Z")


def proc_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_no_password_is_in_the_report_or_on_stderr(start: Callable[..., Child]) -> None:
    child = start("start", "exception")
    report = child.ends_with(ExitCode.START)
    assert "broken in start" in report["reason"]
    assert "hunter2" not in json.dumps(report) + child.communicate()[1]


def test_a_command_told_while_nobody_lives_is_carried_out_by_the_next(
    runtime: Path, start: Callable[..., Child]
) -> None:
    child = start().until_ready()
    ref = remote_ref(runtime, "faulty")
    assert ref.is_alive()
    child.kill()
    child.wait()
    assert not ref.is_alive()
    ref.tell(Reconnect())
    with pytest.raises(pykka.Timeout, match=r"faulty did not answer Stats within 0\.05 s"):
        ref.ask(Stats(), timeout=0.05)
    start().until_ready()
    assert ref.ask(Stats())["told"] == ["Reconnect", "Stats"], "the question whose asker gave up is not carried out"


def test_an_actor_that_never_lived_is_dead(runtime: Path) -> None:
    with pytest.raises(pykka.ActorDeadError):
        remote_ref(runtime, "nobody").tell(Stats())
    with pytest.raises(pykka.ActorDeadError):
        remote_ref(runtime, "nobody").ask(Stats())


def test_an_actor_may_not_block_on_another_ones_answer(runtime: Path, start: Callable[..., Child]) -> None:
    start().until_ready()
    failures: list[BaseException] = []

    def as_an_actor() -> None:
        this_is_an_actor()
        ref = remote_ref(runtime, "faulty")
        assert ref.ask(Stats(), block=False).get(timeout=60)
        try:
            ref.ask(Stats())
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=as_an_actor)
    thread.start()
    thread.join()
    assert "use block=False" in str(failures[0])


def test_mail_that_cannot_be_read_is_dropped_and_the_rest_carried_out(
    runtime: Path, start: Callable[..., Child]
) -> None:
    start().until_ready()
    box = Mailbox.attach(str(runtime / "faulty.mail"))
    for garbage in (b"", b"\xff\xff", encode({"no": "mail"}), encode(Mail(Reload())) + b"x"):
        box.put(garbage)
    assert remote_ref(runtime, "faulty").ask(Stats())["told"] == ["Stats"]


def test_many_askers_at_once_get_their_own_answers(runtime: Path, start: Callable[..., Child]) -> None:
    start().until_ready()
    ref = remote_ref(runtime, "faulty")
    futures = [ref.ask(Stats(), block=False) for _ in range(20)]
    counts = [len(future.get()["told"]) for future in reversed(futures)]
    assert counts == list(range(20, 0, -1))


def test_json_logs_go_to_a_file_of_the_process(runtime: Path, start: Callable[..., Child]) -> None:
    start(OMS_LOG_DIR=str(runtime / "logs")).until_ready()
    lines = [json.loads(line) for line in (runtime / "logs" / "faulty.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines][:1] == ["about to start"]
    assert lines[0]["role"] == "faulty"


def test_an_idle_actor_beats_and_is_not_asked_to_work(runtime: Path, start: Callable[..., Child]) -> None:
    start().until_ready()
    vitals = Vitals.attach(runtime / "faulty.vitals")
    first_ns = vitals.heartbeat_ns
    until(lambda: vitals.heartbeat_ns > first_ns + 100_000_000)
    works = remote_ref(runtime, "faulty").ask(Stats())["works"]
    assert works <= 1, "a mail may be taken for work once, because its ring wakes"


def test_a_configured_password_is_not_printed(runtime: Path, start: Callable[..., Child]) -> None:
    (runtime / "desk.json").write_text(json.dumps({"config": {"session": {"password": "hunter2"}}}))
    child = start(PRINTED="hunter2").until_ready()
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=20)
    assert output.splitlines() == ["printed at start: ***", "stopped in order"]


def test_a_ref_and_its_process_outlive_the_desk(runtime: Path, start: Callable[..., Child]) -> None:
    first = start().until_ready()
    ref = remote_ref(runtime, "faulty")
    assert ref.ask(Stats())["pid"] == first.pid
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == ExitCode.ORDERLY
    for path in runtime.iterdir():  # as an orderly stop does
        if path.is_file():
            path.unlink()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(Reload())
    second = start().until_ready()
    ref.tell(Reload())
    assert ref.ask(Stats())["told"] == ["Reload", "Stats"]
    assert remote_ref(runtime, "faulty").ask(Stats())["pid"] == second.pid


def test_reply_boxes_of_killed_askers_are_removed(runtime: Path, start: Callable[..., Child]) -> None:
    start().until_ready()
    alive, dead = f"reply-{os.getppid()}-{proc.process_start_ticks(os.getppid())}", f"reply-{os.getpid()}-1"
    for name in (alive, dead):
        for suffix in (".mail", ".bell"):
            (runtime / f"{name}{suffix}").touch()
    remote_ref(runtime, "faulty").ask(Stats())
    assert {path.name.rsplit(".", 1)[0] for path in runtime.glob("reply-*")} == {
        alive, f"reply-{os.getpid()}-{proc.process_start_ticks(os.getpid())}"
    }  # fmt: skip
