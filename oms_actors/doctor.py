"""`oms doctor`: is this machine fit for a desk, and has a dead one left anything behind?

Each check is a pure judgement over figures, so that a test can put any machine before it; `run_checks` looks at this
one. It changes nothing: the files that it measures with are its own and gone afterwards.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import pwd
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Final, Literal

from ipc import lock, proc, wait
from ipc.errors import IpcError
from ipc.mailbox import Mailbox
from ipc.wait import Bell
from supervisor import published

Status = Literal["ok", "warn", "fail"]

MIB: Final = 1 << 20
SHM_FREE_WARN_BYTES, SHM_FREE_FAIL_BYTES = 512 * MIB, 64 * MIB
DISK_FREE_WARN_BYTES, DISK_FREE_FAIL_BYTES = 2048 * MIB, 256 * MIB
FDATASYNC_WARN_US, FDATASYNC_SAMPLES = 2_000.0, 20
CLOCK_READ_WARN_NS = 500.0
NOFILE_WARN, NOFILE_FAIL = 4096, 256
KERNEL_MIN = (5, 3)
"""pidfd_open, by which children are watched and fenced."""
PYTHON_MIN, PYTHON_END = (3, 11), (3, 14)
UID_OF_PEOPLE_MIN: Final = 1000

_MEMORY_FILE_SYSTEMS: Final = {"tmpfs", "ramfs"}
_STA_UNSYNC: Final = 0x40


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `advice` says what to do, and is "" where all is well."""

    name: str
    status: Status
    text: str
    advice: str = ""


def run_checks(runtime_base: Path, data_dir: Path) -> list[Check]:
    """All checks of this machine, for desks whose shared memory lives in `runtime_base` and journals in `data_dir`
    (neither need exist). Never raises for what it finds: a check that cannot be made says why."""
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("platform", _look_at_platform),
        ("python", lambda: judge_python(sys.version_info[:2], platform.python_implementation())),
        ("libraries", _look_at_libraries),
        ("kernel", lambda: judge_kernel(platform.release())),
        ("membarrier", _look_at_membarrier),
        ("mailbox", lambda: _look_at_mailbox(runtime_base)),
        ("cpus", lambda: judge_cpus(len(os.sched_getaffinity(0)))),
        ("limits", lambda: judge_limits(_limit(resource.RLIMIT_NOFILE), _limit(resource.RLIMIT_MEMLOCK))),
        ("shared memory", lambda: _look_at_shared_memory(runtime_base)),
        ("stale instances", lambda: judge_stale(list(stale_instances(runtime_base)))),
        ("logout", lambda: _look_at_logout(runtime_base)),
        ("disk", lambda: _look_at_disk(data_dir)),
        ("fdatasync", lambda: _look_at_fdatasync(data_dir)),
        ("clock source", _look_at_clock_source),
        ("clock", _look_at_clock),
    ]
    return [_looked(name, look) for name, look in looks]


def _looked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except (OSError, IpcError) as error:
        return Check(name, "fail", str(error), "See what the message names: permissions, space, descriptors.")


# -- versions ---------------------------------------------------------------------------------------------------------


def _look_at_platform() -> Check:
    proc.require_supported_platform()
    return Check("platform", "ok", f"{sys.platform} on {platform.machine()}")


def judge_python(version: tuple[int, ...], implementation: str) -> Check:
    text = f"{implementation} {'.'.join(map(str, version))}"
    if implementation == "CPython" and PYTHON_MIN <= version < PYTHON_END:
        return Check("python", "ok", text)
    return Check("python", "fail", text, "Use CPython 3.11 to 3.13: faster-fifo has wheels for no other.")


def _look_at_libraries() -> Check:
    return judge_libraries(importlib.metadata.version("pykka"), importlib.metadata.version("faster-fifo"))


def judge_libraries(pykka: str, faster_fifo: str) -> Check:
    text = f"pykka {pykka}, faster-fifo {faster_fifo}"
    if pykka.split(".")[:2] == ["4", "5"] and faster_fifo == "1.5.2":
        return Check("libraries", "ok", text)
    return Check("libraries", "fail", text,
                 "pip install 'pykka>=4.5,<4.6' faster-fifo==1.5.2: we lean on their insides.")


def judge_kernel(release: str) -> Check:
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= KERNEL_MIN:
        return Check("kernel", "ok", f"Linux {release}")
    return Check("kernel", "fail", f"Linux {release}", f"Linux {KERNEL_MIN[0]}.{KERNEL_MIN[1]} or newer is needed.")


def _look_at_membarrier() -> Check:
    wait.register_for_barriers()
    return Check("membarrier", "ok", "GLOBAL_EXPEDITED is there")


