"""Collecting what the checker looks at from a world whose run is over."""

from __future__ import annotations

import sqlite3

from simulation.checker import Call, Evidence, Limit, SeenBy
from simulation.clock import MS
from simulation.world import World


def evidence_of(world: World) -> Evidence:
    """Everything that is left."""
    scenario, venue = world.scenario, world.venue
    throttle, habits = scenario.config.throttle, scenario.habits
    requests, sends, reports, cum = _rows(world)
    return Evidence(
        journals={name: bytes(data.cache) for name, data in (world.disk.files | world.disk.removed).items()},
        upstreams=[
            SeenBy(
                client.name, {key: sum(s.times for s in several) for key, several in client.submissions.items()},
                client.seen, world.processes[client.name].lives,
            )
            for client in world.clients
        ],
        calls=[Call(c.begin_ns, c.end_ns, c.request, c.wall_seen, c.looked_ns, c.logged_on) for c in venue.calls],
        arrivals=[(arrival.request, arrival.effect) for arrival in venue.arrivals],
        fills={key: order.fills for key, order in venue.orders.items()},
        logons=venue.logons, requests=requests, sends=sends, reports=reports, cum=cum,
        limits=[
            Limit("desk", b"", throttle.rate, throttle.per_ms * MS),
            *(Limit(each.scope, each.name.encode(), each.rate, each.per_ms * MS) for each in throttle.limits),
        ],
        deduplicates=habits.deduplicates,
        lossless=habits.replays or habits.resumes, truncated=bool(world.power_cuts) and not scenario.power,
        kills=world.operator.kills, sessions=scenario.sessions(), stepped=bool(world.stepped_ns),
    )  # fmt: skip


def _rows(world: World) -> tuple[dict[int, str], dict[int, int], set[int], dict[int, int]]:
    database = sqlite3.connect(world.data / "oms.sqlite")
    try:
        requests = dict(database.execute("SELECT sequence, client_order_id FROM requests").fetchall())
        sends = dict(database.execute("SELECT sequence, order_number FROM sends").fetchall())
        reports = database.execute("SELECT sequence FROM reports UNION ALL SELECT sequence FROM executions").fetchall()
        assert len({row[0] for row in reports}) == len(reports)
        cum = dict(database.execute("SELECT order_number, cum_quantity FROM orders").fetchall())
        return requests, sends, {row[0] for row in reports}, cum
    finally:
        database.close()
