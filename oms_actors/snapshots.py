"""The cold process that writes snapshots: `python -m oms_actors.snapshots RUNTIME_DIR ROLE`, started by persistence.

It folds the role's journal (and what it refers to) from the last snapshot on, through the same core as the role, writes
the next one and ends. It runs at the lowest priority, and nothing waits for it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ipc.proc import set_pdeathsig
from oms_actors import instance
from oms_actors.config import Resolved
from oms_actors.core.exposure import Exposure
from oms_actors.core.intake import Intake
from oms_actors.core.risk import Risk
from oms_actors.core.sender import Sender
from oms_actors.edges import journals, snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.intake_fold import INTAKE, IntakeFold
from oms_actors.edges.limits import limits_of
from oms_actors.edges.sender_fold import SenderFold
from oms_actors.edges.sending import scopes_of, settings_of, throttle_of


def write(runtime: Path, role: str) -> Path | None:
    """Writes the next snapshot of "intake" or "sender"; None if nothing is new. Raises JournalError, OSError."""
    resolved = instance.read_desk(runtime)
    fold = _intake(resolved) if role == INTAKE else _sender(resolved)
    folder = journals.folder(resolved)
    fold.load(folder)
    if not fold.run():
        return None
    return snapshots.write(folder, role, fold.position, fold.body())


def _sender(resolved: Resolved) -> SenderFold:
    config = resolved.config
    # The limits decide how many calls are remembered; whether the exchange deduplicates matters to nothing here.
    core = Sender(settings_of(config, False), throttle_of(config), Risk(limits_of(config.risk)), scopes_of(config))
    return SenderFold(core, OsDisk(journals.folder(resolved)), journals.boot_word())


def _intake(resolved: Resolved) -> IntakeFold:
    core = Intake(exposure=Exposure(Risk(limits_of(resolved.config.risk))))
    return IntakeFold(core, OsDisk(journals.folder(resolved)), lambda role: journals.open_reader(resolved, role))


def main() -> None:
    """Entry of the process."""
    parent = os.environ.get("SNAPSHOT_PARENT")
    if parent:
        set_pdeathsig(signal.SIGKILL, int(parent))
    os.nice(19)
    write(Path(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    main()
