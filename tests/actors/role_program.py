"""A role for the shell's tests; argv[1] says where it fails and argv[2] how."""

import os
import sys
import threading
from typing import Any

from oms_actors.actors.commands import Reload, SessionChanged, Stats
from oms_actors.actors.shell import Context, main

WHERE, HOW = sys.argv[1], sys.argv[2]


def fail_if(where: str) -> None:
    if where != WHERE:
        return
    if HOW == "exit":
        raise SystemExit(7)
    if HOW == "exit0":
        raise SystemExit(0)
    raise ValueError(f"broken in {where}, password=hunter2")


class Faulty:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.works = 0
        self.told: list[str] = []
        self.due_ns = 0
        fail_if("init")

    def start(self) -> None:
        self.context.log.info("about to start")
        if "PRINTED" in os.environ:
            print("printed at start:", os.environ["PRINTED"])
        fail_if("start")

    def ready(self) -> bool:
        fail_if("ready")
        return WHERE == "work" and not self.works

    def work(self) -> bool:
        fail_if("work")
        self.works += 1
        return False

    def next_due_ns(self) -> int:
        fail_if("next_due_ns")
        return self.due_ns

    def command(self, message: Any) -> object:
        self.told.append(type(message).__name__)
        if isinstance(message, SessionChanged):
            fail_if("tell")
        if isinstance(message, Stats):
            fail_if("ask")
        if isinstance(message, Reload) and WHERE == "thread":
            threading.Thread(target=fail_if, args=("thread",), name="adapter").start()
        if isinstance(message, Reload) and WHERE == "unencodable":
            return object()
        return {"told": self.told, "works": self.works, "pid": os.getpid()}

    def stop(self) -> None:
        fail_if("stop")
        print("stopped in order", flush=True)


main("faulty", Faulty)
