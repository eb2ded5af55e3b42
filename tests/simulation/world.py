"""One simulated desk: real roles, rings and pages; its own time, disk, venue, upstreams, and bad luck.

    with World(scenario(seed)) as world:
        world.run()

All processes live in this one. Each turn picks some of them at random and lets each do one pass of its duty cycle; if
none has anything to do, time jumps to the next thing that is due. Everything random comes from the seed.
"""

from __future__ import annotations

import errno
import gc
import heapq
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from simulation.client import Memory
from simulation.clock import MS, Clock, S
from simulation.database import Database, sqlite3
from simulation.disk import SimDisk
from simulation.exchange import THE_WORLD, HostileVenue
from simulation.operator_desk import Operator
from simulation.patches import Patches
from simulation.process import Blow, Broken, Fate, Process
from simulation.scenario import START_NS, Scenario

from ipc import proc, segment
from ipc.lock import FileLock
from ipc.segment import Segment
from ipc.wait import Bell
from oms_actors import app, instance, snapshots
from oms_actors.actors import intake, persistence, scheduler, sender
from oms_actors.config import Resolved
from oms_actors.core import batches, ledger
from oms_actors.edges import disk as edges_disk
from oms_actors.edges import retention, upstream_link, upstreams

INSTANCE = "sim"
ROLES = ("persistence", "sender", "intake", "scheduler")
PASSES_PER_S_MAX = 100_000
"""So many passes in a simulated second: somebody is busy without getting anywhere."""
DRAIN_NS = 300 * S
"""So long after the last fault everything must have its answer."""
QUIET_NS = 6 * S
"""So long everything has had its answer: longer than the venue is ever silent."""
PATIENCE_NS, LOGON_PATIENCE_NS = 10 * S, 75 * S
"""After so long without a word to anybody nothing more is expected; the latter where the next logon may be a minute
away."""


class _Mail:
    """In the place of a process's mailbox."""

    def __init__(self, world: World, role: str) -> None:
        self._world, self._role = world, role

    def tell(self, message: object) -> None:
        process = self._world.processes[self._role]

        def arrive() -> None:
            if process.alive and not process.busy:
                process.command(message)

        self._world.after(self._world.dice.randrange(1_000_000), arrive)


