"""Counting answers: which request has been answered how."""

from __future__ import annotations

from itertools import islice

from oms_actors.cli.answers import Answers
from oms_actors.errors import Reason
from oms_actors.flow import flow
from oms_actors.messages import ExecType, Kind, OrdStatus, ReportFlag
from oms_actors.record import KEY, REPORT, encode

FINAL, FROM_SENDER = ReportFlag.FINAL, ReportFlag.FROM_SENDER
REQUESTS = [encode(request) for request in islice(flow(), 6)]


def report(request: bytes, exec_type: ExecType, flags: int, reason: int = 0) -> bytes:
    key = request[KEY]
    return REPORT.pack(Kind.REPORT, 1, 0, exec_type, OrdStatus.NONE, flags, request[0], 0, 1, 0, 0, 0, reason, 0,
                       *([0] * 8), key[:16], key[16:], b"", b"", b"", 0, 0, 0, 0)  # fmt: skip


def accepted(request: bytes) -> bytes:
    return report(request, ExecType.PENDING_NEW, 0)


def refused(request: bytes, reason: Reason) -> bytes:
    return report(request, ExecType.REJECTED, FINAL, reason)


def test_the_first_answer_is_intakes() -> None:
    answers = Answers(until_done=False)
    answers.expect(b"".join(REQUESTS))
    answers.take([accepted(REQUESTS[0]) + refused(REQUESTS[1], Reason.OUT_OF_HOURS)])
    assert (answers.submitted, answers.awaited, answers.missing, answers.rejected) == (6, 2, 4, 1)
    assert answers.rejects_by_reason() == {"OUT_OF_HOURS": 1}
    assert answers.admitted == {REQUESTS[0][KEY]}


def test_until_done_the_final_answer_counts_and_decides() -> None:
    answers = Answers(until_done=True)
    first, second = REQUESTS[:2]
    answers.expect(first + second)
    answers.take([accepted(first), accepted(second)])
    assert answers.missing == 2
    answers.take([report(first, ExecType.NEW, FROM_SENDER), report(first, ExecType.TRADE, FROM_SENDER | FINAL)])
    answers.take([report(second, ExecType.CANCEL_REJECT, FROM_SENDER | FINAL, Reason.TOO_LATE)])
    assert (answers.missing, answers.rejected, len(answers.admitted)) == (0, 1, 2)
    assert answers.rejects_by_reason() == {"TOO_LATE": 1}
    assert answers.final_by_outcome() == {"TRADE": 1, "CANCEL_REJECT": 1}


def test_two_requests_of_one_id_are_two_answers() -> None:
    for until_done in (False, True):
        answers = Answers(until_done)
        answers.expect(REQUESTS[0] * 2)
        answers.take([accepted(REQUESTS[0]), refused(REQUESTS[0], Reason.DUPLICATE_CLIENT_ORDER_ID)])
        answers.take([report(REQUESTS[0], ExecType.TRADE, FROM_SENDER | FINAL)])
        assert (answers.missing, answers.rejected) == (0, 1)


def test_reports_of_others_and_repeated_ones_change_nothing() -> None:
    answers = Answers(until_done=False)
    answers.expect(REQUESTS[0])
    answers.take([accepted(REQUESTS[1]), accepted(REQUESTS[0]), accepted(REQUESTS[0])])
    assert (answers.first, answers.missing) == (1, 0)


def test_what_was_not_submitted_after_all_is_not_waited_for() -> None:
    answers = Answers(until_done=False)
    answers.expect(REQUESTS[0] + REQUESTS[1])
    answers.forget(REQUESTS[1])
    answers.take([accepted(REQUESTS[0])])
    assert (answers.submitted, answers.missing) == (1, 0)
