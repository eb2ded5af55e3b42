"""What a running desk tells of itself, read from outside: files and shared memory only.

Nobody is asked, so it answers also if every actor hangs: the supervisor's file says which processes there should be,
their vital signs when each was last alive, their pages what they counted, and the rings' headers what lies in them.
What is not there (yet) is left out.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ipc.errors import IpcError
from ipc.page import Page
from ipc.vitals import Vitals
from oms_actors import instance as places
from oms_actors.edges import parked
from oms_actors.edges.upstream_files import depths
from oms_actors.errors import DeskDown
from supervisor import published
from supervisor.published import Published

PERCENTILES = {"p50_us": 50.0, "p99_us": 99.0, "p999_us": 99.9}
CRASHES_SHOWN = 5


def snapshot(instance: str) -> dict[str, Any]:
    """Everything there is to know now; DeskDown if no supervisor lives there. Times in ms or ns, as named."""
    runtime = places.runtime_dir(instance)
    found = published.read(runtime)
    if found is None or not found.alive:
        ended = f" (the last one ended: {reason})" if found and (reason := found.document.get("reason")) else ""
        raise DeskDown(f"no desk runs as {instance!r}{ended}: start it: `oms run --instance {instance}`")
    pages = dict(_pages(runtime))
    counters = {role: page.counters() for role, page in pages.items()}
    document = {
        "instance": instance,
        "pid": found.document["pid"],
        "supervisor_stopped": _is_stopped(found.document["pid"]),
        "state": found.state,
        "up_s": round((time.time_ns() - found.document["started_at_ns"]) / 1e9, 1),
        "processes": processes(runtime, found),
        "session": session(runtime, counters.get("sender", {})),
        "throttle": throttle(counters.get("sender", {})) | limits(runtime, counters.get("sender", {})),
        "queue": {
            "depth": counters.get("sender", {}).get("queue_depth", 0),
            "capacity": counters.get("sender", {}).get("queue_capacity", 0),
        },
        "rings": list(rings(runtime)),
        "counters": counters,
        "latencies": {name: values for role, page in pages.items() for name, values in latencies(role, page)},
        "crashes": crashes(runtime),
        "kills": kills(runtime),
        "parked": [msgspec.structs.asdict(each) for each in parked.read(runtime / places.PARKED)],
    }
    document["alarms"] = alarms(document)
    for page in pages.values():
        page.close()
    return document


def processes(runtime: Path, found: Published) -> list[dict[str, Any]]:
    """The supervisor's children, with their vital signs."""
    return [_process(runtime, child) for child in found.document["children"]]


