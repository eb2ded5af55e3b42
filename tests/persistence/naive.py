"""The database as it must be, worked out the slow way: one record after the other, with nothing of `core/fold.py`."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from oms_actors.edges.disk import Disk
from oms_actors.edges.journal import frames
from oms_actors.messages import ExecType, Kind, OrdStatus, Outcome, ReportFlag
from oms_actors.record import (
    MATCH,
    RAW,
    REPORT,
    REPORT_NAMES,
    REQUEST,
    REQUEST_NAMES,
    RESULT,
    SESSION,
    UPSTREAM,
    decode_text,
    records,
    text,
)

Tables = dict[str, dict[Any, dict[str, Any]]]
ENDS = (ExecType.REJECTED, ExecType.CANCELED, ExecType.EXPIRED, ExecType.DONE_UNKNOWN)


def tables(disk: Disk) -> Tables:
    """Table → key → column → value; columns that are NULL are left out."""
    found: Tables = defaultdict(lambda: defaultdict(dict))
    for frame in frames(disk, "intake"):
        _intake(found, frame.payload, frame.wall_ns - frame.mono_ns)
    for frame in frames(disk, "sender"):
        _sender(found, frame.payload, frame.sequence, frame.wall_ns)
    return found


def _request(record: bytes) -> dict[str, Any]:
    fields = dict(zip(REQUEST_NAMES, REQUEST.unpack(record), strict=True))
    return {name: text(value) if isinstance(value, bytes) else value for name, value in fields.items()}


def _report(record: bytes) -> dict[str, Any]:
    fields = dict(zip(REPORT_NAMES, REPORT.unpack(record), strict=True))
    return {name: text(value) if isinstance(value, bytes) else value for name, value in fields.items()}


def _pick(source: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: source[name] for name in names}


def _refusal(report: dict[str, Any]) -> dict[str, Any]:
    return _pick(report, "reason", "field", "value") | {"limit_value": report["limit"]}


def _intake(found: Tables, payload: bytes, ahead: int) -> None:
    target: dict[str, Any] = {}
    number = 0
    for record in records(payload):
        kind = record[0]
        if kind == Kind.NEW:
            asked = _request(record)
            target = found["new_orders"][asked["order_number"]]
            target |= _pick(asked, "client_order_id", "account", "symbol", "upstream", "side", "order_type",
                            "time_in_force", "flags", "quantity", "price", "stop_price", "expire_time_ns")  # fmt: skip
            target["receive_time_ns"] = asked["receive_time_ns"] + ahead
            number = asked["order_number"]
        elif kind in (Kind.MODIFY, Kind.CANCEL):
            asked = _request(record)
            target, number = found["changes"][asked["sequence"]], 0
            target |= _pick(asked, "kind", "client_order_id", "orig_client_order_id", "account", "symbol", "upstream",
                            "side", "flags", "quantity", "price", "stop_price")  # fmt: skip
            target["receive_time_ns"] = asked["receive_time_ns"] + ahead
        elif kind == Kind.RAW:
            _, _, length, upstream, sequence, time_ns, _, data = RAW.unpack(record)
            target, number = found["raw"]["intake", sequence], 0
            target |= {"upstream": upstream, "time_ns": time_ns, "data": data[:length]}
        elif kind == Kind.REPORT:
            report = _report(record)
            if number:
                refused = report["exec_type"] == ExecType.REJECTED
                found["order_states"][number] = _refusal(report) | {
                    "ord_status": OrdStatus.REJECTED if refused else OrdStatus.NONE, "cum_quantity": 0, "avg_price": 0,
                    "update_time_ns": report["time_ns"],
                }  # fmt: skip
            else:
                target |= _refusal(report)
        elif kind == Kind.UPSTREAM:
            found["upstreams"][UPSTREAM.unpack(record)[3]]["name"] = text(UPSTREAM.unpack(record)[6])


def _sender(found: Tables, payload: bytes, sequence: int, wall_ns: int) -> None:
    last: dict[str, Any] = {}
    for record in records(payload):
        kind = record[0]
        if kind == Kind.REPORT:
            last = _report(record)
            _one_report(found, last)
        elif kind == Kind.TEXT:
            _text(found, last, decode_text(record))
        elif kind in (Kind.INTENT_NEW, Kind.INTENT_MODIFY, Kind.INTENT_CANCEL):
            asked = _request(record)
            send = found["sends"][asked["sequence"]]
            send |= {"order_number": asked["order_number"], "kind": kind - 32, "time_ns": wall_ns}
            if kind != Kind.INTENT_NEW:
                send["client_order_id"] = asked["client_order_id"]
                pending = OrdStatus.PENDING_CANCEL if kind == Kind.INTENT_CANCEL else OrdStatus.PENDING_REPLACE
                found["order_states"][asked["order_number"]]["ord_status"] = pending
        elif kind == Kind.RESULT:
            _, _, outcome, _, intent, called, returned = RESULT.unpack(record)
            if outcome != Outcome.SENT:
                found["sends"][intent] |= {"outcome": outcome, "call_duration_ns": returned - called}
        elif kind == Kind.SESSION:
            _, _, event, reason, time_ns, _, opens, closes, date, words = SESSION.unpack(record)
            found["sessions"][sequence] = {
                "event": event, "reason": reason, "time_ns": time_ns, "open_ns": opens, "close_ns": closes,
                "trade_date": date, "text": text(words),
            }  # fmt: skip
        elif kind == Kind.MATCH:
            _, _, _, _, own, time_ns, quantity, price, buy, sell, _, _, symbol = MATCH.unpack(record)
            found["matches"][own] = {
                "time_ns": time_ns, "buy_order_number": buy, "sell_order_number": sell, "symbol": text(symbol),
                "quantity": quantity, "price": price,
            }  # fmt: skip
        elif kind == Kind.CANCEL:
            asked = _request(record)
            found["own_cancels"][asked["sequence"]] = {"time_ns": wall_ns} | _pick(
                asked, "client_order_id", "orig_client_order_id", "account"
            )
        sequence += 1


def _is_foreign(report: dict[str, Any]) -> bool:
    """Says nothing about the order."""
    odd = bool(report["flags"] & (ReportFlag.UNMATCHED | ReportFlag.POSSIBLE_DUPLICATE))
    return odd or not report["ord_status"]


def _one_report(found: Tables, report: dict[str, Any]) -> None:
    number, exec_type = report["order_number"], report["exec_type"]
    foreign = _is_foreign(report)
    if number and not foreign:
        order = found["order_states"][number]
        order |= _pick(report, "ord_status", "cum_quantity", "avg_price") | {"update_time_ns": report["time_ns"]}
        if exec_type == ExecType.REPLACED:
            order["current_client_order_id"] = report["client_order_id"]
            order["current_quantity"], order["current_price"] = report["quantity"], report["price"]
        elif report["reason"] and exec_type in ENDS:
            order |= _refusal(report)
    if exec_type == ExecType.TRADE and not foreign:
        found["executions"][report["sequence"]] = {
            "order_number": number, "exec_id": report["exec_id"], "quantity": report["last_quantity"],
            "price": report["last_price"],
        } | _pick(report, "flags", "latency_ns", "time_ns")  # fmt: skip
        return
    row = _pick(report, "exec_type", "response_type", "flags", "latency_ns", "time_ns", "ord_status")
    if number:
        row["order_number"] = number
    if report["reason"] or report["field"] or report["orig_client_order_id"] or foreign:
        row |= _pick(report, "client_order_id", "orig_client_order_id", "account", "upstream", "exec_id")
        row |= {"kind": report["request_kind"]} | _refusal(report)
        row["quantity"] = report["last_quantity" if foreign or not number else "quantity"]
        row["price"] = report["last_price" if foreign or not number else "price"]
    found["reports"][report["sequence"]] = row


def _text(found: Tables, report: dict[str, Any], words: str) -> None:
    sequence, number = report["sequence"], report["order_number"]
    if sequence in found["executions"]:
        found["executions"][sequence]["text"] = words
    else:
        found["reports"][sequence]["text"] = words
        if report["exec_type"] in ENDS and number and not _is_foreign(report):
            found["order_states"][number]["text"] = words
