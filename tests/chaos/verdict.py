"""What must hold once the dust has settled, by the venue's own record, the database and the upstreams' books."""

from __future__ import annotations

import json
import time
from collections import Counter

from chaos.desk import Desk
from chaos.flow import Flow
from simulation import decode

DATABASE_LAG_S = 10.0


def settle(
    desk: Desk, flows: list[Flow], limit_s: float = 60.0, database_lag_s: float = DATABASE_LAG_S
) -> list[str]:
    """No more new requests; waits until every request has its final answer, and for the database; returns what is
    wrong then."""
    for flow in flows:
        flow.flowing = False

    def settled() -> bool:
        for flow in flows:
            flow.pump()
        return all(flow.is_settled() for flow in flows)

    desk.wait("final answers", settled, limit_s)
    until = time.monotonic() + database_lag_s
    while (found := violations(desk, flows)) and time.monotonic() < until:
        settled()
        time.sleep(0.1)
    return found


def violations(desk: Desk, flows: list[Flow]) -> list[str]:
    """Everything that is wrong now."""
    found: list[str] = []
    names = ("duplicates", "concurrent_calls", "malformed", "fills", "new", "resends")
    venue = {name: desk.counter("venue", name) for name in names}
    never = ("duplicates", "concurrent_calls", "malformed")
    found += [f"the venue counts {venue[name]} {name}" for name in never if venue[name]]
    rows = {own for (own,) in desk.query("SELECT client_order_id FROM requests")}
    orders = Counter(own for (own,) in desk.query("SELECT client_order_id FROM orders WHERE ord_status NOT IN (0, 56)"))
    for flow in flows:
        lost = [name for own in flow.accepted if (name := own.rstrip(b"\0").decode()) not in rows]
        if lost:
            found.append(f"{flow.name}: {len(lost)} accepted requests are not in the database: {lost[:5]}")
        again = [own for own, count in flow.finals.items() if count > flow.submissions[own]]
        if again:
            found.append(f"{flow.name}: more than one final answer to {again[:5]}")
    several = [own for own, count in orders.items() if count > 1]
    if several:
        found.append(f"{len(several)} orders were admitted more than once: {several[:5]}")
    executions, distinct = desk.query("SELECT count(*), count(DISTINCT exec_id) FROM executions")[0]
    if executions != distinct or executions != venue["fills"]:
        found.append(f"{executions} executions in the database ({distinct} different), {venue['fills']} at the venue")
    surely, perhaps = (
        desk.query(f"SELECT count(DISTINCT order_number) FROM sends WHERE kind = 1 AND COALESCE(outcome, 1) IN {which}")
        for which in ("(1)", "(1, 3)")
    )
    if not (surely[0][0] <= venue["new"] and venue["new"] - venue["resends"] <= perhaps[0][0]):
        found.append(f"{surely} to {perhaps} orders were sent; the venue has {venue['new']}, {venue['resends']} again")
    return found


def books(desk: Desk, flows: list[Flow]) -> Counter[str]:
    """The figures of a run: what was accepted, what of it is lost, what the venue had more than once."""
    rows = {own for (own,) in desk.query("SELECT client_order_id FROM requests")}
    accepted = [own.rstrip(b"\0").decode() for flow in flows for own in flow.accepted]
    return Counter({
        "accepted": len(accepted), "lost": sum(own not in rows for own in accepted),
        "at the venue": desk.counter("venue", "requests"), "duplicates": desk.counter("venue", "duplicates"),
        "marked resends": desk.counter("venue", "resends"), "fills": desk.counter("venue", "fills"),
        "rows": sum(desk.query(f"SELECT count(*) FROM {table}")[0][0] for table in ("requests", "sends", "reports")),
    })  # fmt: skip


def crashes(desk: Desk) -> list[str]:
    """Whoever ended itself, and why: nobody had a reason to."""
    reports = [json.loads(path.read_text()) for path in sorted(desk.data.glob("crash/*.json"))]
    return [f"{found['role']} ended itself: {found['reason']}" for found in reports if found["traceback"]]


def over_the_limit(desk: Desk, rate: int, per_ns: int) -> list[str]:
    """Windows in which more than `rate` calls may have arrived, by the instants of the calls in the journal."""
    files = {path.name: path.read_bytes() for path in (desk.data / "journal").glob("sender-*.journal")}
    frames = decode.journal(files, "sender")
    results = [decode.result(data) for frame in frames for data in frame.records if data[0] == decode.RESULT]
    calls = sorted((r.call_ns, r.return_ns) for r in results if r.outcome != decode.NOT_CALLED)
    pairs = zip(calls, calls[rate:], strict=False)
    return [f"{rate + 1} calls in {new[0] - old[1]} ns" for old, new in pairs if new[0] - old[1] < per_ns]
