"""Start to ready, stop to gone: a desk as `oms run` starts it, from exec to "up" and logged on, and its end.

    python -m bench.desk_start_stop [--runs 3] [--json]

"start" runs from the exec of the desk's own process (interpreter start included) until the supervisor says that every
child is ready; "logged on" until the sender is logged on to the venue as well. "stop" runs from SIGTERM until the
process and all that it had in shared memory is gone.
"""

from __future__ import annotations

import time

from bench.desk import Desk, config_of
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from oms_actors.cli.temporary import TemporaryDesk

LOOK_S = 0.001


def bench(options: Options) -> Finding:
    """Several lives, each on its own instance."""
    finding = Finding("start_stop", "start to ready, stop to gone")
    finding.config = {"children": "venue, persistence, sender, intake, scheduler", "journals": "empty"}
    for _ in range(options.repeats()):
        life(finding)
    finding.checked = ["every child ready, logged on; afterwards nothing is left in shared memory"]
    return finding


def life(finding: Finding) -> None:
    """One start and one stop."""
    temporary = TemporaryDesk("bench", config_of())
    try:
        began = time.perf_counter()
        temporary._start()
        finding.add("start to ready", "s", time.perf_counter() - began, "lower")
        desk = Desk(temporary)
        while desk.counter("sender", "logons") == 0:
            time.sleep(LOOK_S)
        finding.add("start to logged on", "s", time.perf_counter() - began, "lower")
        process = temporary._process
        assert process is not None
        began = time.perf_counter()
        process.terminate()
        while process.poll() is None:
            time.sleep(LOOK_S)
        finding.add("stop to gone", "s", time.perf_counter() - began, "lower")
        if process.returncode != 0 or temporary.runtime.exists():
            raise WrongAnswer(f"the desk ended with {process.returncode}, its runtime directory "
                              f"{'is still there' if temporary.runtime.exists() else 'is gone'}")  # fmt: skip
    finally:
        temporary.stop()


if __name__ == "__main__":
    main(bench, __doc__)
