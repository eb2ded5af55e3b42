"""Mailboxes alone: messages per second through two processes, guarded as ours are and as faster-fifo comes.

    python -m bench.mailbox_throughput [--seconds 0.5] [--runs 3] [--json]

Messages of 200 bytes, one at a time, taken by the reader in batches; each must come once and in order. The guard (a
robust lock, an undo copy) is what keeps a killed process from wedging everybody: this is what it costs.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable

import faster_fifo

from bench.links import Other
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from ipc.errors import MailboxBusy, MailboxFull
from ipc.mailbox import Mailbox
from ipc.wait import Bell

MESSAGE_BYTES = 200
CAPACITY = 1 << 20
_END = (1 << 64) - 1


def bench(options: Options) -> Finding:
    """Both in turn, several times over."""
    seconds = options.duration(0.5, 0.01)
    finding = Finding("mailbox", "mailbox: messages through two processes")
    finding.config = {"message": f"{MESSAGE_BYTES} bytes", "seconds": seconds}
    for _ in range(options.repeats()):
        guarded, bare = mailbox(seconds), fifo(seconds)
        finding.add("mailbox", "messages/s", guarded)
        finding.add("faster-fifo, not guarded", "messages/s", bare)
        finding.add("what the guard costs", "ns/message", 1e9 / guarded - 1e9 / bare, "lower")
    finding.checked = ["every message once and in order"]
    return finding


def produce(put: Callable[[bytes], bool], seconds: float) -> None:
    """Numbered messages for `seconds`, then the end."""
    padding = bytes(MESSAGE_BYTES - 8)
    number, until = 0, time.perf_counter() + seconds
    while number % 64 or time.perf_counter() < until:
        while not put(number.to_bytes(8, "little") + padding):
            time.sleep(20e-6)
        number += 1
    while not put(_END.to_bytes(8, "little")):
        time.sleep(20e-6)


def consume(take: Callable[[], list[bytes]]) -> float:
    """Messages per second."""
    expected, began = 0, 0.0
    while True:
        for message in take():
            began = began or time.perf_counter()
            number = int.from_bytes(message[:8], "little")
            if number == _END:
                return expected / (time.perf_counter() - began)
            if number != expected:
                raise WrongAnswer(f"message {expected} is {number}")
            expected += 1


def mailbox(seconds: float) -> float:
    """Ours: the reader sleeps at its doorbell."""
    folder = tempfile.mkdtemp(prefix="oms-bench-", dir="/dev/shm")
    bell = Bell.create(f"{folder}/a.bell")
    box = Mailbox.create(f"{folder}/a.mail", bell, CAPACITY)

    def act() -> None:
        writer = Mailbox.attach(f"{folder}/a.mail")

        def put(data: bytes) -> bool:
            try:
                writer.put(data)
            except (MailboxFull, MailboxBusy):
                return False
            return True

        produce(put, seconds)

    def take() -> list[bytes]:
        bell.wait(box.ready, 60)
        found = box.get_many()
        box.commit(len(found))
        return list(found)

    try:
        return _run(act, take)
    finally:
        shutil.rmtree(folder)


def fifo(seconds: float) -> float:
    """faster-fifo as it comes."""
    queue = faster_fifo.Queue(CAPACITY, loads=bytes, dumps=lambda message: message)

    def put(data: bytes) -> bool:
        queue.put(data, timeout=60)
        return True

    return _run(lambda: produce(put, seconds), lambda: queue.get_many(timeout=60))


def _run(act: Callable[[], None], take: Callable[[], list[bytes]]) -> float:
    with Other(act):
        return consume(take)


if __name__ == "__main__":
    main(bench, __doc__)
