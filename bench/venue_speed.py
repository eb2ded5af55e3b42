"""The venue on one core: requests out of a ring, through journal and engine, reports into a ring.

    python -m bench.venue_speed [--runs 3] [--orders 500000] [--json]

match    the stream of `book_speed` as requests of one member, 64 in a frame; the book must fill as often as there.
fill     as many limit orders for the model "fill".

The venue's role runs in this process without its shell; only its own work is counted, as CPU time, not the client's
which fills the ring and empties the other. A report too few is a wrong answer.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.book_speed import KNOWN, stream
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from oms_actors.actors.venue import VenueRole
from oms_actors.config import Config, VenueConfig
from oms_actors.core.book import BUY
from oms_actors.edges.venue_link import VenueAdapter
from oms_actors.errors import ONE
from oms_actors.messages import Kind, OrderType
from oms_actors.record import REPORT_BYTES, REQUEST, VERSION
from tests.support.roles import context_of, resolve

FRAME_RECORDS = 64
ROUND_FRAMES = 64


def bench(options: Options) -> Finding:
    """Best of several runs."""
    length = options.count(500_000, 5_000)
    finding = Finding("venue_speed", "the venue: rings, journal, engine")
    finding.config = {"requests": length, "seed": options.seed, "records per frame": FRAME_RECORDS}
    for _ in range(options.repeats()):
        for model, requests in (("match", matching), ("fill", filling)):
            with tempfile.TemporaryDirectory(prefix="oms-bench-", dir=options.folder) as folder:
                run(Path(folder), model, frames(requests(length, options.seed)), length, options.seed, finding)
    return finding


def matching(length: int, seed: int) -> Iterator[bytes]:
    """The book's stream as INTENT records."""
    for number, (is_new, order_id, side, price, quantity) in enumerate(stream(length, seed), 1):
        if is_new:
            yield intent(Kind.INTENT_NEW, number, side, price, quantity, b"%d" % order_id, b"")
        else:
            yield intent(Kind.INTENT_CANCEL, number, 0, 0, 0, b"C%d" % order_id, b"%d" % order_id)


def filling(length: int, seed: int) -> Iterator[bytes]:
    """Limit orders."""
    return (intent(Kind.INTENT_NEW, n, BUY, 100 + n % 10, 10, b"%d" % n, b"") for n in range(1, length + 1))


def intent(kind: int, number: int, side: int, price: int, quantity: int, name: bytes, original: bytes) -> bytes:
    return REQUEST.pack(
        kind, VERSION, side, OrderType.LIMIT, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, quantity * ONE, price * ONE, 0, 0,
        b"", name, original, b"AAPL", number,
    )  # fmt: skip


def frames(requests: Iterator[bytes]) -> list[bytes]:
    found = list(requests)
    return [b"".join(found[at : at + FRAME_RECORDS]) for at in range(0, len(found), FRAME_RECORDS)]


def run(folder: Path, model: str, work: list[bytes], length: int, seed: int, finding: Finding) -> None:
    """One run of one model."""
    config = Config(venue=VenueConfig(model=model, latency_us=0, snapshot_interval_sec=3600))  # type: ignore[arg-type]
    resolved = resolve(folder, config)
    role = VenueRole(context_of(resolved, "venue"))
    role.start()
    adapter = VenueAdapter(str(folder / "run" / "venue"), report_bytes=64 << 20)
    reports = 0

    def count(frame: bytes) -> None:
        nonlocal reports
        reports += len(frame) // REPORT_BYTES

    adapter.on_records = count
    adapter.connect(lambda response: None)
    adapter.send_logon("bench", "")
    role._scan_due_ns = 0
    role.work()
    gc.collect()
    seconds = 0.0
    for at in range(0, len(work), ROUND_FRAMES):
        for frame in work[at : at + ROUND_FRAMES]:
            adapter.send_records(frame, FRAME_RECORDS)
        began = time.process_time()
        while role.ready():
            role.work()
        seconds += time.process_time() - began
        while adapter.ready():
            adapter.poll()
        adapter.poll()
    counts = role._model.counts
    role._journal.close()
    wanted = 1 + counts.acks + counts.rejects + counts.fills + counts.canceled
    traded = counts.trades, counts.volume // ONE
    known = KNOWN.get((length, seed), traded) if model == "match" else (length, 10 * length)
    if (reports, counts.requests, traded) != (wanted, length, known):
        raise WrongAnswer(f"{model}: {reports} reports of {wanted}, {counts.requests} requests, {traded} of {known}")
    finding.add(model, "requests/s", length / seconds)
    finding.add(f"{model}_cost", "ns/request", seconds / length * 1e9, "lower")
    finding.checked.append(f"{model}: {reports:,} reports, {counts.trades:,} trades")


if __name__ == "__main__":
    main(bench, __doc__)
