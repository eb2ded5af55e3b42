"""Mailboxes: many writers, one owner, and whoever dies or stops leaves the others a mailbox that works."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import faster_fifo
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import ipc.mailbox
from ipc.errors import MailboxBusy, MailboxFull, NoSpace, NotThere, Unsupported, VersionMismatch
from ipc.mailbox import Mailbox, MailboxWriter
from ipc.wait import Bell


@pytest.fixture
def bell(shm: Path) -> Bell:
    return Bell.create(str(shm / "a.bell"))


@pytest.fixture
def mailbox(shm: Path, bell: Bell) -> Mailbox:
    return Mailbox.create(str(shm / "a.mail"), bell, 4096)


@pytest.fixture
def writer(mailbox: Mailbox) -> MailboxWriter:
    return Mailbox.attach(mailbox.path)


def taken(mailbox: Mailbox) -> list[bytes]:
    """Everything in it, acted upon."""
    messages = mailbox.get_many()
    mailbox.commit(len(messages))
    return messages


def test_messages_come_out_in_order_once(mailbox: Mailbox, writer: MailboxWriter) -> None:
    assert not mailbox.ready()
    writer.put(b"one")
    writer.put(b"two")
    assert mailbox.ready()
    assert mailbox.get_many() == [b"one", b"two"]
    assert not mailbox.ready()
    assert mailbox.get_many() == []


def test_what_was_not_committed_is_there_for_the_successor(mailbox: Mailbox, writer: MailboxWriter, bell: Bell) -> None:
    for message in (b"one", b"two", b"three"):
        writer.put(message)
    assert len(mailbox.get_many()) == 3
    mailbox.commit(1)
    successor = Mailbox.create(mailbox.path, bell, 4096)
    assert successor.generation == mailbox.generation
    writer.put(b"four")
    assert taken(successor) == [b"two", b"three", b"four"]
    assert not successor.ready()


def test_a_put_rings_the_owner(mailbox: Mailbox, writer: MailboxWriter, bell: Bell) -> None:
    bell.flag[0] = 1
    writer.put(b"wake up")
    assert bell.flag[0] == 0


def test_a_full_mailbox_is_a_named_refusal_and_keeps_what_it_has(mailbox: Mailbox, writer: MailboxWriter) -> None:
    fits = 4096 // (8 + 100)
    for i in range(fits):
        writer.put(bytes([i]) * 100)
    with pytest.raises(MailboxFull, match="message of 100 bytes, capacity 4096"):
        writer.put(bytes(100))
    assert taken(mailbox) == [bytes([i]) * 100 for i in range(fits)]
    writer.put(b"room again")


def test_a_message_that_can_never_fit_is_refused(writer: MailboxWriter) -> None:
    with pytest.raises(MailboxFull):
        writer.put(bytes(5000))


def test_threads_may_share_a_writer(mailbox: Mailbox, writer: MailboxWriter) -> None:
    def put() -> None:
        for i in range(50):
            writer.put(i.to_bytes(1, "little"), timeout_s=60)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken(mailbox)) == sorted(i.to_bytes(1, "little") for i in range(50) for _ in range(4))


class AnyUseOfAMailbox(RuleBasedStateMachine):
    """Against a list: the first `handed_out` of `inside` were returned by get_many."""

    def __init__(self) -> None:
        super().__init__()
        self.shm = Path(f"/dev/shm/oms-test-mailbox-{os.getpid()}")
        self.shm.mkdir(exist_ok=True)
        self.bell = Bell.create(str(self.shm / "a.bell"))
        self.mailbox = Mailbox.create(str(self.shm / "a.mail"), self.bell, 300)
        self.writer = Mailbox.attach(self.mailbox.path)
        self.inside: list[bytes] = []
        self.handed_out = 0
        self.count = 0

    @rule(length=st.integers(0, 120))
    def puts(self, length: int) -> None:
        message = bytes([self.count & 0xFF]) * length
        try:
            self.writer.put(message)
        except MailboxFull:
            assert sum(len(m) + 8 for m in self.inside) + length + 8 > 300
        else:
            self.inside.append(message)
            self.count += 1

    @rule()
    def gets(self) -> None:
        assert self.mailbox.get_many() == self.inside[self.handed_out :]
        self.handed_out = len(self.inside)

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data())
    def commits(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, self.handed_out))
        self.mailbox.commit(count)
        del self.inside[:count]
        self.handed_out -= count

    @rule()
    def owner_restarts(self) -> None:
        self.mailbox = Mailbox.create(self.mailbox.path, self.bell)
        self.handed_out = 0

    @rule()
    def a_new_generation_begins(self) -> None:
        self.mailbox._replace(self.mailbox._box)

    @rule()
    def a_writer_comes(self) -> None:
        self.writer = Mailbox.attach(self.mailbox.path)

    @invariant()
    def readiness_is_right(self) -> None:
        assert self.mailbox.ready() == (len(self.inside) > self.handed_out)

    def teardown(self) -> None:
        for file in self.shm.iterdir():
            file.unlink()
        self.shm.rmdir()


AnyUseOfAMailbox.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAnyUseOfAMailboxGivesWhatAListWouldGive = AnyUseOfAMailbox.TestCase


HOLDER = """
import os, signal, sys
from ipc.mailbox import Mailbox
box = Mailbox.attach(sys.argv[1])._box
with box.locked(1.0):
    {inside}
    print("holds", flush=True)
    os.kill(os.getpid(), signal.{signal})
