"""The one duty cycle of all actors: a process, a pykka actor in it, and a role in that.

The actor's inbox *is* its shared memory: `get()` waits at the process's doorbell for the role's sources (rings,
timers) and for the mailbox, and returns the next envelope: WORK, or one control message. A pass beats the heart
whether or not there was anything to do, at least every 200 ms.

The actor runs on its own thread, the role is constructed on it, and nothing else ever calls the role. The main thread
only waits for signals (SIGTERM and SIGINT stop the actor in order). Whatever fails ends the process, with its own
exit code and a crash report (`actors.crash`); whether it starts again is for the supervisor to decide. If the parent
dies the kernel kills us: a journal makes that safe, and an orphan must never call the exchange.

Traps of pykka that this avoids: teardown empties the inbox, so `empty()` knows only local messages; an exception in
`get()`, in `on_start` or SystemExit anywhere would leave a process without its actor.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import gc
import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final, NoReturn, Protocol

import msgspec
import pykka
from pykka._envelope import Envelope

from ipc import proc
from ipc.errors import AlreadyLocked, IpcError, NotThere, ParentGone, VersionMismatch
from ipc.lock import FileLock
from ipc.mailbox import Mailbox, MailboxWriter
from ipc.vitals import Vitals
from ipc.wait import Bell
from oms_actors.actors import logs, remote
from oms_actors.actors.commands import Mail, Reply, Stop, decode_mail, encode
from oms_actors.actors.crash import Crash, ExitCode
from oms_actors.actors.remote import RemoteRef, remote_ref
from oms_actors.instance import DESK_FILE

__all__ = ["Context", "ExitCode", "RemoteRef", "Role", "main", "remote_ref"]

IDLE_S: Final = 0.2
GC_THRESHOLDS: Final = (10_000, 10, 1_000_000)
"""Only what is young is looked through for cycles: a look through 400,000 orders takes 80 ms, and finds none."""
REPLY_TIMEOUT_S: Final = 0.001
_REPLY_WRITERS_MAX: Final = 16
_ACTOR_ENDED: Final = signal.SIGUSR1
_STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Role(Protocol):
    """What an actor does. All methods run on the actor's thread; whatever they raise ends the process."""

    def start(self) -> None:
        """Attach, recover. If it takes longer than the heartbeat's timeout, call `context.beat()` meanwhile."""

    def ready(self) -> bool:
        """Cheap and without effect: is there input? Asked again just before every sleep."""

    def work(self) -> bool:
        """One cycle: drain, step, effects, flush; True if it did anything."""

    def next_due_ns(self) -> int:
        """Monotonic ns of the next timer, at which `work` is called; 0 for none."""

    def command(self, message: Any) -> object:
        """One control message (`actors.commands`); returns the reply, as what msgspec can encode, or None."""

    def stop(self) -> None:
        """The orderly end."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a role gets from its shell. `vitals.enter_call` and `leave_call` go around calls that may take long; `bell`
    is what the role's producers ring (`bell.look_ns` may be set); `crash.die` ends the process; `predecessor` says how
    the process before this one ended, as the supervisor saw it ("" for none); `real_time` has the calling thread come
    before all ordinary ones, or not any more; False where that is not permitted."""

    runtime: Path
    name: str
    bell: Bell
    vitals: Vitals
    mailbox: Mailbox
    crash: Crash
    log: logging.Logger
    predecessor: str = ""
    real_time: Callable[[bool], bool] = proc.real_time

    def beat(self) -> None:
        """Not dead. Until the role is ready, one step of its recovery may take as long as a foreign call."""
        now_ns = monotonic_ns()
        self.vitals.beat(now_ns)
        if not self.vitals.ready_ns:
            self.vitals.enter_call(now_ns)

    def path(self, name: str) -> str:
        """The path of a file in the runtime directory."""
        return str(self.runtime / name)


class _Work:
    """The message that stands for "there is something in your shared memory"."""


_WORK: Final[Envelope[Any]] = Envelope(_Work())


