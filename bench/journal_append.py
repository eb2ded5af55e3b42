"""The journal alone: records appended per second, as intake does it.

    python -m bench.journal_append [--orders 1000000] [--runs 3] [--json]

Records of 192 bytes in frames of 1, 16, 128 and 682; "process": the page cache; "power": one fdatasync per frame, whose
cost depends on the disk. Afterwards every frame is read back and checked, with its CRC.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import MutableSequence
from pathlib import Path

from bench.host import fdatasync_us
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import MARK_WORDS, JournalWriter, frames
from oms_actors.record import REQUEST_BYTES

FRAMES = (1, 16, 128, 682)
SEGMENT_BYTES = 64 << 20


def bench(options: Options) -> Finding:
    """Every frame size, several times over."""
    records = options.count(500_000, 2_000)
    finding = Finding("journal", "journal alone: records appended")
    finding.config = {"record": f"{REQUEST_BYTES} bytes", "segment": f"{SEGMENT_BYTES >> 20} MiB"}
    with tempfile.TemporaryDirectory(prefix="oms-bench-", dir=options.folder) as folder:
        finding.add("fdatasync", "µs", fdatasync_us(Path(folder)), "neither")
        for run in range(options.repeats()):
            for size in FRAMES:
                many = records // (10 if size == 1 else 1)
                rate = append(Path(folder) / f"process-{run}-{size}", many, size, "process")
                finding.add(f"process, {size} a frame", "records/s", rate)
            few = max(size * 4, min(records, size * 100))
            rate = append(Path(folder) / f"power-{run}", few, size, "power")
            finding.add(f"power, {size} a frame", "records/s", rate)
    finding.checked = ["every frame reads back with its CRC, sequence and payload"]
    return finding


def append(folder: Path, records: int, size: int, durability: str) -> float:
    """Records per second."""
    mark: MutableSequence[int] = [0] * MARK_WORDS
    writer = JournalWriter(
        OsDisk(folder), "bench", durability=durability, segment_bytes=SEGMENT_BYTES, desk=1, boot=1, wall_ns=1,
        mark=mark,
    )  # fmt: skip
    payload = bytes(range(192)) * size
    count = max(1, records // size)
    began = time.perf_counter()
    for number in range(count):
        writer.append(payload, size, number, number)
        writer.sync()
    seconds = time.perf_counter() - began
    writer.close()
    check(folder, count, size, payload)
    return count * size / seconds


def check(folder: Path, count: int, size: int, payload: bytes) -> None:
    """Reads it back."""
    found = 0
    for frame in frames(OsDisk(folder), "bench"):
        if frame.payload != payload or frame.wall_ns != found or frame.sequence != 1 + found * size:
            raise WrongAnswer(f"frame {found} is not what was written")
        found += 1
    if found != count:
        raise WrongAnswer(f"{found} frames of {count} were read back")


if __name__ == "__main__":
    main(bench, __doc__)