def _process(runtime: Path, child: dict[str, Any]) -> dict[str, Any]:
    exit_ = child["last_exit"]
    row: dict[str, Any] = {
        "name": child["name"],
        "pid": child["pid"],
        "state": child["state"],
        "restarts": child["restarts"],
        "heartbeat_age_ms": None,
        "in_call_ms": None,
        "rss_bytes": _rss_bytes(child["pid"]),
        "last_exit": f"{exit_['kind']}: {exit_['text']}" if exit_ else None,
        "status": "",
    }
    try:
        vitals = Vitals.attach(runtime / f"{child['name']}.vitals")
    except (OSError, IpcError):
        return row
    now_ns = time.monotonic_ns()
    if vitals.pid == child["pid"]:
        row["heartbeat_age_ms"] = max(0, (now_ns - vitals.heartbeat_ns) // 1_000_000) if vitals.heartbeat_ns else None
        since = vitals.in_call_since_ns
        row["in_call_ms"] = max(0, (now_ns - since) // 1_000_000) if since else None
        row["status"] = vitals.status
    vitals.close()
    return row


def _is_stopped(pid: int) -> bool:
    """By a signal such as SIGSTOP."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


def _rss_bytes(pid: int | None) -> int | None:
    """Resident memory, shared pages included; None for no process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pid else None
    except (OSError, IndexError):
        return None


# -- session and throttle ---------------------------------------------------------------------------------------------


def session(runtime: Path, sender: dict[str, int]) -> dict[str, Any]:
    """Trading hours as the scheduler published them, and whether the sender is logged on."""
    from oms_actors.core.hours import FOREVER_NS
    from oms_actors.core.session import Link
    from oms_actors.edges.session_page import SessionView

    view = SessionView(runtime / places.SESSION_PAGE)
    hours, known = view.read(), view.known
    view.close()
    is_open = hours.is_open_at(time.time_ns())
    change_ns = hours.close_ns if is_open else hours.next_open_ns
    link, since = sender.get("link", 0), sender.get("link_since_ns", 0)
    return {
        "state": ("open" if is_open else "closed") if known else "unknown",
        "trade_date": hours.trade_date or None,
        "next_change": iso_utc(change_ns) if 0 < change_ns < FOREVER_NS else None,
        "next_change_ns": change_ns if 0 < change_ns < FOREVER_NS else None,
        "link": Link(link).name.lower() if link in Link._value2member_map_ else str(link),
        "link_for_s": round(max(0, time.monotonic_ns() - since) / 1e9, 1) if since else None,
    }


def iso_utc(ns: int) -> str:
    """UTC ns as ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 1_000_000_000))


def throttle(sender: dict[str, int]) -> dict[str, Any]:
    """Limit, what is used of it, and in how many ms the next token frees (0: now)."""
    next_ns = sender.get("throttle_next_free_ns", 0)
    return {
        "rate": sender.get("throttle_rate", 0),
        "used": sender.get("throttle_used", 0),
        "next_free_ms": max(0, (next_ns - time.monotonic_ns()) / 1e6) if next_ns else 0,
    }


def limits(runtime: Path, sender: dict[str, int]) -> dict[str, Any]:
    """What the configuration says of the throttle, and `limits`, the further ones: scope, rate and window, and of
    whoever has used most of each: `name`, `used`, `next_free_ms` (0: now)."""
    try:
        configured = places.read_desk(runtime).config.throttle
    except (DeskDown, OSError, msgspec.DecodeError):
        return {"limits": []}
    found = []
    for at, limit in enumerate(configured.limits):
        used, free_ns, *words = (
            sender.get(f"limit_{at}_{what}", 0) for what in ("used", "next_free_ns", "name_0", "name_1")
        )
        left_ms = max(0, (free_ns - time.monotonic_ns()) / 1e6) if used >= limit.rate and free_ns else 0
        name = struct.pack("<qq", *words).rstrip(b"\0").decode("ascii", "replace")
        found.append({"scope": limit.scope, "name": name or limit.name, "rate": limit.rate, "per_ms": limit.per_ms,
                      "used": used, "next_free_ms": left_ms})  # fmt: skip
    own = {"per_ms": configured.per_ms, "window": configured.window, "reserve_cancels": configured.reserve_cancels}
    return own | {"limits": found}


# -- pages and rings --------------------------------------------------------------------------------------------------


def _pages(runtime: Path) -> Iterator[tuple[str, Page]]:
    for path in sorted(runtime.glob("*.page")):
        if path.name != places.SESSION_PAGE:
            try:
                yield path.stem, Page.attach(str(path))
            except (IpcError, OSError, ValueError):
                continue  # of another version, or just being replaced


def latencies(role: str, page: Page) -> Iterator[tuple[str, dict[str, float]]]:
    """("role.histogram", percentiles in µs) of those histograms that hold something."""
    for name, histogram in page.histograms().items():
        if count := histogram.count:
            values: dict[str, float] = {key: histogram.percentile(at) / 1000 for key, at in PERCENTILES.items()}
            yield f"{role}.{name.removesuffix('_ns')}", {"count": count, **values, "max_us": histogram.max / 1000}


def rings(runtime: Path) -> Iterator[dict[str, Any]]:
    """Every ring of the instance: name; depth, capacity and what was ever put, in bytes."""
    named = [(path.stem, path) for path in sorted(runtime.glob("*.ring"))]
    for folder in (places.UPSTREAMS, places.VENUE):
        named += [(f"{folder}/{path.stem}", path) for path in sorted((runtime / folder).glob("*.up"))]
    for name, path in named:
        yield from (ring._asdict() for ring in depths(name, path))


# -- what is wrong ----------------------------------------------------------------------------------------------------


def crashes(runtime: Path) -> list[dict[str, Any]]:
    """The newest crash reports, newest first: role, time, exit_code, reason, last log lines."""
    folder = _data_dir(runtime) / "crash"
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.name.rsplit("-", 2)[1:], reverse=True):
        try:
            report = json.loads(path.read_text())
            found.append({key: report[key] for key in ("role", "time", "exit_code", "reason")}
                         | {"log": report["log"][-5:], "file": str(path)})  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written, or not of an actor
        if len(found) == CRASHES_SHOWN:
            break
    return found


def kills(runtime: Path) -> list[dict[str, Any]]:
    """What the kill switch stops: scope, by, since, reason."""
    from oms_actors.edges.kill_switch import FILE, KillState

    try:
        state = msgspec.json.decode((_data_dir(runtime) / FILE).read_bytes(), type=KillState)
    except (OSError, msgspec.DecodeError):
        return []
    return [{"scope": kill.scope, "by": kill.by, "since": iso_utc(kill.time_ns), "reason": kill.reason}
            for kill in state.kills]  # fmt: skip


def _data_dir(runtime: Path) -> Path:
    """The instance's data; a folder that is not there if it is not known (yet)."""
    try:
        return Path(places.read_desk(runtime).data_dir)
    except (DeskDown, OSError, msgspec.DecodeError):
        return runtime / "unknown"


def alarms(document: dict[str, Any]) -> list[str]:
    """What a person should look at, one line each."""
    found = []
    if document["supervisor_stopped"]:
        found.append(f"the supervisor (pid {document['pid']}) is stopped: nobody would restart a process; `kill -CONT`")
    for kill in document["kills"]:
        because = f": {kill['reason']}" if kill["reason"] else ""
        found.append(f"the kill switch stops {kill['scope']} (by {kill['by']} since {kill['since']}){because}")
    for process in document["processes"]:
        if process["state"] != "running":
            found.append(f"{process['name']} is {process['state']}: {process['last_exit'] or 'not up yet'}")
        elif (process["in_call_ms"] or 0) > 1_000:
            found.append(f"{process['name']} is in a call since {process['in_call_ms']} ms")
        elif (process["heartbeat_age_ms"] or 0) > 1_000:
            found.append(f"{process['name']} gave no sign of life for {process['heartbeat_age_ms']} ms")
    found += [f"upstream {each['name']} is not served: {each['reason']}" for each in document["parked"]]
    sender = document["counters"].get("sender", {})
    if sender.get("disk_full"):
        found.append("the disk is full: nothing is sent until there is space for the sender's journal")
    if refused := document["counters"].get("intake", {}).get("disk_full"):
        found.append(f"{refused} requests were refused for want of disk space")
    if sender.get("in_doubt"):
        found.append(f"{sender['in_doubt']} orders in doubt: `oms orders --status IN_DOUBT`, then `oms resolve`")
    if sender.get("stopped_upstreams"):
        found.append(f"{sender['stopped_upstreams']} upstreams are stopped for repeated executions (see `oms upstream "
                     "list`): `oms upstream enable NAME` lets one go on")  # fmt: skip
    if sender.get("late"):
        found.append(f"{sender['late']} fills came after their order was done")
    if sender.get("overfilled"):
        found.append(f"{sender['overfilled']} fills are beyond what was ordered: `oms orders --overfilled` shows whose")
    found += _database_alarms(document["counters"].get("persistence", {}))
    if document["session"]["state"] == "open" and document["session"]["link"] != "on":
        since = document["session"]["link_for_s"]
        stale = f", not logged on for {since:,.0f} s" if since else ""
        found.append(f"the session is open, but the exchange connection is {document['session']['link']}{stale}")
    found += [f"ring {ring['name']} is {100 * ring['depth'] // ring['capacity']} % full"
              for ring in document["rings"] if ring["capacity"] and ring["depth"] > 0.8 * ring["capacity"]]  # fmt: skip
    return found


def _database_alarms(persistence: dict[str, int]) -> list[str]:
    if not persistence.get("alarm"):
        return []
    from oms_actors.actors.persistence import Alarm

    alarm = persistence["alarm"]
    name = Alarm(alarm).name if alarm in Alarm._value2member_map_ else str(alarm)
    behind = sum(persistence.get(f"lag_bytes_{role}", 0) for role in ("intake", "sender"))
    waits = f", {behind:,} bytes of journal wait for the database" if behind else ""
    return [f"persistence: {name}{waits} (orders go on)"]
