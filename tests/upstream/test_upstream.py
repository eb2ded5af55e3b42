"""An upstream's end: attaching, submitting, reading reports."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns

import pytest

from ipc.duplex import Server
from ipc.lock import FileLock
from oms_actors import (
    AlreadyLocked,
    CancelOrder,
    DeskDown,
    FieldError,
    ModifyOrder,
    NewOrder,
    ReportFlag,
    RingFull,
    Upstream,
)
from oms_actors.record import REQUEST, REQUEST_NAMES, encode, encode_text
from oms_actors.upstream import WrongProcess
from tests.upstream.conftest import a_report

FROM_SENDER = int(ReportFlag.FROM_SENDER)
Serve = Callable[[str], Server]


def new(number: int) -> NewOrder:
    return NewOrder(client_order_id=f"A-{number}", symbol="AAPL", side="BUY", quantity=100, price="585.33")


def fields(record: bytes) -> dict[str, object]:
    return dict(zip(REQUEST_NAMES, REQUEST.unpack(record), strict=True))


def ids(server: Server) -> list[str]:
    frames = server.requests.peek_many(1 << 30)
    server.requests.commit()
    data = b"".join(frames)
    return [data[at + 96 : at + 132].rstrip(b"\0").decode() for at in range(0, len(data), 192)]


# -- attaching --------------------------------------------------------------------------------------------------------


def test_without_a_desk_attach_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(DeskDown, match="oms run --instance nine"):
        Upstream.attach("nine", name="u")


def test_a_desk_whose_supervisor_is_gone_is_down(runtime: Path, supervisor: FileLock) -> None:
    supervisor.release()
    with pytest.raises(DeskDown, match="supervisor is gone"):
        Upstream.attach(name="u")


def test_a_desk_that_is_still_starting_is_waited_for(runtime: Path) -> None:
    bell = runtime / "intake.bell"
    hidden = bell.rename(runtime / "hidden")
    with pytest.raises(DeskDown, match="still starting"):
        Upstream.attach(name="u")
    timer = threading.Timer(0.05, hidden.rename, (bell,))
    timer.start()
    Upstream.attach(name="u", timeout=30).close()
    timer.join()


def test_a_name_that_is_no_file_name_is_refused(runtime: Path) -> None:
    with pytest.raises(FieldError, match="upstream"):
        Upstream.attach(name="../x")


def test_one_living_upstream_per_name(runtime: Path) -> None:
    with Upstream.attach(name="u"):
        with pytest.raises(AlreadyLocked, match=f"u.up is locked by process {os.getpid()}"):
            Upstream.attach(name="u")
        Upstream.attach(name="other").close()
    Upstream.attach(name="u").close()
    assert sorted(p.name for p in (runtime / "upstreams").iterdir()) == ["other.up", "u.up"]


def test_two_who_create_a_name_at_once_end_up_with_one_file_and_one_owner(runtime: Path) -> None:
    attached, refused = [], []
    barrier = threading.Barrier(4)

    def attach() -> None:
        barrier.wait()
        try:
            attached.append(Upstream.attach(name="u"))
        except AlreadyLocked as error:
            refused.append(error)

    threads = [threading.Thread(target=attach) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(attached), len(refused)) == (1, 3)
    assert [p.name for p in (runtime / "upstreams").iterdir()] == ["u.up"]
    attached[0].submit(new(1))
    attached[0].close()


# -- requests ---------------------------------------------------------------------------------------------------------


def test_submit_is_one_frame_with_one_encoded_request(runtime: Path, serve: Serve) -> None:
    before = monotonic_ns()
    with Upstream.attach(name="u") as oms:
        oms.submit(new(1))
        record = serve("u").requests.peek()
    assert record is not None
    assert before <= int(fields(record)["send_time_ns"]) <= monotonic_ns()  # type: ignore[call-overload]
    assert record[:32] + record[40:] == encode(new(1))[:32] + encode(new(1))[40:]


def test_submit_many_makes_few_frames_of_at_most_a_quarter_ring(runtime: Path, serve: Serve) -> None:
    requests = [
        *(new(i) for i in range(100)),
        ModifyOrder(client_order_id="M-1", orig_client_order_id="A-1", price="1.5"),
        CancelOrder(client_order_id="C-1", orig_client_order_id="A-2"),
    ]
    with Upstream.attach(name="u") as oms:
        assert oms.submit_many(requests) == 102
        server = serve("u")
        frames = server.requests.peek_many(1 << 30)
    assert [len(frame) // 192 for frame in frames] == [85, 17]
    assert all(int(fields(frame[:192])["send_time_ns"]) for frame in frames)  # type: ignore[call-overload]
    server.requests.rewind()
    assert ids(server) == [request.client_order_id for request in requests]


def test_one_invalid_request_of_many_sends_none(runtime: Path, serve: Serve) -> None:
    bad = NewOrder(client_order_id="B", symbol="AAPL", side="BUY", quantity="NaN", price="1")
    with Upstream.attach(name="u") as oms:
        with pytest.raises(FieldError, match="quantity"):
            oms.submit_many([new(1), bad])
        with pytest.raises(FieldError, match="whole requests"):
            oms.submit_records(b"x" * 100)
        assert not serve("u").requests.ready()


def test_a_full_ring_is_refused_at_once_and_says_how_many_went_in(runtime: Path, serve: Serve) -> None:
    with Upstream.attach(name="u") as oms:
        with pytest.raises(RingFull) as caught:
            oms.submit_many(map(new, range(1000)))
        assert caught.value.submitted == 340
        assert "is full" in str(caught.value)
        with pytest.raises(RingFull):
            [oms.submit(new(number)) for number in range(1000)]
        server = serve("u")
        assert ids(server)[:340] == [f"A-{n}" for n in range(340)]
        oms.submit(new(5000))
        assert ids(server) == ["A-5000"]


def test_a_full_ring_is_waited_for_as_long_as_asked(runtime: Path, serve: Serve) -> None:
    with Upstream.attach(name="u") as oms:
        server = serve("u")
        got: list[str] = []

        def drain() -> None:
            while len(got) < 2000:
                got.extend(ids(server))

        thread = threading.Thread(target=drain)
        thread.start()
        assert oms.submit_many(map(new, range(2000)), timeout=30) == 2000
        thread.join()
        assert got == [f"A-{n}" for n in range(2000)]


# -- reports ----------------------------------------------------------------------------------------------------------


def test_reports_come_decoded_and_count_as_taken_when_the_iterator_goes_on(runtime: Path, serve: Serve) -> None:
    with Upstream.attach(name="u") as oms:
        server = serve("u")
        server.reports.put(a_report(1, "A-1") + a_report(2, "A-2"))
        server.reports.put(a_report(1, "A-1", FROM_SENDER | ReportFlag.HAS_TEXT) + encode_text(1, "why not"))
        reports = oms.reports()
        assert [next(reports).client_order_id, next(reports).client_order_id] == ["A-1", "A-2"]
        assert server.reports.committed() == 0
        last = next(reports)
        assert server.reports.committed() > 0
        assert (last.text, last.reason_text, last.sequence) == ("why not", "why not", 1)
        assert last.order_id == ""
        assert next(reports, None) is None
        assert server.reports.committed() == server.reports.position


def test_an_iterator_left_in_the_middle_of_a_frame_goes_on_there(runtime: Path, serve: Serve) -> None:
    with Upstream.attach(name="u") as oms:
        server = serve("u")
        server.reports.put(b"".join(a_report(n) for n in range(1, 6)))
        for report in oms.reports():
            if report.sequence == 2:
                break
        assert [report.sequence for report in oms.reports()] == [3, 4, 5]


def test_what_was_not_taken_comes_again_to_the_next_of_that_name(runtime: Path, serve: Serve) -> None:
    with Upstream.attach(name="u") as oms:
        serve("u").reports.put(a_report(1) + a_report(2))
        assert next(iter(oms.reports())).sequence == 1
    with Upstream.attach(name="u") as oms:
        assert [report.sequence for report in oms.reports()] == [1, 2]
    with Upstream.attach(name="u") as oms:
        assert list(oms.reports()) == []


def test_an_error_in_the_with_block_leaves_the_last_frames_untaken(runtime: Path, serve: Serve) -> None:
    def fail() -> None:
        with Upstream.attach(name="u") as oms:
            serve("u").reports.put(a_report(1))
            assert oms.raw_reports()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with Upstream.attach(name="u") as oms:
        assert len(oms.raw_reports()) == 1
    with Upstream.attach(name="u") as oms:
        assert oms.raw_reports() == []


@pytest.mark.parametrize("raw", [False, True])
def test_what_was_seen_before_is_dropped_by_origin_and_sequence(runtime: Path, serve: Serve, raw: bool) -> None:
    def sequences(oms: Upstream) -> list[tuple[bool, int]]:
        if raw:
            data = b"".join(oms.raw_reports())
            found = [data[at : at + 256] for at in range(0, len(data), 256) if data[at] == 64]
            return [(bool(r[5] & FROM_SENDER), int.from_bytes(r[8:16], "little")) for r in found]
        return [(bool(r.flags & FROM_SENDER), r.sequence) for r in oms.reports()]

    text = encode_text(9, "t")
    with Upstream.attach(name="u") as oms:
        put = serve("u").reports.put
        put(a_report(1) + a_report(2) + a_report(3))
        assert sequences(oms) == [(False, 1), (False, 2), (False, 3)]
        put(a_report(2) + a_report(3) + a_report(4))
        put(a_report(4) + a_report(1, flags=FROM_SENDER) + a_report(5))
        put(a_report(0) + a_report(0))
        put(a_report(9, flags=FROM_SENDER | ReportFlag.HAS_TEXT) + text)
        expected = [(False, 4), (True, 1), (False, 5), (False, 0), (False, 0), (True, 9)]
        assert sequences(oms) == expected
        put(a_report(9, flags=FROM_SENDER | ReportFlag.HAS_TEXT) + text + a_report(10, flags=FROM_SENDER))
        assert sequences(oms) == [(True, 10)]


def test_a_waiting_reader_is_woken(runtime: Path, serve: Serve) -> None:
    with Upstream.attach(name="u") as oms:
        server = serve("u")
        thread = threading.Timer(0.05, server.reports.put, (a_report(1),))
        thread.start()
        assert [len(frame) for frame in oms.raw_reports(timeout=30)] == [256]
        thread.join()


# -- a desk that goes away --------------------------------------------------------------------------------------------


def test_when_the_desk_has_ended_submit_and_reports_say_so(
    runtime: Path, serve: Serve, supervisor: FileLock
) -> None:
    with Upstream.attach(name="u") as oms:
        serve("u").reports.put(a_report(1))
        supervisor.release()
        assert next(iter(oms.reports())).sequence == 1
        with pytest.raises(DeskDown):
            oms.submit(new(1))
        with pytest.raises(DeskDown):
            oms.raw_reports(timeout=30)


def test_a_desk_that_was_started_anew_serves_another_file(runtime: Path) -> None:
    with Upstream.attach(name="u") as oms:
        (runtime / "upstreams" / "u.up").unlink()
        with pytest.raises(DeskDown, match="attach again"):
            oms.submit(new(1))


@pytest.mark.process
def test_a_forked_child_is_refused_and_does_not_free_the_name(runtime: Path) -> None:
    with Upstream.attach(name="u") as oms:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                oms.submit(new(1))
            except WrongProcess:
                status = 0
            oms.close()
            os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        with pytest.raises(AlreadyLocked):
            Upstream.attach(name="u")
