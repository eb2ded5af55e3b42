"""Files in shared memory, kernel locks, and who a process is."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import lock, proc, segment
from ipc.errors import AlreadyLocked, NoDescriptors, NoSpace, NotThere, ParentGone
from ipc.ring import create_ring, open_writer
from ipc.wait import Bell


def test_a_segment_appears_only_when_it_is_complete(shm: Path) -> None:
    def init(view: memoryview) -> None:
        assert not (shm / "a").exists()
        view[:4] = b"full"

    segment.create(str(shm / "a"), 4096, init).close()
    assert (shm / "a").read_bytes()[:4] == b"full"
    assert os.listdir(shm) == ["a"]


def test_a_failed_creation_leaves_nothing_behind_and_the_old_one_alone(shm: Path) -> None:
    create_ring(str(shm / "a"), 1024)

    def init(view: memoryview) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        segment.create(str(shm / "a"), 4096, init)
    assert os.listdir(shm) == ["a"]
    open_writer(str(shm / "a")).close()


def test_no_space_is_a_named_refusal_and_existing_rings_go_on(shm: Path) -> None:
    create_ring(str(shm / "old"), 1024)
    writer = open_writer(str(shm / "old"))
    with pytest.raises(NoSpace, match=r"no space for .*/new: wanted \d+ bytes"):
        segment.create(str(shm / "new"), 1 << 50, lambda view: None)
    assert os.listdir(shm) == ["old"]
    writer.put(b"goes on")


@pytest.fixture
def no_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_no_descriptors_left_is_a_named_refusal(shm: Path, no_descriptors: None) -> None:
    with pytest.raises(NoDescriptors, match="no descriptors left"):
        create_ring(str(shm / "new"), 1024)
    with pytest.raises(NoDescriptors):
        segment.attach(str(shm / "old"))


def test_a_directory_that_is_not_there_is_named(shm: Path) -> None:
    with pytest.raises(NotThere):
        create_ring(str(shm / "none" / "a"), 1024)


def test_a_lock_has_one_holder_and_names_it(shm: Path) -> None:
    path = str(shm / "a.lock")
    first, second = lock.FileLock(path), lock.FileLock(path)
    assert lock.holder(path) is None
    first.acquire()
    with pytest.raises(AlreadyLocked, match=f"process {os.getpid()}"):
        second.acquire()
    assert lock.holder(path) == os.getpid()
    first.release()
    assert lock.holder(path) is None
    with second:
        assert second.held


@pytest.mark.process
def test_a_killed_holder_leaves_no_lock_behind(shm: Path) -> None:
    path = str(shm / "a.lock")
    holds = f"from ipc.lock import FileLock; l = FileLock({path!r}); l.acquire(); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert lock.holder(path) == child.pid
        child.kill()
        child.wait()
    assert lock.holder(path) is None


def test_a_process_is_told_from_another_with_its_number() -> None:
    ticks = proc.process_start_ticks(os.getpid())
    assert proc.is_same_process(os.getpid(), ticks)
    assert not proc.is_same_process(os.getpid(), ticks + 1)
    assert proc.process_start_ticks(2**22 + 1) == 0
    assert not proc.is_same_process(2**22 + 1, 0)


def test_a_parent_that_is_gone_is_noticed() -> None:
    with pytest.raises(ParentGone):
        proc.set_pdeathsig(0, expected_ppid=2**22 + 1)


def test_a_segment_that_nobody_holds_any_more_takes_its_descriptors_along(shm: Path) -> None:
    Bell.create(str(shm / "a.bell"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Bell.attach(str(shm / "a.bell")).ring()
    assert len(os.listdir("/proc/self/fd")) == before
    words = segment.create(str(shm / "b"), 64, lambda view: None).view.cast("Q")
    words[0] = 7
    assert (shm / "b").read_bytes()[:1] == b"\x07", "a view outlives its segment"
