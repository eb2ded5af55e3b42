"""Pykka refs to actors in other processes: `tell` and `ask` through their mailboxes.

A process that asks has one reply box of its own. Nobody reads it in the background: whoever waits for an answer
reads it and puts aside what belongs to others. A ref may be shared by threads.
"""

from __future__ import annotations

import atexit
import itertools
import os
import re
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pykka

from ipc import lock
from ipc.errors import NotThere
from ipc.mailbox import Mailbox, MailboxWriter
from ipc.proc import is_same_process, process_start_ticks
from ipc.wait import Bell
from oms_actors.actors.commands import Mail, Reply, Stop, decode_reply, encode

ASK_TIMEOUT_S = 5.0
_PUT_ASIDE_MAX = 1024
_REPLY_BOX = re.compile(r"reply-(\d+)-(\d+)\.")

_thread = threading.local()


def this_is_an_actor() -> None:
    """From now on a blocking `ask` on this thread is an error: two actors that wait for each other wait for ever."""
    _thread.is_actor = True


class AskFailed(Exception):
    """The actor could not answer; the text says why."""


class _ReplyBox:
    """This process's mailbox for answers, made at the first question, removed at the end."""

    def __init__(self, runtime_dir: Path) -> None:
        _remove_orphans(runtime_dir)
        self.name = f"reply-{os.getpid()}-{process_start_ticks(os.getpid())}.mail"
        path = runtime_dir / self.name
        self._bell_path = path.with_suffix(".bell")
        self._bell = Bell.create(str(self._bell_path))
        self._mailbox = Mailbox.create(str(path), self._bell)
        self._lock = threading.Lock()
        self._put_aside: dict[int, Reply] = {}
        atexit.register(self.close)

    def wait(self, correlation: int, deadline: float) -> Reply | None:
        """The answer, or None once `deadline` (time.monotonic) has passed."""
        while True:
            with self._lock:
                self._read()
                reply = self._put_aside.pop(correlation, None)
                left = deadline - time.monotonic()
                if reply is not None or left <= 0:
                    return reply
                self._bell.wait(self._mailbox.ready, min(left, 0.05))  # then another thread has its turn

    def _read(self) -> None:
        if not self._mailbox.ready():
            return
        received = self._mailbox.get_many()
        for data in received:
            reply = decode_reply(data)
            self._put_aside[reply.correlation] = reply
        self._mailbox.commit(len(received))
        while len(self._put_aside) > _PUT_ASIDE_MAX:  # answers to questions that nobody waits for any more
            del self._put_aside[next(iter(self._put_aside))]

    def is_there(self) -> bool:
        """Can answers still come? The desk that it was made in may be gone, files and all."""
        return self._mailbox.is_there()

    def close(self) -> None:
        self._mailbox.close()
        self._bell_path.unlink(missing_ok=True)


def _remove_orphans(runtime_dir: Path) -> None:
    """The reply boxes of askers that were killed."""
    for path in runtime_dir.glob("reply-*"):
        match = _REPLY_BOX.match(path.name)
        if match and not is_same_process(int(match[1]), int(match[2])):
            path.unlink(missing_ok=True)


_boxes: dict[tuple[int, Path], _ReplyBox] = {}
_boxes_lock = threading.Lock()
_correlations = itertools.count(time.monotonic_ns())


def _reply_box(runtime_dir: Path) -> _ReplyBox:
    key = (os.getpid(), runtime_dir)  # a forked child needs one of its own
    with _boxes_lock:
        box = _boxes.get(key)
        if box is None or not box.is_there():
            box = _boxes[key] = _ReplyBox(runtime_dir)
        return box


def close_reply_boxes() -> None:
    """Remove this process's reply boxes: for a process that ends by os._exit."""
    for (pid, _), box in _boxes.items():
        if pid == os.getpid():
            box.close()


class RemoteRef(pykka.ActorRef[Any]):
    """`tell` and `ask` of a role in another process, which need not be alive yet: its mailbox keeps what it is told.

    Both raise pykka.ActorDeadError if the role never started, ipc.MailboxFull, and ipc.MailboxBusy after 50 ms.
    """

    def __init__(self, runtime_dir: Path, role: str) -> None:
        self.role = role
        self.actor_class = pykka.ThreadingActor
        self.actor_urn = f"urn:oms:{runtime_dir.name}:{role}"
        self.actor_stopped = threading.Event()
        self._runtime_dir = runtime_dir
        self._writer: MailboxWriter | None = None

    def __str__(self) -> str:
        return f"{self.role} ({self.actor_urn})"

    def is_alive(self) -> bool:
        """Whether a process holds the role's lock."""
        return lock.holder(str(self._runtime_dir / f"{self.role}.lock")) is not None

    def tell(self, message: Any) -> None:
        self._put(Mail(message))

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """The reply as msgspec builtins, or a future of it. Raises pykka.Timeout after `timeout` seconds (5 if
        None), AskFailed with the actor's reason."""
        if block and getattr(_thread, "is_actor", False):
            raise RuntimeError(f"an actor asks {self.role} and blocks: two that do so wait for ever; use block=False")
        self._attached()
        timeout_s = ASK_TIMEOUT_S if timeout is None else timeout
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        correlation = next(_correlations)
        box = _reply_box(self._runtime_dir)
        future: pykka.Future[Any] = pykka.ThreadingFuture()

        def answer(timeout: float | None) -> Any:
            latest = deadline_ns / 1e9 if timeout is None else min(deadline_ns / 1e9, time.monotonic() + timeout)
            reply = box.wait(correlation, latest)
            if reply is None:
                raise pykka.Timeout(f"{self.role} did not answer {type(message).__name__} within {timeout_s} s")
            if reply.error:
                raise AskFailed(f"{self.role}: {reply.error}")
            return reply.value

        self._put(Mail(message, box.name, correlation, deadline_ns))
        future.set_get_hook(answer)
        return future.get() if block else future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """End the actor's process in order; under a supervisor, ask that instead."""
        return self.ask(Stop(), block=block, timeout=timeout)

    def proxy(self) -> NoReturn:
        raise NotImplementedError("attributes of another process's actor cannot be reached: use tell and ask")

    def _put(self, mail: Mail) -> None:
        try:
            self._attached().put(encode(mail))
        except NotThere as error:
            raise pykka.ActorDeadError(f"{self} not found: {error}") from error

    def _attached(self) -> MailboxWriter:
        if self._writer is None:
            try:
                self._writer = Mailbox.attach(str(self._runtime_dir / f"{self.role}.mail"))
            except NotThere as error:
                raise pykka.ActorDeadError(f"{self} not found: {error}") from error
        return self._writer


def remote_ref(runtime_dir: str | os.PathLike[str], role: str) -> RemoteRef:
    """A ref to the actor `role` of the instance whose runtime directory this is."""
    return RemoteRef(Path(runtime_dir), role)