class World:
    """See above. `history` is for people; `crashes` are deaths that the product chose itself."""

    def __init__(self, scenario: Scenario, verbose: bool = False) -> None:
        self.scenario, self.verbose = scenario, verbose
        self.dice = Random(f"world {scenario.seed}")
        self.clock = Clock(START_NS)
        self.clock.looked = self._looked
        self.calm = False
        self.current: Process | None = None
        self.history: list[tuple[Any, ...]] = []
        self.points: dict[str, int] = {}
        self.crashes: list[tuple[str, str]] = []
        self.instance = INSTANCE
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._plans: list[tuple[int, Callable[[], None]]] = []
        self._event_count = 0
        self._patches = Patches()
        self._depth = 0
        self._power_failed = False
        self._boot = 1
        self.power_cuts = 0
        self._tokens = 0
        self.passes = self._passes_before = self._second_ns = 0
        self.progress_ns = 0
        """When something was last said to the venue or to an upstream."""
        self.stepped_ns: list[int] = []
        """When the wall clock was set."""
        self._up = False
        """Is there a supervisor that starts the dead again?"""
        self._touched = 0
        self.current_adapter: Any = None

    # -- putting it together ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.base = Path(tempfile.mkdtemp(prefix="oms-simulation-", dir="/dev/shm"))
        self.runtime, self.data = self.base / "run" / INSTANCE, self.base / "data"
        self.data.mkdir(parents=True)
        self._upstreams = str(self.runtime / instance.UPSTREAMS)
        self.disk = SimDisk(self.dice, self.point)
        self.database = Database(self)
        gc.disable()  # what is collected when depends on everything that the interpreter has done before
        self._environment = os.environ.get("OMS_RUNTIME_DIR")
        os.environ["OMS_RUNTIME_DIR"] = str(self.base / "run")
        random.seed(self.scenario.seed)
        self._patch()
        THE_WORLD.append(self)
        self.venue = HostileVenue(self)
        self.operator = Operator(self)
        self.processes = {name: Process(self, name, factory) for name, factory in self._roles().items()}
        length = self.scenario.length_ns
        self.clients = [
            Memory(self, f"up{i}", [self.dice.randrange(length) for _ in range(self.scenario.waves)])
            for i in range(self.scenario.clients)
        ]
        for memory in self.clients:
            self.processes[memory.name] = memory.process()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self.processes.values():
            process._release()
        self._patches.undo()
        THE_WORLD.remove(self)
        if self._environment is None:
            os.environ.pop("OMS_RUNTIME_DIR")
        else:
            os.environ["OMS_RUNTIME_DIR"] = self._environment
        shutil.rmtree(self.base, ignore_errors=True)
        gc.collect()
        gc.enable()

    def _roles(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "persistence": persistence.PersistenceRole, "sender": sender.SenderRole, "intake": intake.IntakeRole,
            "scheduler": scheduler.SchedulerRole,
        }  # fmt: skip

    def _patch(self) -> None:
        patches, world = self._patches, self

        class Owned(Segment):
            """A mapped file that is let go of when its process dies."""

            __slots__ = ()

            def __init__(self, path: str, fd: int) -> None:
                super().__init__(path, fd)
                if world.current is not None:
                    world.current.segments.append(self)

        self.clock.install(patches)
        patches.put(segment, "Segment", Owned)
        patches.swap(edges_disk.OsDisk, lambda folder: self.disk)
        patches.swap(proc.boot_id, lambda: f"{self._boot:08x}-0000-0000-0000-000000000000")
        patches.swap(proc.process_start_ticks, lambda pid: 1)
        patches.swap(upstream_link.fresh_token, self._token)
        patches.swap(sqlite3, self.database.module())
        patches.put(scheduler, "remote_ref", lambda runtime, role: _Mail(self, role))
        patches.put(sender, "FRAME_RECORDS", self.scenario.frame_records)
        patches.put(batches, "FEW", self.scenario.few)
        patches.put(ledger, "FRESH", 2)  # so that a day's few finished orders are put away
        patches.put(ledger, "BLOCK", 2)
        patches.put(retention, "LOOK_NS", S // 2)
        patches.put(retention, "DAY_NS", 8 * S)
        patches.put(upstreams, "os", SimpleNamespace(**{**vars(os), "stat": self._stat}))

    def _token(self) -> int:
        self._tokens += 1
        return self._tokens

    def _stat(self, path: Any, **options: Any) -> Any:
        """A folder's mtime as of the last attaching upstream: the real one depends on the real clock."""
        if str(path) != self._upstreams:
            return os.stat(path, **options)
        return SimpleNamespace(st_mtime_ns=self._touched)

    def touch_upstreams(self) -> None:
        """An upstream's file may have appeared."""
        self._touched = self.clock.true_ns

    # -- the machine ------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """The supervisor starts: a fresh runtime directory, or one that a dead supervisor left."""
        if self._up or self._power_failed:
            return
        self.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.resolved = Resolved(
            instance=INSTANCE, runtime_dir=str(self.runtime), data_dir=str(self.data), config_dir="", desk_id=7,
            config=self.scenario.config,
        )  # fmt: skip
        app.prepare(self.resolved)
        self.touch_upstreams()
        self._up = True
        self._supervisor = FileLock(str(self.runtime / "supervisor.lock"))
        self._supervisor.acquire()
        for role in ROLES:
            path = str(self.runtime / f"{role}.bell")
            if not os.path.exists(path):
                Bell.create(path)
        for delay, name in enumerate((*ROLES, *(memory.name for memory in self.clients))):
            self._start_later(self.processes[name], self.dice.randrange(1 + delay * 10) * MS)

    def _start_later(self, process: Process, delay_ns: int) -> None:
        lives, boot = process.lives, self._boot

        def start() -> None:
            wanted = self._up or process.name not in ROLES
            if wanted and boot == self._boot and not process.alive and process.lives == lives:
                process.blow = self._blow(process)
                process.start()

        self.after(delay_ns, start)

    def died(self, process: Process) -> None:
        """A process has ended: its supervisor starts it again."""
        if process.name == "sender":
            self.current_adapter = None
            self.venue.hang_up()
        if self._up or process.name not in ROLES:
            self._start_later(process, process.rest_ns + self.dice.randrange(1, 300) * MS)
            process.rest_ns = 0

    def crashed(self, process: Process, error: Exception) -> None:
        """A process has ended itself. That is allowed where the disk refuses."""
        self.note("crash", process.name, repr(error))
        refused = bool(self.disk.refused) or "full" in self.disk.refusals
        self.disk.refused.clear()
        if not refused:
            raise Broken(f"{process.name} crashed without a reason from outside: {error!r}") from error
        self.crashes.append((process.name, repr(error)))

    def power_fails(self) -> None:
        """Everybody dies at this instant; what was not synced is lost."""
        self._power_failed = True
        self._up = False
        for process in self.processes.values():
            process.doomed = process.busy

    def _power_returns(self) -> None:
        self.note("power cut")
        self.power_cuts += 1
        self._all_die(self.processes)
        shutil.rmtree(self.runtime, ignore_errors=True)  # an orderly stop may have just done that
        self.disk.power_cut()
        self._forget_shared_words()
        self._boot += 1
        self.clock.reboot(self.dice.choice((1, 20, 100_000)) * S)
        self._power_failed = False
        self.after(self.dice.randrange(1, 3_000) * MS, self.boot)

    def _forget_shared_words(self) -> None:
        """Mapped files are written back whenever the kernel likes: any word may be an old one."""
        for path in sorted((*self.data.glob("journal/*.mark"), *self.data.glob("journal/*.cursor"))):
            content = bytearray(path.read_bytes())
            for at in range(0, len(content), 8):
                if self.dice.random() < 0.3:
                    content[at : at + 8] = bytes(8)
            path.write_bytes(content)

    def _all_die(self, names: Iterable[str]) -> None:
        """The supervisor is dead, and so is everybody whom it started (or everybody at all)."""
        self._up = False
        for name in list(names):
            self.processes[name].kill()
        self._supervisor.release()

    def _restart(self) -> None:
        """The desk is stopped and started again, or its supervisor and everybody with it are killed."""
        if not self._up:
            return
        orderly = self.dice.random() < 0.5
        self.note("restart", "orderly" if orderly else "killed")
        if orderly:
            self.stop()
        else:
            self._all_die(ROLES)
        self.after(self.dice.randrange(1, 2_000) * MS, self.boot)

    def stop(self) -> None:
        """An orderly stop, in the reverse order of the start."""
        self._up = False
        for name in reversed(ROLES):
            process = self.processes[name]
            if process.alive:
                process.stop()
                self.let_others_work(None, self.dice.randrange(10) * MS)
        self._all_die(ROLES)
        app.clean_up(self.resolved, 0)

    # -- time -------------------------------------------------------------------------------------------------------

    def after(self, delay_ns: int, what: Callable[[], None]) -> None:
        """Something happens later."""
        self._event_count += 1
        heapq.heappush(self._events, (self.clock.true_ns + max(0, delay_ns), self._event_count, what))

    def run(self) -> None:
        """The whole of it: trouble, then calm, then the orderly end. Raises Broken."""
        self.boot()
        self._bad_luck()
        while self.clock.true_ns < self.scenario.length_ns:
            self._turn()
        self._calm_down()
        few_logons = self.scenario.config.session.logons_per_minute < 600
        patience_ns = LOGON_PATIENCE_NS if few_logons else PATIENCE_NS
        quiet_ns = 0  # since when nothing is awaited
        calm_ns = self.clock.true_ns
        while self.clock.true_ns < self.progress_ns + patience_ns:
            if self.clock.true_ns > calm_ns + DRAIN_NS:
                raise Broken(f"not everything is answered {DRAIN_NS // S} s after the last fault")
            if not self.settled():
                quiet_ns = 0
            elif not quiet_ns:
                quiet_ns = self.clock.true_ns
            elif self.clock.true_ns > quiet_ns + QUIET_NS:
                break
            self._turn()
        self.stop()

    def _calm_down(self) -> None:
        """The faults stop: everybody is there again, the market is open, the clock is right."""
        self.note("calm")
        self.calm = True
        self.disk.refusals.clear()
        self.database.gone_until_ns = self.database.slow_until_ns = self.venue.silent_until_ns = 0
        self.venue.notice_dead_line()
        self.operator.clear_up()
        self.clock.wall_offset_ns = START_NS
        opens = START_NS + 200 * S
        if self.scenario.config.session.overrides and self.clock.wall_ns < opens:
            self.clock.true_ns += opens - self.clock.wall_ns
        self.progress_ns = self.clock.true_ns

    def settled(self) -> bool:
        """Has everything that was asked its answer?"""
        return all(process.alive for process in self.processes.values()) and all(c.settled() for c in self.clients)

    def _turn(self) -> None:
        """Some processes do a pass, in any order; or time jumps."""
        self._happen()
        if self._power_failed:
            if not self._depth:
                self._power_returns()
            return
        alive = [process for process in self.processes.values() if process.alive and not process.busy]
        self.dice.shuffle(alive)
        did = False
        for process in alive:
            if process.alive and (self.calm or self.dice.random() < 0.8):
                process.blow = self._blow(process)
                did |= process.step()
                self.passes += 1
                if self._power_failed:
                    return
        if self.clock.true_ns >= self._second_ns + S:
            self._second_ns, self._passes_before = self.clock.true_ns, self.passes
        elif self.passes - self._passes_before > PASSES_PER_S_MAX:
            raise Broken(f"{PASSES_PER_S_MAX} passes within a second: somebody is busy for ever")
        if not did:
            self._jump()

    def _happen(self) -> None:
        events, plans, clock = self._events, self._plans, self.clock
        while events and events[0][0] <= clock.true_ns:
            heapq.heappop(events)[2]()
        while plans and plans[-1][0] <= clock.true_ns and not self._depth:
            plan = plans.pop()[1]
            if not self.calm:
                plan()

    def _jump(self) -> None:
        """Nobody has anything to do: on to the next thing that is due."""
        clock = self.clock
        idle = [process for process in self.processes.values() if process.alive and not process.busy]
        due = [process.due_ns() + clock.booted_ns for process in idle]
        if self._events:
            due.append(self._events[0][0])
        clock.true_ns = max(clock.true_ns + 1_000, min(due, default=clock.true_ns + 50 * MS))

    def let_others_work(self, process: Process | None, ns: int) -> None:
        """In the middle of a cycle of `process` the others go on for so long."""
        until = self.clock.true_ns + ns
        if self._depth >= 2:
            self.clock.true_ns = until
            return
        before, self.current = self.current, None
        self._depth += 1
        try:
            turns = 0
            while self.clock.true_ns < until and not self._power_failed and turns < 3_000:
                self._turn()
                turns += 1
            self.clock.true_ns = max(self.clock.true_ns, until)
            if not self._power_failed:
                self._happen()
        finally:
            self._depth -= 1
            self.current = before
        if process is not None and (process.doomed or self._power_failed):
            process.doomed = True
            process.point("stopped")

    # -- bad luck ---------------------------------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """The current process comes along a named place."""
        self.points[name] = self.points.get(name, 0) + 1
        if self.current is not None:
            self.current.point(name)

    def _looked(self, wall_ns: int) -> None:
        process = self.current
        if process is not None:
            if wall_ns:
                process.wall_seen, process.looked_ns = wall_ns, self.clock.true_ns
            process.point("clock")

    def stop_length(self, fate: Fate) -> int:
        """How long a stop lasts."""
        if fate is Fate.LONG_STOP:
            return self.dice.randrange(1, 8) * S
        return self.dice.choice((1, 5, 60)) * MS

    def _blow(self, process: Process) -> Blow | None:
        """Does this pass end badly?"""
        troubles, dice = self.scenario.troubles, self.dice
        aim = troubles.aim
        if self.calm or self._depth or (aim is not None and process.name != aim[0]):
            return None
        chance = dice.random()
        fate = None
        for probability, what in (
            (troubles.kill, Fate.KILL), (troubles.stop, Fate.STOP), (troubles.long_stop, Fate.LONG_STOP),
            (troubles.power, Fate.POWER),
        ):  # fmt: skip
            if chance < probability:
                fate = what
                break
            chance -= probability
        if fate is None:
            return None
        if aim is not None:
            return Blow(fate, dice.choice((1, 1, 2, 3)), aim[1])
        if dice.random() < troubles.lines:
            return Blow(fate, dice.randrange(1, int(process.lines_likely() * 1.2)), None)
        where = dice.choice(("", "clock", "disk", "adapter", "database"))
        return Blow(fate, dice.choice((1, 1, 2, 3, 5, 8, 13)), where)

    def _bad_luck(self) -> None:
        """Everything that comes at a time of its own."""
        troubles, dice, length = self.scenario.troubles, self.dice, self.scenario.length_ns
        plans: list[tuple[int, Callable[[], None]]] = []
        for rate, what in (
            (troubles.cuts_per_s, self.venue.cut), (troubles.silences_per_s, self._silence),
            (troubles.disk_per_s, self._disk_trouble), (troubles.database_per_s, self._database_trouble),
            (troubles.clock_per_s, self._step_clock), (troubles.slow_clients_per_s, self._slow_client),
            (troubles.restarts_per_s, self._restart), (troubles.operator_per_s, self.operator.meddle),
            (troubles.snapshots_per_s, self._snapshot),
        ):  # fmt: skip
            count = round(rate * length / S + dice.random() * 0.98 - 0.49)
            plans += [(dice.randrange(length), what) for _ in range(count)]
        plans += self._schedulers_death()
        self._plans = sorted(plans, key=lambda plan: plan[0], reverse=True)

    def _schedulers_death(self) -> list[tuple[int, Callable[[], None]]]:
        """Sometimes it is dead when a session opens or closes."""
        if not self.scenario.troubles.kill:
            return []
        edges = [edge for session in self.scenario.sessions() for edge in session]
        return [
            (edge - START_NS - self.dice.randrange(1, 100) * MS, self._kill_scheduler)
            for edge in edges if self.dice.random() < self.scenario.troubles.scheduler_dies
        ]  # fmt: skip

    def _kill_scheduler(self) -> None:
        scheduler = self.processes["scheduler"]
        if scheduler.alive:
            scheduler.rest_ns = self.dice.randrange(3_000) * MS
            scheduler.kill()

    def _snapshot(self) -> None:
        """The cold process runs once."""
        if not self._up:
            return
        try:
            for role in ("intake", "sender"):
                self.note("snapshot", role, snapshots.write(self.runtime, role) is not None)
        except Exception as error:
            raise Broken(f"the snapshot failed: {error!r}") from error

    def _silence(self) -> None:
        """The venue says nothing for a while."""
        self.note("silence")
        self.venue.silent_until_ns = self.clock.true_ns + self.dice.randrange(5_000) * MS

    def _disk_trouble(self) -> None:
        what = self.dice.choice(self.scenario.troubles.disk)
        self.note("disk", what)
        self.disk.refusals[what] = errno.ENOSPC if what == "full" else errno.EIO
        if what == "full":
            self.after(self.dice.randrange(3_000) * MS, lambda: self.disk.refusals.pop("full", None))

    def _database_trouble(self) -> None:
        until = self.clock.true_ns + self.dice.choice((100, 3_000, 60_000)) * MS
        if self.dice.random() < 0.5:
            self.note("database gone")
            self.database.gone_until_ns = until
        else:
            self.note("database slow")
            self.database.slow_until_ns = until

    def _step_clock(self) -> None:
        step = self.dice.choice((-3_600, -10, 10, 3_600)) * S
        self.note("clock", step // S)
        self.stepped_ns.append(self.clock.true_ns)
        self.clock.wall_offset_ns += step

    def _slow_client(self) -> None:
        client = self.dice.choice(self.clients)
        client.slow_until_ns = self.clock.true_ns + self.dice.randrange(8_000) * MS

    # -- what is kept -----------------------------------------------------------------------------------------------

    def note(self, *what: Any) -> None:
        """For people, and to tell two runs apart."""
        if what[0] in ("call", "report", "arrival"):
            self.progress_ns = self.clock.true_ns
        self.history.append((self.clock.true_ns, *what))
        if self.verbose:
            print(f"{self.clock.true_ns / 1e9:12.6f}", *what, flush=True)
