"""`oms doctor`: each judgement over any machine's figures, then this machine, which it must leave as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ipc import proc
from ipc.errors import Unsupported
from ipc.lock import FileLock
from oms_actors import doctor
from oms_actors.doctor import MIB, Check, Stale, judge_libraries, run_checks, stale_instances
from supervisor import published

HERE = Path("/dev/shm")


@pytest.mark.parametrize(("check", "status"), [
    (doctor.judge_python((3, 11), "CPython"), "ok"),
    (doctor.judge_python((3, 13), "CPython"), "ok"),
    (doctor.judge_python((3, 10), "CPython"), "fail"),
    (doctor.judge_python((3, 14), "CPython"), "fail"),
    (doctor.judge_python((3, 11), "PyPy"), "fail"),
    (judge_libraries("4.5.2", "1.5.2"), "ok"),
    (judge_libraries("4.6.0", "1.5.2"), "fail"),
    (judge_libraries("4.5.0", "1.5.3"), "fail"),
    (doctor.judge_kernel("5.3"), "ok"),
    (doctor.judge_kernel("6.18.44-generic"), "ok"),
    (doctor.judge_kernel("5.2.9-x"), "fail"),
    (doctor.judge_kernel("strange"), "fail"),
    (doctor.judge_cpus(2), "ok"),
    (doctor.judge_cpus(1), "warn"),
    (doctor.judge_limits(-1, -1), "ok"),
    (doctor.judge_limits(4096, 65536), "ok"),
    (doctor.judge_limits(1024, 65536), "warn"),
    (doctor.judge_limits(255, 65536), "fail"),
    (doctor.judge_clock_source("tsc", 45), "ok"),
    (doctor.judge_clock_source("acpi_pm", 900), "warn"),
    (doctor.judge_clock(True, 12_000), "ok"),
    (doctor.judge_clock(False, 16_000_000), "warn"),
    (doctor.judge_shared_memory(HERE, "tmpfs", 1024 * MIB, 512 * MIB, True), "ok"),
    (doctor.judge_shared_memory(HERE, "tmpfs", 1024 * MIB, 511 * MIB, True), "warn"),
    (doctor.judge_shared_memory(HERE, "tmpfs", 64 * MIB, 63 * MIB, True), "fail"),
    (doctor.judge_shared_memory(HERE, "ext4", 1024 * MIB, 1024 * MIB, True), "warn"),
    (doctor.judge_shared_memory(HERE, "tmpfs", 1024 * MIB, 1024 * MIB, False), "fail"),
    (doctor.judge_stale([]), "ok"),
    (doctor.judge_stale([Stale(HERE / "desk", 3, 4096, "up")]), "warn"),
    (doctor.judge_logout(999, True), "ok"),
    (doctor.judge_logout(1000, False), "ok"),
    (doctor.judge_logout(1000, True), "warn"),
    (doctor.judge_disk(HERE, "ext4", 2048 * MIB), "ok"),
    (doctor.judge_disk(HERE, "ext4", 2047 * MIB), "warn"),
    (doctor.judge_disk(HERE, "ext4", 255 * MIB), "fail"),
    (doctor.judge_disk(HERE, "tmpfs", 9999 * MIB), "warn"),
    (doctor.judge_fdatasync(2000), "ok"),
    (doctor.judge_fdatasync(2001), "warn"),
], ids=lambda value: value.text if isinstance(value, Check) else value)
def test_a_machine_is_judged_and_what_is_not_well_comes_with_advice(check: Check, status: str) -> None:
    assert check.status == status
    assert bool(check.advice) == (status != "ok")


def leave(base: Path, name: str, state: str) -> Path:
    """An instance as its supervisor left it: this test's own pid, so a pid alone would pass for alive."""
    folder = base / name
    folder.mkdir(parents=True)
    (folder / "intake.ring").write_bytes(b"\0" * 4096)
    (folder / published.LOCK_NAME).touch()
    (folder / published.FILE_NAME).write_text(json.dumps({
        "pid": os.getpid(), "start_ticks": proc.process_start_ticks(os.getpid()), "boot_id": proc.boot_id(),
        "state": state, "children": []}))
    return folder


def test_an_instance_is_stale_if_nobody_holds_its_lock(tmp_path: Path) -> None:
    dead, living = leave(tmp_path, "dead", "up"), leave(tmp_path, "living", "up")
    (tmp_path / "not ours").mkdir()
    lock = FileLock(str(living / published.LOCK_NAME))
    lock.acquire()
    found = list(stale_instances(tmp_path))
    assert [(one.folder, one.files, one.state) for one in found] == [(dead, 3, "up")]
    assert found[0].bytes > 4096
    lock.release()
    assert [one.folder.name for one in stale_instances(tmp_path)] == ["dead", "living"]
    assert list(stale_instances(tmp_path / "nowhere")) == []


def test_the_advice_for_a_stale_instance_names_what_to_type(tmp_path: Path) -> None:
    check = doctor.judge_stale([Stale(tmp_path / "desk", 3, 8192, "")])
    assert check.text == "desk: 3 files, 8 KiB, last known as never up"
    assert f"rm -r {tmp_path}/desk" in check.advice
    assert "oms run --instance desk" in check.advice


def test_this_machine_is_looked_at_and_left_as_it_was(tmp_path: Path) -> None:
    base, data = tmp_path / "shm", tmp_path / "data" / "not" / "there"
    leave(base, "dead", "up")
    before = sorted(tmp_path.rglob("*"))
    checks = {check.name: check for check in run_checks(base, data)}
    assert sorted(tmp_path.rglob("*")) == before
    assert len(checks) == 15
    assert [checks[name].status for name in ("platform", "python", "libraries", "kernel", "membarrier", "mailbox")] == \
        ["ok"] * 6
    assert checks["stale instances"].text.startswith("dead: 3 files")
    assert checks["fdatasync"].text.endswith(f"µs (median of {doctor.FDATASYNC_SAMPLES})")
    assert all(check.status in ("ok", "warn", "fail") and check.text for check in checks.values())


def test_a_check_that_cannot_be_made_fails_with_the_reason_and_the_others_go_on(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise Unsupported("no membarrier here")

    def full(folder: Path, samples: int) -> list[float]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor.wait, "register_for_barriers", refuse)
    monkeypatch.setattr(doctor, "measure_fdatasync_us", full)
    checks = {check.name: check for check in run_checks(tmp_path, tmp_path)}
    assert checks["membarrier"] == Check("membarrier", "fail", "no membarrier here", checks["membarrier"].advice)
    assert (checks["fdatasync"].status, "No space left" in checks["fdatasync"].text) == ("fail", True)
    assert checks["kernel"].status == "ok"


def test_the_file_system_of_a_path_is_the_deepest_mount_that_holds_it() -> None:
    assert doctor.file_system(Path("/dev/shm")) == "tmpfs"
    assert doctor.file_system(Path("/proc/self")) == "proc"
