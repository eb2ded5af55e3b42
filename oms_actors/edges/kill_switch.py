"""The kill switch: a durable file that says what must not be sent, and a shared word that says that it has changed.

`kill.json` in the instance's data directory holds every flag with who set it, when and why. It is replaced as a whole
and synced before the word is counted up; the sender looks at the word before every call, so that nothing leaves after
it. Both need no living process but the sender: `oms kill` works while everything else is stopped. `kill.log` gets a
line for every touch: it keeps who did what also where no sender lives to journal it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ipc import lock
from oms_actors.core.risk import KillFlag, kill_flag
from oms_actors.edges.journals import shared_words

FILE, WORD, LOCK, LOG = "kill.json", "kill.word", "kill.lock", "kill.log"
LOCK_TRIES, LOCK_WAIT_S = 50, 0.02
"""Who touches the switch waits for another who does; after a second not any more: a kill is never refused."""
CANCELS_KEPT = 256
"""So many requests to cancel are kept for a sender that is away."""


class Kill(msgspec.Struct, frozen=True):
    """One flag: an account, a symbol, or (neither) everything."""

    account: str = ""
    symbol: str = ""
    by: str = ""
    time_ns: int = 0
    reason: str = ""

    @property
    def flag(self) -> KillFlag:
        """As the core wants it."""
        return kill_flag(self.account, self.symbol)

    @property
    def scope(self) -> str:
        """For people."""
        return f"account {self.account}" if self.account else f"symbol {self.symbol}" if self.symbol else "everything"


class KillState(msgspec.Struct, frozen=True):
    """What the file holds. `cancel` counts requests to cancel working orders as well, `cancels` are the last."""

    kills: tuple[Kill, ...] = ()
    cancel: int = 0
    cancels: tuple[Kill, ...] = ()

    def asked_since(self, known: int) -> tuple[Kill, ...]:
        """The requests to cancel that follow after so many: there may be several where the sender was away. If there
        are fewer than are known, the file is another one."""
        more = self.cancel - known
        return self.cancels[-more:] if more > 0 else self.cancels if more else ()


class KillSwitch:
    """One instance's switch. `changed()` is what a sender asks before every call."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._words = shared_words(data_dir / WORD, 1)
        self._seen = -1

    def changed(self) -> bool:
        """Has the switch been touched since the last `read`? Costs one load."""
        return self._words[0] != self._seen

    def read(self) -> KillState:
        """What stands now. Raises OSError, msgspec.DecodeError: who cannot read the switch must not send."""
        self._seen = self._words[0]
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=KillState)
        except FileNotFoundError:
            return KillState()

    def kill(self, kill: Kill, cancel_working: bool = False) -> KillState:
        """Sets a flag (once), durable before anybody sees it."""
        with self._alone():
            state = self.read()
            kills = (*(k for k in state.kills if k.flag != kill.flag), kill)
            cancel, cancels = state.cancel, state.cancels
            if cancel_working:
                cancel, cancels = cancel + 1, (*cancels, kill)[-CANCELS_KEPT:]
            state = self._write(KillState(kills, cancel, cancels))
        self._log("kill --cancel-working" if cancel_working else "kill", kill)
        return state

    def resume(self, account: str = "", symbol: str = "", by: str = "") -> KillState:
        """Takes a flag away; with neither account nor symbol all of them."""
        with self._alone():
            state = self.read()
            left = tuple(k for k in state.kills if (account or symbol) and k.flag != kill_flag(account, symbol))
            state = self._write(KillState(left, state.cancel, state.cancels))
        self._log("resume", Kill(account, symbol, by, time.time_ns()))
        return state

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two who touch it at once must not lose each other's flag."""
        fd = os.open(self._path.with_name(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(LOCK_TRIES):
                if lock.try_lock(fd):
                    break
                time.sleep(LOCK_WAIT_S)
            yield
        finally:
            os.close(fd)

    def _log(self, what: str, kill: Kill) -> None:
        """For the record, after it has taken effect."""
        line = msgspec.json.encode({"what": what} | msgspec.to_builtins(kill)) + b"\n"
        fd = os.open(self._path.with_name(LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _write(self, state: KillState) -> KillState:
        temporary = self._path.with_suffix(".new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(state))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._words[0] += 1
        return state
