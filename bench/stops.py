"""Stop (SIGSTOP) a writer, then the reader, of a ring or a mailbox under saturating load, and time all the others.

    python bench/stops.py [--channel ring|mailbox] [--seconds 2] [--json]

Two writers (of a mailbox; a ring has one) put without pause and a reader takes. A stop hits a mailbox's writer inside
the lock. "longest" is the longest single call of a process that was not stopped; "went on" how many calls succeeded in
the second half of the stop. The stated bounds: 50 ms for a writer of a mailbox, then MailboxBusy or MailboxFull; 1 ms
for its owner, and 0.1 s until the mailbox works again; nothing for a ring.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable

from bench.kills import CHANNELS, Channel, message
from ipc.errors import MailboxBusy
from ipc.proc import set_pdeathsig

CALLS, LONGEST_NS, PHASE_OF_LONGEST, PHASE = 0, 1, 2, 3  # PHASE is the experiment's, the others the worker's
WORDS = 8


class Worker:
    """A forked process that calls `act` for ever; counts successes and times the longest call of each phase in shared
    memory. A call belongs to the phase in which it began."""

    def __init__(self, name: str, act: Callable[[], Callable[[], object]], words: memoryview) -> None:
        self.name, self.words = name, words
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                set_pdeathsig(signal.SIGKILL, parent)
                self._work(act())
            finally:
                os._exit(1)

    def _work(self, call: Callable[[], object]) -> None:
        words = self.words
        phase = longest = 0
        while True:
            if words[PHASE] != phase:
                phase, longest = words[PHASE], 0
            began = time.perf_counter_ns()
            try:
                done = bool(call())
            except MailboxBusy:
                done = False
            longest = max(longest, time.perf_counter_ns() - began)
            words[LONGEST_NS] = longest
            words[PHASE_OF_LONGEST] = phase
            words[CALLS] += done

    def begin_phase(self) -> None:
        self.words[PHASE] += 1

    def longest_ms(self, seconds: float) -> float:
        """The longest call of this phase, which has lasted `seconds`; all of it if none has returned."""
        words = self.words
        return words[LONGEST_NS] / 1e6 if words[PHASE_OF_LONGEST] == words[PHASE] else seconds * 1e3

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)
        if number is signal.SIGSTOP:
            os.waitpid(self.pid, os.WUNTRACED)


def writer(channel: Channel) -> Callable[[], object]:
    end = channel.writer()
    data = message(49)
    return lambda: end.put(data)


def reader(channel: Channel) -> Callable[[], object]:
    end = channel.reader()

    def take() -> int:
        messages = end.take()
        end.commit(len(messages))
        return len(messages)

    return take


def stop(victim: Worker, workers: list[Worker], channel: Channel, seconds: float, inside: bool) -> dict[str, object]:
    others = [worker for worker in workers if worker is not victim]
    if inside:
        inside = stop_inside(victim, channel)
    else:
        victim.signal(signal.SIGSTOP)
    for worker in others:
        worker.begin_phase()
    time.sleep(seconds / 2)
    half_way = [worker.words[CALLS] for worker in others]
    time.sleep(seconds / 2)
    result = {
        "stopped": victim.name,
        "inside_lock": inside,
        "longest_ms": {worker.name: worker.longest_ms(seconds) for worker in others},
        "went_on": {worker.name: worker.words[CALLS] - then for worker, then in zip(others, half_way, strict=True)},
    }
    victim.signal(signal.SIGCONT)
    before = [worker.words[CALLS] for worker in workers]
    deadline = time.monotonic() + 5
    while any(w.words[CALLS] == b for w, b in zip(workers, before, strict=True)) and time.monotonic() < deadline:
        time.sleep(0.001)
    result["all_go_on_after"] = all(w.words[CALLS] > b for w, b in zip(workers, before, strict=True))
    return result


def stop_inside(victim: Worker, channel: Channel) -> bool:
    """Stops it until the stop has hit it inside the lock; False if it never did."""
    for _ in range(2000):
        victim.signal(signal.SIGSTOP)
        if channel.holder_pid() == victim.pid:
            return True
        victim.signal(signal.SIGCONT)
        time.sleep(0.0002)
    return False


def experiment(name: str, seconds: float) -> list[dict[str, object]]:
    folder = tempfile.mkdtemp(prefix="oms-stops-", dir="/dev/shm")
    workers: list[Worker] = []
    try:
        channel = CHANNELS[name](folder)
        words = memoryview(mmap.mmap(-1, 4096)).cast("q")
        plan = [("reader", reader), ("writer", writer)] + ([("other writer", writer)] if name == "mailbox" else [])
        for i, (role, act) in enumerate(plan):
            mine = words[i * WORDS : (i + 1) * WORDS]
            workers.append(Worker(role, lambda act=act: act(channel), mine))
        while not all(worker.words[CALLS] for worker in workers):
            time.sleep(0.001)
        return [stop(workers[i], workers, channel, seconds, name == "mailbox" and i == 1) for i in (1, 0)]
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
        shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channel", choices=list(CHANNELS), action="append")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {name: experiment(name, options.seconds) for name in options.channel or list(CHANNELS)}
    if options.json:
        print(json.dumps(results))
    else:
        for name, stops in results.items():
            for result in stops:
                print(name, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