def _look_at_mailbox(runtime_base: Path) -> Check:
    """The layout of faster-fifo is probed when a mailbox is made: so make one."""
    with tempfile.TemporaryDirectory(prefix=".oms-doctor-", dir=_existing(runtime_base)) as folder:
        bell = Bell.create(f"{folder}/probe.bell")
        Mailbox.create(f"{folder}/probe.mail", bell)
    return Check("mailbox", "ok", "faster-fifo is laid out as expected")


# -- the machine ------------------------------------------------------------------------------------------------------


def judge_cpus(count: int) -> Check:
    text = f"{count} usable"
    if count >= 2:
        return Check("cpus", "ok", text)
    return Check("cpus", "warn", text, "With one CPU every hand-over between processes is a context switch.")


def _limit(which: int) -> int:
    """The soft limit; -1 = none."""
    soft = resource.getrlimit(which)[0]
    return -1 if soft == resource.RLIM_INFINITY else soft


def judge_limits(nofile: int, memlock_bytes: int) -> Check:
    memlock = "unlimited" if memlock_bytes < 0 else f"{memlock_bytes // 1024} KiB"
    text = f"open files {'unlimited' if nofile < 0 else nofile}, locked memory {memlock}"
    if nofile < 0 or nofile >= NOFILE_WARN:
        return Check("limits", "ok", text)
    return Check("limits", "fail" if nofile < NOFILE_FAIL else "warn", text,
                 f"ulimit -n {NOFILE_WARN} (LimitNOFILE= in a unit): each upstream, ring and segment takes one.")


def _look_at_clock_source() -> Check:
    path = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    reads = 10_000
    before = monotonic_ns()
    for _ in range(reads):
        monotonic_ns()
    read_ns = (monotonic_ns() - before) / reads
    return judge_clock_source(path.read_text().strip() if path.exists() else "unknown", read_ns)


def judge_clock_source(source: str, read_ns: float) -> Check:
    text = f"{source}, {read_ns:.0f} ns a look"
    if read_ns <= CLOCK_READ_WARN_NS:
        return Check("clock source", "ok", text)
    return Check("clock source", "warn", text, "Each look is a system call: boot with a stable tsc or kvm-clock.")


def _look_at_clock() -> Check:
    """adjtimex(2) asked, nothing set: struct timex holds maxerror (µs) at 24 and status at 40."""
    timex = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        why = os.strerror(ctypes.get_errno())
        return Check("clock", "warn", f"cannot be told whether it is synchronised: {why}", "Ask your time service.")
    max_error_us = int.from_bytes(timex.raw[24:32], "little")
    status = int.from_bytes(timex.raw[40:44], "little")
    return judge_clock(not status & _STA_UNSYNC, max_error_us)


def judge_clock(synchronised: bool, max_error_us: int) -> Check:
    if synchronised:
        return Check("clock", "ok", f"synchronised, at most {max_error_us / 1000:.0f} ms off")
    return Check("clock", "warn", "not synchronised by NTP",
                 "Run chrony or systemd-timesyncd: trading hours follow the wall clock.")


# -- shared memory ----------------------------------------------------------------------------------------------------


def _look_at_shared_memory(runtime_base: Path) -> Check:
    folder = _existing(runtime_base)
    space = os.statvfs(folder)
    mine = not runtime_base.exists() or runtime_base.stat().st_uid == os.geteuid()
    return judge_shared_memory(folder, file_system(folder), space.f_blocks * space.f_frsize,
                               space.f_bavail * space.f_frsize, mine)


def judge_shared_memory(folder: Path, kind: str, total_bytes: int, free_bytes: int, mine: bool) -> Check:
    text = f"{folder} ({kind}): {free_bytes // MIB} of {total_bytes // MIB} MiB free"
    if not mine:
        return Check("shared memory", "fail", f"{folder} belongs to another user",
                     "Have it removed, or set OMS_RUNTIME_DIR.")
    if kind not in _MEMORY_FILE_SYSTEMS:
        return Check("shared memory", "warn", text, "Rings on a disk file system are written back: use /dev/shm.")
    if free_bytes >= SHM_FREE_WARN_BYTES:
        return Check("shared memory", "ok", text)
    return Check("shared memory", "fail" if free_bytes < SHM_FREE_FAIL_BYTES else "warn", text,
                 "mount -o remount,size=2G /dev/shm (docker: --shm-size=2g), or remove what is stale.")


@dataclass(frozen=True, slots=True)
class Stale:
    """What an instance left whose supervisor does not run any more."""

    folder: Path
    files: int
    bytes: int
    state: str  # as it was published last; "" if never


