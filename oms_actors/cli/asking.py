"""One question to a process of a running desk, through its mailbox."""

from __future__ import annotations

from typing import Any

import pykka

from oms_actors.actors.remote import AskFailed, remote_ref
from oms_actors.cli.output import Failed
from oms_actors.instance import read_desk, runtime_dir

TIMEOUT_S = 5.0


def ask(instance: str, role: str, command: Any, timeout: float = TIMEOUT_S) -> Any:
    """The role's answer. Raises DeskDown, Failed."""
    runtime = runtime_dir(instance)
    read_desk(runtime)
    try:
        return remote_ref(runtime, role).ask(command, timeout=timeout)
    except (pykka.Timeout, pykka.ActorDeadError, AskFailed) as error:
        raise Failed(f"{error}: look at `oms status --instance {instance}`") from None
