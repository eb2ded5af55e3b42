"""The cold process that writes snapshots: `python -m oms_actors.snapshots RUNTIME_DIR`, started by persistence.

It folds the sender's journal from the last snapshot on, through the same core as the sender, writes the next one and
ends. It runs at the lowest priority, and nothing waits for it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ipc.proc import set_pdeathsig
from oms_actors import instance
from oms_actors.core.pending import SenderSettings
from oms_actors.core.risk import Risk
from oms_actors.core.sender import Sender
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.edges import journals, snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.limits import limits_of
from oms_actors.edges.sender_fold import SENDER, SenderFold


def write(runtime: Path) -> Path | None:
    """Writes the sender's next snapshot; None if nothing is new. Raises JournalError, OSError."""
    resolved = instance.read_desk(runtime)
    config, folder = resolved.config, journals.folder(resolved)
    throttle = Throttle(ThrottleLimit(rate=config.throttle.rate))  # as many calls remembered as the sender needs
    core = Sender(SenderSettings(), throttle, Risk(limits_of(config.risk)))
    fold = SenderFold(core, OsDisk(folder), journals.boot_word())
    fold.load(folder)
    if not fold.run():
        return None
    return snapshots.write(folder, SENDER, fold.position, fold.body())


def main() -> None:
    """Entry of the process."""
    parent = os.environ.get("SNAPSHOT_PARENT")
    if parent:
        set_pdeathsig(signal.SIGKILL, int(parent))
    os.nice(19)
    write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
