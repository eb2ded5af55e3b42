"""Intake's actor, stepped in this process."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

import msgspec
import pytest

from ipc.page import Page
from oms_actors import CancelOrder, ReportFlag, RingFull, Upstream, instance
from oms_actors.actors.commands import Reload
from oms_actors.core.hours import ALWAYS
from oms_actors.core.reports import report
from oms_actors.edges.journal import JournalFull, JournalWriter
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, OrdStatus, Report
from oms_actors.record import key_of
from tests.intake.desk import Desk
from tests.intake.makers import CLOSED, new

MakeDesk = Callable[..., Desk]


def heard(upstream: Upstream) -> list[Report]:
    return list(upstream.reports())


def brief(reports: list[Report]) -> list[tuple[str, str]]:
    return [(report.client_order_id, report.exec_type.name) for report in reports]


def test_an_order_is_accepted_seen_by_the_sender_and_answered(desk: Desk) -> None:
    oms = desk.upstream("u")
    oms.submit(new(1))
    desk.settle()
    assert brief(heard(oms)) == [("A-1", "PENDING_NEW"), ("A-1", "NEW")]
    assert [record[96:99] for record in desk.sender.seen] == [b"A-1"]
    page = Page.attach(str(desk.runtime / "intake.page"))
    assert {"requests": 1, "accepted": 1, "rejected": 0, "upstreams": 1, "reports": 2, "parked": 0}.items() <= (
        page.counters().items()
    )
    assert page["queue_free"] == 1_000_000
    assert page.histogram("submit_to_accept_ns").count == 1
    page.close()


def test_an_upstream_that_was_there_first_is_served_without_being_waited_for(desk: Desk) -> None:
    desk.upstream("u")
    assert 0 < desk.intake.next_due_ns() <= monotonic_ns()


def test_a_report_is_only_for_its_upstream_and_keeps_its_text(desk: Desk) -> None:
    a, b = desk.upstream("a"), desk.upstream("b")
    for number in range(6):
        (a if number % 2 else b).submit(new(number))
    desk.settle()
    ours, theirs = heard(a), heard(b)
    assert {report.client_order_id for report in ours} == {"A-1", "A-3", "A-5"}
    assert {report.client_order_id for report in theirs} == {"A-0", "A-2", "A-4"}
    texts = [report.text for report in ours + theirs if report.flags & ReportFlag.HAS_TEXT]
    assert texts
    assert all(text.startswith("text ") for text in texts)


def test_before_trading_hours_are_known_requests_wait_in_their_rings(make_desk: MakeDesk) -> None:
    desk = make_desk(session=None)
    oms = desk.upstream("u")
    oms.submit(new(1))
    desk.step(3)
    assert heard(oms) == []
    assert not desk.intake.ready()
    desk.session.publish(ALWAYS, 1)
    desk.settle()
    assert brief(heard(oms)) == [("A-1", "PENDING_NEW"), ("A-1", "NEW")]


def test_outside_trading_hours_orders_are_refused_with_the_next_opening(make_desk: MakeDesk) -> None:
    desk = make_desk(session=CLOSED)
    oms = desk.upstream("u")
    oms.submit(new(1))
    desk.settle()
    (report,) = heard(oms)
    assert (report.reason, report.limit) == (Reason.OUT_OF_HOURS, 777)


def test_room_in_the_queue_comes_back_when_orders_leave_it(make_desk: MakeDesk) -> None:
    desk = make_desk(capacity=2)
    desk.sender.sends = False
    oms = desk.upstream("u")
    oms.submit_many([new(1), new(2), new(3)])
    desk.settle()
    assert [(r.client_order_id, r.reason) for r in heard(oms)] == [("A-1", 0), ("A-2", 0), ("A-3", Reason.QUEUE_FULL)]
    desk.sender.sends = True
    record = desk.sender.seen[0]
    desk.sender.put(desk.sender._answer(record, desk.sender.journal.sequence))
    desk.settle()
    oms.submit_many([new(3), new(4)])
    desk.settle()
    assert [(r.client_order_id, r.reason) for r in heard(oms) if r.exec_type == ExecType.REJECTED] == [
        ("A-4", Reason.QUEUE_FULL)
    ]
    desk.kill()
    assert len(desk.intake.core.waiting) == 1  # the sender has sent waits


def test_what_the_ring_did_not_carry_comes_from_the_journal(desk: Desk) -> None:
    oms = desk.upstream("u")
    desk.sender.hints = False
    oms.submit_many(map(new, range(10)))
    desk.settle()
    assert len(heard(oms)) == 20
    desk.sender.hints = True
    oms.submit_many(map(new, range(10, 20)))
    desk.settle()
    assert [r.client_order_id for r in heard(oms) if r.exec_type == ExecType.NEW] == [f"A-{n}" for n in range(10, 20)]
    assert desk.intake.feed.gaps > 0


def test_an_upstream_that_never_reads_is_parked_alone_and_told_everything_later(desk: Desk) -> None:
    slow, quick = desk.upstream("slow"), desk.upstream("quick")
    sent = 0
    for round_ in range(40):
        try:
            sent += slow.submit_many([new(f"s-{round_}-{n}") for n in range(20)])
        except RingFull:
            pass  # its requests are not taken any more
        quick.submit_many([new(f"q-{round_}-{n}") for n in range(20)])
        desk.step(3)
        assert len(heard(quick)) == 40
    desk.intake._tick_ns = 0  # the page is brought up to date in a tick
    desk.step()
    assert desk.intake.page["lagging"] == 1
    told: list[Report] = []
    for _ in range(200):
        desk.intake._tick_ns = 0
        desk.step()
        told += heard(slow)
    assert desk.intake.page["lagging"] == 0
    accepted = [r.client_order_id for r in told if r.exec_type == ExecType.PENDING_NEW]
    answered = [r.client_order_id for r in told if r.exec_type == ExecType.NEW]
    assert len(accepted) == sent
    assert accepted == answered
    assert len({(r.flags & ReportFlag.FROM_SENDER, r.sequence) for r in told}) == len(told)


def test_what_comes_while_an_upstream_lags_waits_behind_what_it_has_missed(make_desk: MakeDesk) -> None:
    desk = make_desk(upstream_report_bytes=4 << 10)
    oms, told = desk.upstream("u"), []
    desk.settle()

    def put(count: int) -> None:
        first = desk.sender.journal.sequence
        desk.sender.put([
            report(
                key=key_of("", f"A-{n}"), exec_type=ExecType.NEW, ord_status=OrdStatus.NEW, upstream=1, sequence=n,
                flags=int(ReportFlag.FROM_SENDER),
            )
            for n in range(first, first + count)
        ])  # fmt: skip

    put(40)
    desk.intake.work()
    told += heard(oms)
    put(2)
    desk.intake.work()
    for _ in range(20):
        told += heard(oms)
        desk.settle()
    assert [r.sequence for r in told] == list(range(1, 43))


def test_one_upstream_that_floods_leaves_the_others_their_share(make_desk: MakeDesk) -> None:
    desk = make_desk(upstream_request_bytes=1 << 20, upstream_report_bytes=4 << 20)
    flood, small = desk.upstream("flood"), desk.upstream("small")
    desk.step()
    flood.submit_many(new(f"f-{n}") for n in range(5000))
    small.submit(new("small"))
    desk.step(2)  # a frame as large as a cycle's share is a cycle of its own
    assert [r.client_order_id for r in heard(small) if r.exec_type == ExecType.PENDING_NEW] == ["A-small"]
    desk.settle()
    assert len([r for r in heard(flood) if r.exec_type == ExecType.NEW]) == 5000


def test_an_upstream_that_scribbles_over_its_ring_is_parked_and_the_others_go_on(desk: Desk) -> None:
    bad, good = desk.upstream("bad"), desk.upstream("good")
    bad.submit(new("before"))
    desk.settle()
    bad._client.requests._words[8] = 12345  # its tail
    good.submit(new("after"))
    desk.settle()
    assert brief(heard(good)) == [("A-after", "PENDING_NEW"), ("A-after", "NEW")]
    assert desk.intake.page["parked"] == 1
    desk.kill()
    good.submit(new("later"))
    desk.settle()
    assert brief(heard(good)) == [("A-later", "PENDING_NEW"), ("A-later", "NEW")]
    assert desk.intake.page["parked"] == 1


def test_an_upstream_that_writes_garbage_is_answered_and_goes_on(desk: Desk) -> None:
    oms = desk.upstream("u")
    for data in (b"garbage", bytes(500), b"\xff" * 192):
        oms._client.requests.put(data)
    oms.submit(new(1))
    desk.settle()
    found = heard(oms)
    assert [Reason(r.reason).name for r in found if r.exec_type == ExecType.REJECTED] == [
        "MALFORMED", "VERSION_MISMATCH", "VERSION_MISMATCH", "MALFORMED", "VERSION_MISMATCH",
    ]  # fmt: skip
    assert ("A-1", "NEW") in brief(found)


def test_a_frame_above_the_limit_is_refused_as_one(make_desk: MakeDesk) -> None:
    desk = make_desk(upstream_request_bytes=1 << 20)
    oms = desk.upstream("u")
    oms._client.requests.put(bytes(683 * 192))
    oms.submit(new(1))
    desk.settle()
    found = heard(oms)
    assert (found[0].reason, found[0].value, found[0].limit) == (Reason.TOO_LARGE, 683 * 192, 682 * 192)
    assert ("A-1", "NEW") in brief(found)


def test_a_file_that_is_no_upstream_is_reported_and_left_alone(desk: Desk) -> None:
    oms = desk.upstream("u")
    desk.settle()
    (desk.runtime / "upstreams" / "odd.up").write_bytes(b"nothing of ours" * 1000)
    (desk.runtime / "upstreams" / "two words.up").write_bytes(b"")
    oms.submit(new(1))
    desk.settle()
    assert ("A-1", "NEW") in brief(heard(oms))
    assert desk.intake.page["parked"] == 2


def test_more_upstreams_than_configured_are_not_served(make_desk: MakeDesk) -> None:
    desk = make_desk(upstreams_max=1)
    desk.upstream("a")
    desk.settle()
    desk.upstream("b").submit(new(1))
    desk.settle()
    assert heard(desk.upstream("b")) == []
    assert (desk.intake.page["upstreams"], desk.intake.page["parked"]) == (1, 1)
    (desk.runtime / "upstreams" / "a.up").unlink()
    desk.settle()
    assert brief(heard(desk.upstream("b"))) == [("A-1", "PENDING_NEW"), ("A-1", "NEW")]


def test_a_full_disk_refuses_by_name_and_when_there_is_space_again_it_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    oms = desk.upstream("u")
    oms.submit(new(1))
    desk.settle()
    assert len(heard(oms)) == 2

    def full(*_: object) -> bytes:
        raise JournalFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "append", full)
        oms.submit_many([new(2), CancelOrder(client_order_id="C", orig_client_order_id="A-1")])
        desk.intake.work()
        oms.submit(new(3))
        desk.intake.work()
    found = heard(oms)
    assert [(r.client_order_id, r.reason, r.sequence) for r in found] == [
        (name, Reason.DISK_FULL, 0) for name in ("A-2", "C", "A-3")
    ]
    desk.intake._full_until_ns = 0
    oms.submit(new(2))
    desk.settle()
    assert brief(heard(oms)) == [("A-2", "PENDING_NEW"), ("A-2", "NEW")]
    desk.kill()
    desk.settle()
    assert heard(oms) == []


def test_another_error_of_the_journal_ends_the_process(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise OSError(5, "Input/output error")

    desk.upstream("u").submit(new(1))
    desk.intake.view.read()
    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "sync", broken)
        with pytest.raises(OSError, match="Input/output"):
            desk.intake.work()
    assert heard(desk.upstream("u")) == []


def test_stats_answer_with_the_counters(desk: Desk) -> None:
    from oms_actors.actors.commands import SessionChanged, Stats

    counters = desk.intake.command(Stats())
    assert isinstance(counters, dict)
    assert counters["requests"] == 0
    assert desk.intake.command(SessionChanged()) is None


def test_a_reload_counts_what_was_open_before_there_were_limits(desk: Desk) -> None:
    oms = desk.upstream("u")
    desk.sender.sends = False
    for number in (1, 2):
        oms.submit(new(number))
    desk.settle()
    heard(oms)
    risk = msgspec.structs.replace(desk.resolved.config.risk, max_open_orders=3)
    config = msgspec.structs.replace(desk.resolved.config, risk=risk)
    instance.write_desk(msgspec.structs.replace(desk.resolved, config=config))
    assert desk.intake.command(Reload("by a test")) is True
    for number in (3, 4):
        oms.submit(new(number))
    desk.settle()
    third, fourth = heard(oms)
    assert brief([third]) == [("A-3", "PENDING_NEW")]
    assert (fourth.reason, fourth.value, fourth.limit) == (Reason.MAX_OPEN_ORDERS, 4, 3)