if box.words[4]:
    print("retired", flush=True)
"""
HALF_A_PUT = "box._queue.put_many_nowait([b'torn']); box.words[41] = 7; box._memory[360:400] = bytes(40)"
"""As if killed inside faster-fifo: its counters moved, one of them wrong, its mutex anything but open."""


class Holder(subprocess.Popen[str]):
    """A process that takes the mailbox's lock, does something, and then dies or stops."""

    def __init__(self, path: str, signal_name: str, inside: str = "pass") -> None:
        program = HOLDER.format(inside=inside, signal=signal_name)
        super().__init__([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True)
        assert self.stdout is not None
        assert self.stdout.readline() == "holds\n"
        if signal_name == "SIGKILL":
            self.wait()
        else:
            os.waitpid(self.pid, os.WUNTRACED)

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()


@pytest.mark.process
@pytest.mark.parametrize("inside", ["pass", HALF_A_PUT], ids=["holding the lock", "inside a put"])
def test_a_holder_that_is_killed_leaves_what_was_there_before(
    mailbox: Mailbox, writer: MailboxWriter, inside: str
) -> None:
    writer.put(b"before")
    with Holder(mailbox.path, "SIGKILL", inside):
        writer.put(b"after")
        assert taken(mailbox) == [b"before", b"after"]
        assert mailbox.generation == 1


@pytest.mark.process
def test_an_owner_killed_while_it_takes_messages_leaves_them_all(
    mailbox: Mailbox, writer: MailboxWriter, bell: Bell
) -> None:
    writer.put(b"one")
    writer.put(b"two")
    with Holder(mailbox.path, "SIGKILL", "box._queue.get_many_nowait(1)"):
        assert taken(Mailbox.create(mailbox.path, bell)) == [b"one", b"two"]


@pytest.mark.process
def test_a_stopped_holder_is_named_to_writers_and_left_behind_by_the_owner(
    mailbox: Mailbox, writer: MailboxWriter
) -> None:
    writer.put(b"one")
    with Holder(mailbox.path, "SIGSTOP", HALF_A_PUT) as holder:
        with pytest.raises(MailboxBusy, match=rf"held by process {holder.pid}, waited (4\d|50) ms"):
            writer.put(b"two")
        received: list[bytes] = []
        while mailbox.generation == 1:
            assert mailbox.ready(), "the writer's plea keeps the owner looking"
            received += mailbox.get_many()
        writer.put(b"three")
        assert received + mailbox.get_many() == [b"one", b"three"]
        mailbox.commit(2)
        assert not mailbox.ready()
        holder.send_signal(signal.SIGCONT)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "retired\n", "the stopped one learns that it must put again"


@pytest.mark.process
def test_an_owner_that_dies_while_it_starts_a_new_generation_is_finished_by_its_successor(
    mailbox: Mailbox, writer: MailboxWriter, bell: Bell
) -> None:
    writer.put(b"one")
    mailbox._box.words[ipc.mailbox._RETIRED] = 1
    with pytest.raises(MailboxBusy):
        writer.put(b"too early", timeout_s=0.01)
    successor = Mailbox.create(mailbox.path, bell)
    writer.put(b"two")
    assert successor.generation == 2
    assert taken(successor) == [b"one", b"two"]


@pytest.mark.process
def test_without_space_the_owner_of_a_stuck_mailbox_goes_on_and_tries_again(
    mailbox: Mailbox, writer: MailboxWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "_capacity_bytes", 1 << 50)
    with Holder(mailbox.path, "SIGSTOP"):
        for _ in range(120):  # 1 ms each
            assert mailbox.get_many() == []
        assert mailbox.generation == 1
        monkeypatch.setattr(mailbox, "_capacity_bytes", 4096)
        while mailbox.generation == 1:
            mailbox.get_many()
        writer.put(b"one")
        assert taken(mailbox) == [b"one"]


def test_without_space_for_a_new_generation_the_old_one_stays(
    mailbox: Mailbox, writer: MailboxWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.put(b"one")
    monkeypatch.setattr(mailbox, "_capacity_bytes", 1 << 50)
    with pytest.raises(NoSpace):
        mailbox._replace(mailbox._box)
    writer.put(b"two")
    assert taken(mailbox) == [b"one", b"two"]


def test_an_owner_with_another_bell_gets_a_new_generation(mailbox: Mailbox, writer: MailboxWriter, shm: Path) -> None:
    writer.put(b"one")
    other = Bell.create(str(shm / "other.bell"))
    successor = Mailbox.create(mailbox.path, other)
    assert successor.generation == 2
    assert taken(successor) == [b"one"]


def test_the_bell_lies_beside_the_mailbox(shm: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same directory"):
        Mailbox.create(str(shm / "a.mail"), Bell.create(str(tmp_path / "a.bell")))


def test_what_is_no_mailbox_is_refused_by_name(shm: Path, bell: Bell) -> None:
    with pytest.raises(NotThere):
        Mailbox.attach(str(shm / "none.mail"))
    (shm / "other.mail").write_bytes(bytes(5000))
    with pytest.raises(VersionMismatch, match="mailbox version 1"):
        Mailbox.attach(str(shm / "other.mail"))
    assert Mailbox.create(str(shm / "other.mail"), bell).generation == 1


def test_another_layout_of_faster_fifo_is_refused_before_first_use(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(faster_fifo.Queue):  # type: ignore[misc]
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            self.queue_obj_buffer = bytes(256)

    ipc.mailbox._fresh_queue_object.cache_clear()
    monkeypatch.setattr(faster_fifo, "Queue", Other)
    with pytest.raises(Unsupported, match=r"need faster-fifo 1\.5\.2"):
        Mailbox.attach(mailbox.path)


def test_a_writer_finds_the_mailbox_of_the_next_desk(shm: Path, mailbox: Mailbox, writer: MailboxWriter) -> None:
    writer.put(b"one")
    for path in shm.iterdir():  # a desk that is stopped takes everything away
        path.unlink()
    assert not mailbox.is_there()
    with pytest.raises(NotThere):
        writer.put(b"two")
    again = Mailbox.create(mailbox.path, Bell.create(str(shm / "a.bell")), 4096)
    writer.put(b"three")
    assert again.is_there()
    assert taken(again) == [b"three"]
