"""As a service: the notify protocol of systemd (sd_notify(3)) and a hardened unit file.

The protocol is one datagram of `KEY=value` lines per message to the AF_UNIX socket named by NOTIFY_SOCKET; a name that
begins with '@' is in the abstract namespace. Nothing here needs systemd's library, and without NOTIFY_SOCKET every
call does nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

# Not for children: they would speak in the name of the supervisor.
NOTIFY_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells the service manager how it goes. A manager that is gone or slow is never waited for."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._interval_ns = _watchdog_interval_ns(environ) if self._address else 0
        self._next_ns = 0
        self._status = ""
        self._stopping = False

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        """Sent once."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changes."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self, now_ns: int) -> None:
        """Feed the watchdog, twice per WATCHDOG_USEC; call it as often as you like."""
        if self._interval_ns and now_ns >= self._next_ns:
            self._next_ns = now_ns + self._interval_ns
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            pass  # losing a status line is better than losing the desk

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _address(name: str) -> str | bytes:
    return b"\0" + name[1:].encode() if name.startswith("@") else name


def _watchdog_interval_ns(environ: Mapping[str, str]) -> int:
    """Half of WATCHDOG_USEC if it is meant for this process, else 0 (sd_watchdog_enabled(3))."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    usec = environ.get("WATCHDOG_USEC", "0")
    return int(usec) * 1000 // 2 if usec.isdigit() else 0


# -- the unit ---------------------------------------------------------------------------------------------------------

_UNIT: Final = """\
[Unit]
Description={description}
After=network-online.target time-sync.target
Wants=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
User={user}
{environment}ExecStart={exec_start}
WorkingDirectory={working_dir}
# A bad configuration (2) and a second supervisor (3) do not mend themselves.
Restart=on-failure
RestartPreventExitStatus=2 3
RestartSec=1
TimeoutStartSec={start_timeout_s}
# The supervisor stops its children in order; what is left after TimeoutStopSec is killed.
KillMode=mixed
TimeoutStopSec={stop_timeout_s}
WatchdogSec={watchdog_s}

# Limits: a descriptor per ring, journal segment and upstream; mapped rings may be locked into memory; a child may ask
# for the lowest real-time priority (so no RestrictRealtime=).
LimitNOFILE=65536
LimitRTPRIO=1
LimitMEMLOCK=infinity
LimitCORE=0
OOMScoreAdjust=-500
UMask=0077

# Only what is named here can be written. The rings live in /dev/shm, which every process of the machine that is to
# attach must see: so no PrivateDevices= (it would mount a /dev of its own), and RemoveIPC=no (it would delete this
# user's files in /dev/shm). PrivateTmp= does not touch /dev/shm.
ProtectSystem=strict
ReadWritePaths={writable}
RemoveIPC=no
PrivateTmp=yes
DevicePolicy=closed
ProtectHome={protect_home}

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
# Other users' processes are not ours to see; our own (status, fencing, memory) are.
ProtectProc=invisible
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit_file(exec_start: Sequence[str], *, user: str, working_dir: Path, writable: Sequence[Path],
              description: str = "Supervised processes", environment: Mapping[str, str] | None = None,
              start_timeout_s: int = 120, stop_timeout_s: int = 60, watchdog_s: int = 10) -> str:
    """A systemd system unit for a supervisor run as `user`; what is not in `writable` (or /dev/shm) is read only.

    `exec_start` must begin with an absolute path. No secret belongs in `environment`: everybody can read a unit.
    Raises ValueError for what a unit cannot hold.
    """
    paths = [Path(exec_start[0]), working_dir, *writable]
    for path in paths:
        if not path.is_absolute():
            raise ValueError(f"every path in a unit must be absolute: {path}")
    lines = "".join(f"Environment={_quote(f'{key}={value}')}\n" for key, value in (environment or {}).items())
    in_home = any(path.is_relative_to(home) for path in paths for home in _HOMES)
    return _UNIT.format(
        description=_one_line(description).replace("%", "%%"), user=_one_line(user), environment=lines,
        exec_start=" ".join(_quote(word).replace("$", "$$") for word in exec_start),
        working_dir=_one_line(str(working_dir)).replace("%", "%%"),
        writable=" ".join(_quote(f"-{path}") for path in ("/dev/shm", *writable)),  # "-": it may not be there yet
        protect_home="read-only" if in_home else "yes",
        start_timeout_s=start_timeout_s, stop_timeout_s=stop_timeout_s, watchdog_s=watchdog_s)


_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))


def _one_line(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError(f"a unit cannot hold control characters: {text!r}")
    return text


def _quote(word: str) -> str:
    """One word of a unit's line (systemd.syntax(7)): quoted if it must be, with specifiers (%) taken literally."""
    plain = _one_line(word).replace("%", "%%")
    if plain and not set(plain) & set(" \"'\\;"):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
