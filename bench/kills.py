"""Kill processes at random instants while they use a ring or a mailbox, and see whether anybody else notices.

    python bench/kills.py [--channel ring|mailbox|faster-fifo] [--kills 200] [--seed 1] [--json]

A victim (reader or writer; busy, or idle: asleep at its doorbell) is forked, killed and forked again. Every message
carries its sequence and bytes that follow from it. What must hold after every kill: nothing whose `put` had returned is
lost, nothing torn is seen, no gap, and the survivors go on without waiting. faster-fifo as it comes is there for
comparison: it is expected to fail. Exits with 1 when a ring or a mailbox did.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import faster_fifo

from ipc.errors import MailboxFull
from ipc.mailbox import Mailbox
from ipc.proc import set_pdeathsig
from ipc.ring import create_ring, open_reader, open_writer
from ipc.wait import Bell

CAPACITY = 64 * 1024
SENT, ACTED, STARTED, GAPS, TORN, REPEATED = range(6)
PATIENCE_S = 5.0


def message(sequence: int) -> bytes:
    """8 bytes of sequence and up to 400 that follow from it."""
    return sequence.to_bytes(8, "little") * (1 + sequence * 7 % 50)


class Writer(Protocol):
    def put(self, data: bytes) -> bool: ...


class Reader(Protocol):
    def ready(self) -> bool: ...
    def take(self) -> list[bytes]: ...
    def commit(self, count: int) -> None: ...
    def sleep(self) -> None: ...


class Channel(Protocol):
    def writer(self) -> Writer: ...
    def reader(self) -> Reader: ...
    def asleep(self) -> bool: ...
    def in_lock(self) -> int: ...
    def holder_pid(self) -> int: ...


class RingChannel:
    def __init__(self, folder: str) -> None:
        self.path, self.bell_path = f"{folder}/a.ring", f"{folder}/a.bell"
        self.bell = Bell.create(self.bell_path)
        create_ring(self.path, CAPACITY)

    def writer(self) -> Writer:
        return _RingWriter(self)

    def reader(self) -> Reader:
        return _RingReader(self)

    def asleep(self) -> bool:
        return self.bell.flag[0] == 1

    def in_lock(self) -> int:
        return 0  # there is none

    def holder_pid(self) -> int:
        return -1  # any instant is as good as another


class _RingWriter:
    def __init__(self, channel: RingChannel) -> None:
        self._ring = open_writer(channel.path, Bell.attach(channel.bell_path))
        self.put = self._ring.try_put
        self.close = self._ring.close


class _RingReader:
    def __init__(self, channel: RingChannel) -> None:
        self._ring = open_reader(channel.path)
        self._bell = Bell.attach(channel.bell_path)
        self.ready = self._ring.ready

    def take(self) -> list[bytes]:
        return self._ring.peek_many(4096)

    def commit(self, count: int) -> None:
        self._ring.commit()

    def sleep(self) -> None:
        self._bell.wait(self.ready, PATIENCE_S)


class MailboxChannel:
    def __init__(self, folder: str) -> None:
        self.path, self.bell_path = f"{folder}/a.mail", f"{folder}/a.bell"
        self.bell = Bell.create(self.bell_path)
        self.box = Mailbox.create(self.path, self.bell, CAPACITY)
        self.observer = Mailbox.attach(self.path)

    def writer(self) -> Writer:
        return _MailboxWriter(self)

    def reader(self) -> Reader:
        return _MailboxReader(self)

    def asleep(self) -> bool:
        return self.bell.flag[0] == 1

    def in_lock(self) -> int:
        return self.box.deaths

    def holder_pid(self) -> int:
        return self.observer.holder_pid()


class _MailboxWriter:
    def __init__(self, channel: MailboxChannel) -> None:
        self._box = Mailbox.attach(channel.path)

    def put(self, data: bytes) -> bool:
        try:
            self._box.put(data)
        except MailboxFull:
            return False
        return True

    def close(self) -> None:
        pass


class _MailboxReader:
    def __init__(self, channel: MailboxChannel) -> None:
        self._bell = Bell.attach(channel.bell_path)
        self._box = Mailbox.create(channel.path, self._bell)
        self.ready, self.take, self.commit = self._box.ready, self._box.get_many, self._box.commit

    def sleep(self) -> None:
        self._bell.wait(self.ready, PATIENCE_S)


@dataclass
class Result:
    channel: str
    victim: str
    mode: str
    kills: int = 0
    in_lock: int = 0
    frames: int = 0
    repeated: int = 0
    longest_put_ms: float = 0.0
    faults: list[str] = field(default_factory=list)


class Run:
    """One victim × mode on one channel."""

    def __init__(self, channel: Channel, result: Result, seed: int) -> None:
        self.channel, self.result = channel, result
        self.random = random.Random(seed)
        self.words = memoryview(mmap.mmap(-1, 4096)).cast("Q")  # shared with the victims
        self.last = 0  # the last sequence that was put, or taken, in this process

    def go(self, kills: int) -> None:
        step = getattr(self, f"{self.result.mode}_{self.result.victim}")
        finish: Callable[[], None] = step()
        for _ in range(kills):
            finish()
            self.result.kills += 1
            if self.result.faults:
                return
        self.result.frames, self.result.in_lock = self.last, self.channel.in_lock()
        for word, name in ((GAPS, "gaps"), (TORN, "torn messages")):
            if self.words[word]:
                self.result.faults.append(f"{self.words[word]} {name}")
        self.result.repeated = self.words[REPEATED]

    def victim(self, act: Callable[[], None]) -> int:
        self.words[STARTED] = 0
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                set_pdeathsig(signal.SIGKILL, parent)
                act()
            finally:
                os._exit(1)
        return pid

    def kill(self, pid: int, critical: bool = False) -> None:
        until = time.perf_counter() + 1e-3
        while critical and not self.channel.holder_pid() and time.perf_counter() < until:
            pass
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            self.result.faults.append("the victim failed by itself")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                self.result.faults.append(f"wedged: {what}")
                return
            time.sleep(20e-6)

    def check(self, data: bytes, last: int) -> int:
        """The new `last`; counts what is wrong with `data`."""
        sequence = int.from_bytes(data[:8], "little")
        if data != message(sequence):
            self.words[TORN] += 1
        elif sequence == last + 1:
            return sequence
        elif sequence > last:
            self.words[GAPS] += 1
        else:
            self.words[REPEATED] += 1
        return last

    def put(self, writer: Writer) -> bool:
        began = time.perf_counter()
        done = writer.put(message(self.last + 1))
        self.result.longest_put_ms = max(self.result.longest_put_ms, (time.perf_counter() - began) * 1e3)
        self.last += done
        return done

    # -- the four experiments ---------------------------------------------------------------------------------------

    def busy_writer(self) -> Callable[[], None]:
        """The victim puts without pause; this process reads."""
        reader = self.channel.reader()

        def write() -> None:
            writer, sequence = self.channel.writer(), self.words[SENT] + 1
            while True:
                self.words[STARTED] = 1
                if writer.put(message(sequence)):
                    self.words[SENT] = sequence
                    sequence += 1

        def read() -> None:
            messages = reader.take()
            for data in messages:
                self.last = self.check(data, self.last)
            reader.commit(len(messages))

        def step() -> None:
            pid = self.victim(write)
            self.until(lambda: self.words[STARTED] == 1, "a new writer could not attach")
            until = time.perf_counter() + self.random.random() * 2e-3
            while time.perf_counter() < until:
                read()
            self.kill(pid, critical=True)
            while reader.ready():
                read()
            if self.last < self.words[SENT]:
                self.result.faults.append(f"lost: {self.words[SENT]} was put, {self.last} was read")

        return step

    def busy_reader(self) -> Callable[[], None]:
        """The victim takes, checks, notes what it acted on and commits; this process writes without pause."""
        writer = self.channel.writer()

        def read() -> None:
            reader = self.channel.reader()
            while True:
                self.words[STARTED] = 1
                reader.sleep()
                self.act(reader)

        def step() -> None:
            pid = self.victim(read)
            self.until(lambda: self.words[STARTED] == 1, "a new reader could not attach")
            until = time.perf_counter() + self.random.random() * 2e-3
            while time.perf_counter() < until:
                self.put(writer)
            acted = self.words[ACTED]
            if self.random.random() < 0.1:
                self.until(lambda: self.words[ACTED] > acted or acted == self.last, "a new reader reads nothing")
            self.kill(pid, critical=True)

        return step

    def act(self, reader: Reader) -> None:
        messages = reader.take()
        for data in messages:
            self.words[ACTED] = self.check(data, self.words[ACTED])
        reader.commit(len(messages))

    def idle_reader(self) -> Callable[[], None]:
        """The victim acts on three messages that were put while there was no reader, then sleeps."""
        writer = self.channel.writer()

        def read() -> None:
            reader = self.channel.reader()
            while True:
                self.act(reader)
                reader.sleep()

        def step() -> None:
            for _ in range(3):
                if not self.put(writer):
                    self.result.faults.append("wedged: a put was refused")
            pid = self.victim(read)
            self.until(lambda: self.words[ACTED] == self.last, "a new reader does not get what was put")
            self.put(writer)
            self.until(lambda: self.words[ACTED] == self.last, "a sleeping reader is not woken")
            self.until(self.channel.asleep, "the reader does not sleep")
            self.kill(pid)

        return step

    def idle_writer(self) -> Callable[[], None]:
        """The victim has attached, put one message and sleeps; after it another one puts, and all are read."""
        reader = self.channel.reader()

        def write() -> None:
            writer = self.channel.writer()
            self.words[STARTED] = writer.put(message(self.last + 1))
            signal.pause()

        def step() -> None:
            pid = self.victim(write)
            self.until(lambda: self.words[STARTED] == 1, "a new writer could not put")
            self.kill(pid)
            self.last += 1
            writer = self.channel.writer()
            if not self.put(writer):
                self.result.faults.append("wedged: the next writer could not put")
            writer.close()  # type: ignore[attr-defined]
            messages = reader.take()
            if messages != [message(self.last - 1), message(self.last)]:
                self.result.faults.append("lost or torn")
            reader.commit(len(messages))

        return step


CHANNELS: dict[str, Callable[[str], Channel]] = {"ring": RingChannel, "mailbox": MailboxChannel}


def experiment(channel: str, victim: str, mode: str, kills: int, seed: int) -> Result:
    result = Result(channel, victim, mode)
    folder = tempfile.mkdtemp(prefix="oms-kills-", dir="/dev/shm")
    try:
        Run(CHANNELS[channel](folder), result, seed).go(kills)
    finally:
        shutil.rmtree(folder)
    return result


def plain_faster_fifo(kills: int) -> Result:
    """The idle reader of a plain faster-fifo queue, in its blocking `get`, killed and started again. What may block
    for ever happens in processes that can be killed."""
    result = Result("faster-fifo", "reader", "idle")
    wedged = 0
    for _ in range(kills):
        queue = faster_fifo.Queue(CAPACITY)
        for _ in range(3):
            _end_within(_forked(lambda queue=queue: queue.get(timeout=60)), 0.01)
            reader = _forked(lambda queue=queue: queue.get(timeout=60))
            time.sleep(0.005)
            if not _end_within(_forked(lambda queue=queue: queue.put(b"x", timeout=0.2)), 1.0):
                wedged += 1
                _end_within(reader, 0)
                break
            _end_within(reader, 0.05)
        result.kills += 1
    result.faults = [f"wedged in {wedged} of {kills} runs"] if wedged else []
    return result


def _forked(act: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return pid


def _end_within(pid: int, patience_s: float) -> bool:
    """Whether it ended by itself; if not it is killed."""
    deadline = time.monotonic() + patience_s
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.0005)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channel", choices=[*CHANNELS, "faster-fifo"], action="append")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for channel in options.channel or ["ring", "mailbox"]:
        if channel == "faster-fifo":
            results.append(plain_faster_fifo(options.kills))
            continue
        for victim, mode in itertools.product(("writer", "reader"), ("idle", "busy")):
            results.append(experiment(channel, victim, mode, options.kills, options.seed))
    if options.json:
        print(json.dumps([vars(result) for result in results]))
    else:
        for r in results:
            print(f"{r.channel:12}{r.mode:5}{r.victim:7} {r.kills:5} kills {r.in_lock:4} in the lock {r.frames:8,} "
                  f"messages {r.repeated:6,} repeated  longest put {r.longest_put_ms:6.2f} ms  "
                  f"{'; '.join(r.faults) or 'ok'}")  # fmt: skip
    return int(any(r.faults for r in results if r.channel != "faster-fifo"))


if __name__ == "__main__":
    sys.exit(main())
