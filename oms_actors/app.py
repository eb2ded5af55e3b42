"""The desk put together: which processes there are, in which order, over which rings. Read this file first.

    upstreams/<name>.up ──▶ intake ──intake-sender.ring──▶ sender ──▶ adapter (venue/<session>.up ──▶ venue)
    upstreams/<name>.up ◀── intake ◀──sender-intake.ring── sender
    journal/intake, journal/sender ──▶ persistence ──▶ oms.sqlite
    session.page: scheduler ──▶ intake, sender

Consumers start before producers and stop after them. `run` is the whole of `oms run`.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from ipc.errors import NotThere, VersionMismatch
from ipc.ring import create_ring
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.actors import logs
from oms_actors.actors.crash import report_for
from oms_actors.config import Config, Resolved
from supervisor import published
from supervisor.notes import Note, print_note
from supervisor.restart import Exit, ExitKind
from supervisor.spec import ChildSpec, SupervisorSpec
from supervisor.supervisor import EXIT_OK, Supervisor

VENUE_ADAPTER = "oms_actors.edges.venue_link:VenueAdapter"
KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
}
"""For glibc: memory that a frame was built in is kept for the next one. Giving it back each time cost a page fault for
every second order."""
READY_TIMEOUT_S = 120.0
"""Recovery of a long day may take a while; the child beats its heart meanwhile."""


def roles(config: Config) -> tuple[str, ...]:
    """The children in start order."""
    venue = ("venue",) if config.venue.enabled and config.exchange.adapter == VENUE_ADAPTER else ()
    return (*venue, "persistence", "sender", "intake", "scheduler")


def resolve(config: Config, name: str = instance.DEFAULT_INSTANCE, config_dir: str | None = None) -> Resolved:
    """The configuration with its surroundings: directories made absolute, the desk's id read or made."""
    data = Path(config.desk.data_dir).expanduser().absolute() / instance.check_name("instance", name)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Resolved(
        instance=name,
        runtime_dir=str(instance.runtime_dir(name)),
        data_dir=str(data),
        config_dir=str(Path(config_dir).absolute() if config_dir else Path.cwd()),
        desk_id=_desk_id(data / "desk.id"),
        config=config,
    )


def _desk_id(path: Path) -> int:
    """A random number that stays with the data directory: part of every order's UUID."""
    try:
        return int(path.read_text(), 16)
    except FileNotFoundError:
        value = secrets.randbits(63) | 1
        temporary = path.with_suffix(".new")
        temporary.write_text(f"{value:016x}\n")
        temporary.replace(path)
        return value


VENUE_ALONE = ("venue",)
"""The roles of a standalone exchange: desks reach it by `directory` in their `[exchange.options]`."""


def supervisor_spec(resolved: Resolved, children: tuple[str, ...] = ()) -> SupervisorSpec:
    """The children (default: a whole desk's) as data."""
    settings = resolved.config.supervisor
    return SupervisorSpec(
        children=tuple(_child(resolved, role) for role in children or roles(resolved.config)),
        strategy="one_for_one",
        intensity=settings.intensity,
        period_s=settings.period_s,
    )


def _child(resolved: Resolved, role: str) -> ChildSpec:
    config = resolved.config
    data = Path(resolved.data_dir)
    env = {
        "OMS_CRASH_DIR": str(data / "crash"),
        "OMS_LOG_LEVEL": config.desk.log_level,
        **KEEP_MEMORY,
    }
    if config.desk.log_format == "json":
        env["OMS_LOG_DIR"] = str(data / "logs")
    return ChildSpec(
        name=role,
        argv=(sys.executable, "-P", "-m", f"oms_actors.actors.{role}"),
        env=tuple(env.items()),
        ready_timeout_s=READY_TIMEOUT_S,
        shutdown_timeout_s=5 + config.session.logout_timeout_ms / 1000,
        heartbeat_timeout_ms=config.supervisor.heartbeat_timeout_ms,
        call_timeout_ms=config.exchange.call_timeout_ms,
        memory_max_bytes=config.supervisor.memory_max_mb * 2**20 or None,
    )


def prepare(resolved: Resolved, children: tuple[str, ...] = ()) -> None:
    """What must be there before the first child starts: directories, inner rings, doorbells, `desk.json`. The segments
    of a dead desk's upstreams are left for adoption, and so are the links to the venue."""
    runtime = Path(resolved.runtime_dir)
    children = children or roles(resolved.config)
    for folder in (instance.UPSTREAMS, instance.VENUE):
        (runtime / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    if "intake" in children:
        for ring in (instance.INTAKE_SENDER, instance.SENDER_INTAKE):
            (runtime / ring).unlink(missing_ok=True)  # its room may be all that is left
            create_ring(str(runtime / ring), resolved.config.desk.inner_ring_bytes).close()
    for role in children:
        bell = str(runtime / f"{role}.bell")
        try:
            Bell.attach(bell)  # upstreams of a dead desk still have it mapped
        except (NotThere, VersionMismatch):
            Bell.create(bell)
    instance.write_desk(resolved)


def clean_up(resolved: Resolved, code: int) -> None:
    """After an orderly stop nothing stays in shared memory. A desk that gave up leaves everything to the next one, for
    its upstreams live on, with requests and reports in their rings; why it gave up is kept with its crash reports."""
    runtime = Path(resolved.runtime_dir)
    if code != EXIT_OK:
        crash = Path(resolved.data_dir) / "crash"
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        with contextlib.suppress(OSError):  # the exit code matters more
            crash.mkdir(mode=0o700, exist_ok=True)
            shutil.copy(runtime / published.FILE_NAME, crash / f"desk-{when}.json")
        return
    shutil.rmtree(runtime, ignore_errors=True)
    try:
        runtime.parent.rmdir()
    except OSError:
        pass  # another instance runs, or the base is a directory of the user's


def report_exit(resolved: Resolved, name: str, pid: int, code: int, exit: Exit) -> None:
    """A child that was killed (a signal, a hang, its memory) could write no crash report: it gets one."""
    if exit.kind is not ExitKind.NORMAL:
        data = Path(resolved.data_dir)
        report_for(name, pid, code, exit.text, data / "crash", data / "logs")


def run(
    resolved: Resolved, on_event: Callable[[Note], None] = print_note, children: tuple[str, ...] = ()
) -> int:
    """Runs the desk (or only some `children`) until it is asked to stop; returns the supervisor's exit code (0 after an
    orderly stop)."""
    log_dir = Path(resolved.data_dir) / "logs"
    logs.know(logs.secrets_of(msgspec.to_builtins(resolved.config)))
    supervisor = Supervisor(
        supervisor_spec(resolved, children),
        resolved.runtime_dir,
        resolved.instance,
        on_event,
        log_dir,
        prepare=lambda: prepare(resolved, children),
        clean_up=lambda code: clean_up(resolved, code),
        on_exit=lambda name, pid, code, exit: report_exit(resolved, name, pid, code, exit),
    )
    return supervisor.run()
