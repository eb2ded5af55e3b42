"""A small child for the real-process tests. Imports only `ipc.vitals`, so that it starts fast: `python -S -E child.py`.

    start=ok|die|never|hang     what becomes of the start
    usr1=<what it does when it gets SIGUSR1>: exit:N, fail:N, abort, hang, grow, call:MS (then exit 9)
    term=exit|ignore       what it does when it is asked to stop
"""

from __future__ import annotations

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from ipc.vitals import Vitals

options = {"start": "ok", "usr1": "exit:7", "term": "exit"}
options.update(argument.split("=", 1) for argument in sys.argv[1:])
came: set[int] = set()


def act(vitals: Vitals, what: str, number: str) -> None:
    match what:
        case "exit":
            os._exit(int(number))
        case "fail":
            vitals.failed(int(number), "cannot reach postgresql://oms:hunter2@db/oms")
            os._exit(int(number))
        case "abort":
            os.abort()
        case "hang":
            while True:
                time.sleep(60)
        case "call":
            vitals.enter_call(time.monotonic_ns())
            time.sleep(int(number) / 1000)
            vitals.leave_call()
            os._exit(9)
        case "grow":
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1 << 20)))
                vitals.beat(time.monotonic_ns())
                time.sleep(0.01)


def main() -> None:
    if options["start"] == "die":
        sys.exit(3)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, _: came.add(number))
    vitals = Vitals.create(os.path.join(os.environ["RUNTIME_DIR"], os.environ["CHILD_NAME"] + ".vitals"))
    if options["start"] == "ok":
        vitals.ready(time.monotonic_ns())
    if options["start"] == "hang":
        vitals.beat(time.monotonic_ns())
        time.sleep(600)
    what, _, number = options["usr1"].partition(":")
    while True:
        vitals.beat(time.monotonic_ns())
        if signal.SIGTERM in came and options["term"] == "exit":
            os._exit(0)
        if signal.SIGUSR1 in came:
            act(vitals, what, number)
        time.sleep(0.01)


main()