class _Inbox:
    """What pykka takes envelopes from. `role` is set once it is started."""

    def __init__(self, context: Context) -> None:
        self.role: Role | None = None
        self._context = context
        self._bell, self._mailbox = context.bell, context.mailbox
        self._local: collections.deque[Envelope[Any]] = collections.deque()
        self._mail: collections.deque[bytes] = collections.deque()
        self._mail_had_its_turn = False

    def put(self, envelope: Envelope[Any]) -> None:
        """From any thread of this process."""
        self._local.append(envelope)
        self._bell.ring()

    def empty(self) -> bool:
        return not self._local

    def get(self) -> Envelope[Any]:
        try:
            while (envelope := self._next()) is None:
                pass
            return envelope
        except BaseException as error:
            self._context.crash.die(ExitCode.INBOX, "waiting for input", error)

    def has_mail(self) -> bool:
        return bool(self._local or self._mail or self._mailbox.ready())

    def _next(self) -> Envelope[Any] | None:
        """One pass. A control message and the role's work take turns, so that neither starves the other."""
        role = self.role
        assert role is not None, "get() before the role was started"
        now_ns = monotonic_ns()
        self._context.vitals.beat(now_ns)
        if self._local:
            return self._local.popleft()
        if not self._mail_had_its_turn and (mail := self._next_mail()) is not None:
            self._mail_had_its_turn = True
            return mail
        self._mail_had_its_turn = False
        due_ns = role.next_due_ns()
        left_ns = due_ns - monotonic_ns()  # looked at afterwards: a role that says "now" means it
        if (due_ns and left_ns <= 0) or role.ready():
            return _WORK
        timeout_s = min(IDLE_S, left_ns / 1e9) if due_ns else IDLE_S
        if self._bell.wait(self._ready, timeout_s) or (due_ns and monotonic_ns() >= due_ns):
            self._context.vitals.beat(monotonic_ns())
            return _WORK  # at once: who was waked for something is late already (mail has its turn in the next pass)
        return None

    def _ready(self) -> bool:
        return self.role.ready() or self.has_mail()  # type: ignore[union-attr]

    def _next_mail(self) -> Envelope[Any] | None:
        if not self._mail:
            if not self._mailbox.ready():
                return None
            self._mail.extend(self._mailbox.get_many())
        while self._mail:
            mail = self._decoded(self._mail.popleft())
            if mail is not None and (not mail.deadline_ns or monotonic_ns() < mail.deadline_ns):
                return Envelope(mail)
            self._mailbox.commit(1)
        return None

    def _decoded(self, data: bytes) -> Mail | None:
        try:
            return decode_mail(data)
        except msgspec.MsgspecError as error:
            self._context.log.warning("mail of %d bytes dropped: %s", len(data), error)
            return None


class Shell(pykka.ThreadingActor):
    """The actor. Constructs the role, starts it and hands it what the inbox returns."""

    use_daemon_thread = True

    def __init__(self, context: Context, factory: Callable[[Context], Role]) -> None:
        self._context = context
        self._factory = factory
        self._repliers: dict[str, MailboxWriter] = {}
        crash = context.crash
        self._starting = crash.guard(ExitCode.START, "starting")
        self._commanded = crash.guard(ExitCode.COMMAND, "carrying out a command")
        self._stopping = crash.guard(ExitCode.STOP, "stopping")
        super().__init__()

    def _create_actor_inbox(self) -> _Inbox:  # type: ignore[override]  # pykka calls it on the instance
        return _Inbox(self._context)

    def _actor_loop(self) -> None:
        with self._context.crash.guard(ExitCode.THREAD, "running the actor"):
            super()._actor_loop()
            signal.pthread_kill(threading.main_thread().ident or 0, _ACTOR_ENDED)

    @property
    def _inbox(self) -> _Inbox:
        inbox = self.actor_inbox
        assert isinstance(inbox, _Inbox)
        return inbox

    def on_start(self) -> None:
        remote.this_is_an_actor()
        with self._starting:
            self._context.beat()
            gc.disable()  # what a recovery makes stays: looking through it again and again costs several times as much
            self._role = self._factory(self._context)
            self._role.start()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            gc.enable()
            self._context.vitals.leave_call()
            self._inbox.role = self._role
            self._work, self._ready, self._has_mail = self._role.work, self._role.ready, self._inbox.has_mail
            self._beat = self._context.vitals.beat
        self._context.vitals.ready(monotonic_ns())
        self._context.log.info("started")

    def _handle_receive(self, message: Any) -> Any:
        """pykka's, but first what nearly all messages are: somebody waits."""
        if type(message) is not _Work:
            return super()._handle_receive(message)
        try:
            while self._work() and self._ready():
                self._beat(monotonic_ns())
                if self._has_mail():
                    break
        except BaseException as error:
            self._context.crash.die(ExitCode.WORK, "working", error)
        return None

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Mail):
            return self._on_mail(message)
        with self._commanded:
            return self._role.command(message)

    def on_stop(self) -> None:
        with self._stopping:
            self._context.vitals.stopping()
            self._role.stop()
        self._context.log.info("stopped")

    def _on_mail(self, mail: Mail) -> None:
        with self._commanded:
            try:
                reply = Reply(mail.correlation, self._carry_out(mail.command))
            except BaseException as error:
                # What killed us once would kill the next one too: it leaves the mailbox before we die of it.
                self._reply(mail, Reply(mail.correlation, None, f"died of it: {error!r}"))
                self._context.mailbox.commit(1)
                raise
            self._reply(mail, reply)
            self._context.mailbox.commit(1)

    def _carry_out(self, command: object) -> object:
        if isinstance(command, Stop):
            self.stop()
            return None
        return self._role.command(command)

    def _reply(self, mail: Mail, reply: Reply) -> None:
        """An asker that is gone, full or stopped costs the actor 1 ms at most."""
        if not mail.reply_to:
            return
        data = encode(reply)
        try:
            self._replier(mail.reply_to).put(data, REPLY_TIMEOUT_S)
        except IpcError as error:
            self._repliers.pop(mail.reply_to, None)
            self._context.log.info("no reply to %s: %s", type(mail.command).__name__, error)

    def _replier(self, name: str) -> MailboxWriter:
        writer = self._repliers.get(name)
        if writer is None:
            while len(self._repliers) >= _REPLY_WRITERS_MAX:
                del self._repliers[next(iter(self._repliers))]
            writer = self._repliers[name] = Mailbox.attach(self._context.path(os.path.basename(name)))
        return writer


