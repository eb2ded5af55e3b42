"""One producer, one consumer, two processes: records of 192 bytes per second, by records per frame.

    python -m bench.ring_throughput [--seconds 0.4] [--runs 3] [--json]

The ring against faster-fifo, multiprocessing.Queue and a pipe in the same run; the first two in turn, several times,
and the ratio is that of two turns one right after the other, for a machine's speed may change from second to second.
The consumer checks every frame's number (they are made beforehand and repeat), its length, how many there were in the
end, and now and then every byte. It looks at the ring's frames where they lie, as the desk's own processes do; the
other links know only copies. "ring, copied" is the same ring with a copy of each frame, as upstreams get them.
"""

from __future__ import annotations

import random
import struct
import time

from bench.host import keep_memory
from bench.links import LINKS, RECORD_BYTES, CopyingRing, Link, Other
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main

RECORDS_PER_FRAME = (1, 16, 128, 1024)
OURS, COPIED, PEER, TURNS = "ring", "ring, copied", "faster-fifo", 3
ALL = {**LINKS, COPIED: CopyingRing}
PAUSE_S = 20e-6
"""A producer waits so long while its link is full."""
NUMBER = struct.Struct("<Q")
PREPARED, PREPARED_BYTES = 64, 1 << 20
"""Frames made beforehand, so few that they stay in the cache: making them would cost more than many a link."""
LOOK_EVERY = 64
"""About so many frames lie between two that are compared to the last byte; else that would be what is measured."""


def bench(options: Options) -> Finding:
    """Every link with every frame size, in turn, several times over."""
    keep_memory()
    seconds, turns = options.duration(0.4, 0.01), 1 if options.tiny else TURNS
    finding = Finding("ring", "ring: records through two processes")
    finding.config = {"record": f"{RECORD_BYTES} bytes", "seconds": seconds}
    for _ in range(options.repeats()):
        for records in RECORDS_PER_FRAME:
            for name in [OURS, PEER] * turns + [name for name in ALL if name not in (OURS, PEER)]:
                finding.add(f"{name}, {records} a frame", "records/s", measure(name, records, seconds))
            ours, peers = (finding[f"{name}, {records} a frame"].values[-turns:] for name in (OURS, PEER))
            for mine, other in zip(ours, peers, strict=True):
                finding.add(f"{OURS} against {PEER}, {records} a frame", "×", mine / other)
    finding.checked = ["every frame once, in order, of the right length; about one in 64 byte by byte"]
    return finding


def prepared(records: int, seed: int = 7) -> list[bytes]:
    """Frames that begin with their number and go on at random."""
    size = records * RECORD_BYTES
    noise = random.Random(seed)
    count = max(2, min(PREPARED, PREPARED_BYTES // size))
    return [number.to_bytes(8, "little") + noise.randbytes(size - 8) for number in range(count)]


def produce(link: Link, frames: list[bytes], seconds: float) -> None:
    """The frames, again and again for `seconds`, then a short one that says how many there were."""
    put = link.writer()
    count = 0
    deadline = time.perf_counter() + seconds
    while not count or time.perf_counter() < deadline:
        for frame in frames:
            while put(frame) is False:
                time.sleep(PAUSE_S)
        count += len(frames)
    put(count.to_bytes(8, "little"))
    link.finish()


def consume(link: Link, frames: list[bytes], records: int) -> float:
    """Records per second."""
    take, number_of = link.reader(), NUMBER.unpack_from
    size, kinds, expected, began = len(frames[0]), len(frames), 0, 0.0
    looked_at, look_from = 0, 0  # the kind that is looked at closely next, and not before which frame
    while True:
        for frame in take():
            (number,) = number_of(frame)
            if len(frame) == 8 and number == expected:
                return expected * records / (time.perf_counter() - began)
            if not expected:
                began = time.perf_counter()
            if number != expected % kinds or len(frame) != size:
                raise WrongAnswer(f"frame {expected} is wrong: {bytes(frame[:16])!r}, {len(frame)} bytes")
            if number == looked_at and expected >= look_from:
                if bytes(frame) != frames[number]:
                    raise WrongAnswer(f"frame {expected} has other bytes than were put")
                looked_at, look_from = (number + 1) % kinds, expected + LOOK_EVERY
            expected += 1


def measure(name: str, records: int, seconds: float) -> float:
    """One link, one frame size."""
    link, frames = ALL[name](), prepared(records)
    try:
        with Other(lambda: produce(link, frames, seconds)):
            return consume(link, frames, records)
    finally:
        link.close()


if __name__ == "__main__":
    main(bench, __doc__)