def stale_instances(runtime_base: Path) -> Iterator[Stale]:
    """The lock, which the kernel releases, says whether a supervisor lives; pids, reused or not, do not matter."""
    names = (published.LOCK_NAME, published.FILE_NAME)
    for folder in sorted({path.parent for name in names for path in runtime_base.glob(f"*/{name}")}):
        if lock.holder(str(folder / published.LOCK_NAME)) is None:
            found = published.read(folder)
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
            yield Stale(folder, len(sizes), sum(sizes), found.state if found else "")


def judge_stale(stale: list[Stale]) -> Check:
    if not stale:
        return Check("stale instances", "ok", "none")
    text = "; ".join(f"{one.folder.name}: {one.files} files, {one.bytes // 1024} KiB, "
                     f"last known as {one.state or 'never up'}" for one in stale)
    advice = "; ".join(f"`oms run --instance {one.folder.name}` goes on with it, `rm -r {one.folder}` removes it"
                       for one in stale)
    return Check("stale instances", "warn", text, f"{advice}. Journals are elsewhere and stay.")


def _look_at_logout(runtime_base: Path) -> Check:
    linger = Path("/var/lib/systemd/linger") / _user_name()
    files = [Path("/etc/systemd/logind.conf"), *sorted(Path("/etc/systemd/logind.conf.d").glob("*.conf"))]
    lines = [line.replace(" ", "") for path in files if path.exists() for line in path.read_text().splitlines()]
    kept = any(line.lower() in ("removeipc=no", "removeipc=false", "removeipc=0") for line in lines)
    exposed = Path("/run/systemd/system").is_dir() and runtime_base.is_relative_to("/dev/shm")
    return judge_logout(os.getuid(), exposed and not kept and not linger.exists())


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, say
        return str(os.getuid())


def judge_logout(uid: int, removes: bool) -> Check:
    """systemd-logind removes a person's files in /dev/shm at the last logout (logind.conf(5), RemoveIPC)."""
    if uid < UID_OF_PEOPLE_MIN or not removes:
        return Check("logout", "ok", "leaves shared memory alone")
    return Check("logout", "warn", "your last logout removes your files in /dev/shm, under a running desk",
                 "loginctl enable-linger, or RemoveIPC=no in /etc/systemd/logind.conf, or run it as a service.")


# -- the data directory -----------------------------------------------------------------------------------------------


def _look_at_disk(data_dir: Path) -> Check:
    folder = _existing(data_dir)
    space = os.statvfs(folder)
    return judge_disk(folder, file_system(folder), space.f_bavail * space.f_frsize)


def judge_disk(folder: Path, kind: str, free_bytes: int) -> Check:
    text = f"{folder} ({kind}): {free_bytes // MIB} MiB free"
    if kind in _MEMORY_FILE_SYSTEMS:
        return Check("disk", "warn", text, "Journals in memory survive no power cut: put data_dir on a disk.")
    if free_bytes >= DISK_FREE_WARN_BYTES:
        return Check("disk", "ok", text)
    return Check("disk", "fail" if free_bytes < DISK_FREE_FAIL_BYTES else "warn", text,
                 "Make room: without space for a journal no order is accepted.")


def _look_at_fdatasync(data_dir: Path) -> Check:
    return judge_fdatasync(statistics.median(measure_fdatasync_us(_existing(data_dir), FDATASYNC_SAMPLES)))


def measure_fdatasync_us(folder: Path, samples: int) -> list[float]:
    """What one journal batch pays: 4 KiB written into preallocated space and synced, in µs. Raises OSError."""
    took = []
    page = os.urandom(4096)
    with tempfile.TemporaryFile(prefix=".oms-doctor-", dir=folder) as file:
        fd = file.fileno()
        os.posix_fallocate(fd, 0, len(page) * samples)
        os.fsync(fd)
        for number in range(samples):
            before = monotonic_ns()
            os.pwrite(fd, page, number * len(page))
            os.fdatasync(fd)
            took.append((monotonic_ns() - before) / 1000)
    return took


def judge_fdatasync(median_us: float) -> Check:
    text = f"{median_us:.0f} µs (median of {FDATASYNC_SAMPLES})"
    if median_us <= FDATASYNC_WARN_US:
        return Check("fdatasync", "ok", text)
    return Check("fdatasync", "warn", text, "Every batch waits for it: use an SSD with power-loss protection, or "
                                            'durability = "process" if a power cut may lose the last orders.')


def _existing(path: Path) -> Path:
    """`path`, or what exists of it."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def file_system(path: Path) -> str:
    """Kind of the file system that holds `path`; "unknown" if the mounts do not tell."""
    best, kind = -1, "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found = line.split()[:3]
        mount = mount.replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= best:
            best, kind = len(mount), found
    return kind
