"""Where an instance lives: names and paths only. One place that knows them all.

    /dev/shm/oms-<uid>/<instance>/     mode 0700, gone after an orderly stop
        desk.json                      the checked configuration (mode 0600)
        supervisor.json                what the supervisor says of itself and its children
        <role>.lock .vitals .bell .mail .page
        intake-sender.ring  sender-intake.ring
        session.page                   trading hours as the scheduler publishes them
        upstreams/<name>.up            one duplex segment per upstream
        venue/<session>.up             the same, between sender and simulated venue

    <data_dir>/<instance>/             what survives
        desk.id  journal/  oms.sqlite  crash/  logs/  kill.json  kill.log
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from oms_actors.config import Resolved
from oms_actors.errors import DeskDown, FieldError

DEFAULT_INSTANCE = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}")

INTAKE_SENDER, SENDER_INTAKE = "intake-sender.ring", "sender-intake.ring"
SESSION_PAGE = "session.page"
PARKED = "parked.json"
UPSTREAMS, VENUE = "upstreams", "venue"
DESK_FILE = "desk.json"


def runtime_base() -> Path:
    """Where the instances of this user run: OMS_RUNTIME_DIR, else /dev/shm/oms-<uid>."""
    return Path(os.environ.get("OMS_RUNTIME_DIR") or f"/dev/shm/oms-{os.getuid()}")


def check_name(field: str, name: str) -> str:
    """An instance's or upstream's name, which becomes a file name; FieldError."""
    if not _NAME.fullmatch(name):
        raise FieldError(field, name, "must be 1 to 48 letters, digits, '_', '.', '-', the first a letter or digit")
    return name


def runtime_dir(instance: str) -> Path:
    """The runtime directory of an instance (which may not exist)."""
    return runtime_base() / check_name("instance", instance)


def upstream_path(runtime: Path, name: str) -> Path:
    """The segment of an upstream."""
    return runtime / UPSTREAMS / f"{check_name('upstream', name)}.up"


def write_desk(resolved: Resolved) -> None:
    """Publishes `desk.json`, complete or not at all."""
    path = Path(resolved.runtime_dir) / DESK_FILE
    temporary = path.with_suffix(".new")
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(msgspec.json.encode(resolved))
    temporary.replace(path)


def read_desk(runtime: Path) -> Resolved:
    """The desk that runs (or ran) there; DeskDown if none."""
    try:
        return msgspec.json.decode((runtime / DESK_FILE).read_bytes(), type=Resolved)
    except FileNotFoundError:
        raise DeskDown(f"no desk runs as {runtime.name!r}: start it: `oms run --instance {runtime.name}`") from None