def main(role_name: str, factory: Callable[[Context], Role]) -> NoReturn:
    """The child's entry. Reads RUNTIME_DIR, CHILD_NAME (default: the role's name), SUPERVISOR_PID (none: nobody's
    child), CHILD_LAST_EXIT (of its predecessor), OMS_CRASH_DIR (default: RUNTIME_DIR/crash), OMS_LOG_LEVEL and
    OMS_LOG_DIR (none: text to stderr)."""
    environment = os.environ
    runtime = Path(environment["RUNTIME_DIR"])
    name = environment.get("CHILD_NAME", role_name)
    crash = Crash(name, Path(environment.get("OMS_CRASH_DIR") or runtime / "crash"))
    crash.catch_all()
    # Blocked before the first thread exists, so in all of them: only sigwait, on the main thread, takes them.
    signals = _STOP_SIGNALS | {_ACTOR_ENDED}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        faulthandler.enable()  # a crash in C leaves a traceback on stderr, if there is one
    with crash.guard(ExitCode.START, "starting"):
        _keep_secrets(runtime)
        folder = environment.get("OMS_LOG_DIR")
        last = logs.configure(name, environment.get("OMS_LOG_LEVEL", "INFO"), Path(folder) if folder else None)
        crash.lines = last.lines
        context = _context(runtime, name, crash)
        ref = Shell.start(context, factory)
        _serve(signals, context, ref)
    remote.close_reply_boxes()
    logging.shutdown()
    os._exit(ExitCode.ORDERLY)  # threads of a foreign library cannot hold us up


def _keep_secrets(runtime: Path) -> None:
    """The desk's passwords stay out of log, output and crash reports. (A process that is no desk's has none.)"""
    with contextlib.suppress(OSError, ValueError):
        logs.know(logs.secrets_of(json.loads((runtime / DESK_FILE).read_bytes())))
    logs.redact_output()


def _context(runtime: Path, name: str, crash: Crash) -> Context:
    """Everything that can be refused by name, in the order that makes it safe: parent, lock, then what the lock
    protects."""
    try:
        supervisor = os.environ.get("SUPERVISOR_PID")
        if supervisor:
            proc.set_pdeathsig(signal.SIGKILL, int(supervisor))
        FileLock(str(runtime / f"{name}.lock")).acquire()
        vitals = crash.vitals = Vitals.create(runtime / f"{name}.vitals")
        vitals.beat(monotonic_ns())
        bell = _bell(str(runtime / f"{name}.bell"))
        mailbox = Mailbox.create(str(runtime / f"{name}.mail"), bell)
    except ParentGone as error:
        crash.die(ExitCode.PARENT_GONE, "starting", error)
    except AlreadyLocked as error:
        crash.die(ExitCode.ALREADY_RUNNING, "starting", error)
    except (IpcError, OSError) as error:
        crash.die(ExitCode.RESOURCES, "starting", error)
    predecessor = os.environ.get("CHILD_LAST_EXIT", "")
    return Context(runtime, name, bell, vitals, mailbox, crash, logging.getLogger(name), predecessor)


def _bell(path: str) -> Bell:
    """A predecessor's doorbell is used on, because live producers have it mapped."""
    try:
        return Bell.attach(path, look_ns=0)
    except (NotThere, VersionMismatch):
        return Bell.create(path, look_ns=0)


def _serve(signals: frozenset[signal.Signals], context: Context, ref: pykka.ActorRef[Shell]) -> None:
    """Until the actor has ended: hand every request to stop on to it."""
    while (number := signal.sigwait(signals)) != _ACTOR_ENDED:
        context.log.info("asked to stop by %s", signal.Signals(number).name)
        context.vitals.stopping()
        ref.stop(block=False)
