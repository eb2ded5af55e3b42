"""The C header: compiles without a warning, agrees with Python on every byte, and is all that a C upstream needs."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.duplex import Duplex, Server
from ipc.lock import FileLock
from ipc.wait import Bell
from oms_actors import record
from oms_actors.edges.layout import c_example, c_header
from oms_actors.messages import ExecType, Kind, NewOrder, OrdStatus, ReportFlag
from oms_actors.record import REPORT_BYTES, REQUEST_BYTES
from tests.support import c_programs
from tests.support.c_programs import FLOOD, needs_gcc

pytestmark = [pytest.mark.process, needs_gcc]

FIXED_PROGRAM = """
#include "oms.h"
int main(void) {
    const char *texts[] = {"585.33", "1", "0.00000001", "92233720368.54775807",
                           "0.000000001", "1e3", "-1", "92233720369"};
    for (int i = 0; i < 8; i++)
        printf("%lld ", (long long)oms_fixed(texts[i]));
    struct oms_request order = oms_new_order("A-1", "AAPL", OMS_SIDE_BUY, oms_fixed("100"), oms_fixed("585.33"));
    if (OMS_TEXT(order.account, "0123456789abcdef") || OMS_TEXT(order.symbol, "0123456789abcdefg") != -1)
        return 1;
    fflush(stdout);
    return write(1, &order, sizeof order) != sizeof order;
}
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("c")
    return lambda source: c_programs.build(source, folder)


class FakeDesk:
    """What a C upstream sees of a desk: a held lock and intake's bell; and intake's end of the upstream."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.lock = FileLock(str(runtime / "supervisor.lock"))
        self.lock.acquire()
        self.bell = Bell.create(str(runtime / "intake.bell"))

    def attach(self, name: str) -> Server:
        path = self.runtime / "upstreams" / f"{name}.up"
        assert self.bell.wait(path.exists, 20), "the upstream made no file"
        server = Duplex.attach_server(str(path))
        assert self.bell.wait(server.client_alive, 20), "the upstream did not attach"
        return server


@pytest.fixture
def shm() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="oms-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def desk(shm: Path) -> Iterator[FakeDesk]:
    desk = FakeDesk(shm)
    yield desk
    desk.lock.release()


def report_on(request: bytes, sequence: int) -> bytes:
    """A final fill."""
    fields = dict(zip(record.REQUEST_NAMES, record.REQUEST.unpack(request), strict=True))
    values = dict.fromkeys(record.REPORT_NAMES, 0) | {
        "kind": Kind.REPORT, "version": record.VERSION, "side": fields["side"], "exec_type": ExecType.TRADE,
        "ord_status": OrdStatus.FILLED, "flags": ReportFlag.FINAL, "sequence": sequence, "account": b"",
        "client_order_id": fields["client_order_id"], "orig_client_order_id": b"", "symbol": fields["symbol"],
        "exec_id": b"", "quantity": fields["quantity"], "cum_quantity": fields["quantity"],
    }  # fmt: skip
    return record.REPORT.pack(*values.values())


def test_a_program_in_c_submits_orders_and_reads_reports(desk: FakeDesk, build: Callable[[str], Path]) -> None:
    count = 20_000  # four laps of the request ring, five of the report ring
    with subprocess.Popen([build(c_example()), str(desk.runtime), "alpha", str(count)], stdout=subprocess.PIPE,
                          text=True) as program, (desk.runtime / "output").open("w+") as output:  # fmt: skip
        server = desk.attach("alpha")
        sequence = 0
        pending: list[bytes] = []
        reader = threading.Thread(target=lambda: output.write(program.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        while sequence < count or pending:
            if not pending:
                assert desk.bell.wait(server.requests.ready, 20), "no request came"
                for frame in server.requests.peek_many(1 << 16):
                    for request in record.records(frame):
                        sequence += 1
                        pending.append(report_on(request, sequence))
                server.requests.commit()
            batch = b"".join(pending[:16])
            if server.reports.try_put(batch):
                del pending[:16]
        reader.join()
        assert server.client_pid == program.pid
        assert program.wait(timeout=20) == 0
        output.seek(0)
        lines = output.read().splitlines()
    assert lines[0] == f"F C-{program.pid}-0 status 2 filled 100 of 100 reason 0"
    assert lines[-1] == f"{count} requests, {count} final reports"
    assert len(lines) == count + 1
    assert not server.client_alive()


def test_c_and_python_agree_on_an_order_and_on_decimals(build: Callable[[str], Path]) -> None:
    done = subprocess.run([build(FIXED_PROGRAM)], capture_output=True, check=True)
    *numbers, order = done.stdout.split(b" ", 8)
    bad = -(2**63)
    assert [int(n) for n in numbers] == [58_533_000_000, 10**8, 1, 2**63 - 1, bad, bad, bad, bad]
    expected = record.encode(NewOrder(client_order_id="A-1", symbol="AAPL", side="BUY", quantity=100, price="585.33",
                                      account="0123456789abcdef"))  # fmt: skip
    assert order == expected


def test_without_a_desk_a_c_upstream_says_so(shm: Path, build: Callable[[str], Path]) -> None:
    done = subprocess.run([build(c_example()), str(shm), "alpha", "1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "attach: no desk runs there\n")


def test_a_name_in_use_is_refused_to_a_c_upstream_too(desk: FakeDesk, build: Callable[[str], Path]) -> None:
    flood = build(FLOOD)
    with subprocess.Popen([flood, str(desk.runtime), "alpha"]) as first:
        desk.attach("alpha")
        second = subprocess.run([flood, str(desk.runtime), "alpha"], capture_output=True, text=True, check=False)
        assert second.stdout == "a living process is attached under this name\n"
        first.kill()


def test_c_upstreams_killed_while_they_write_leave_whole_frames_and_their_successors_go_on(
    desk: FakeDesk, build: Callable[[str], Path]
) -> None:
    flood = build(FLOOD)
    for _ in range(50):
        with subprocess.Popen([flood, str(desk.runtime), "alpha"]) as program:
            server = desk.attach("alpha")
            first = next_numbers(desk, server)
            while len(first) < 20_000:
                first += next_numbers(desk, server)
            program.send_signal(signal.SIGKILL)
            program.wait()
        while server.requests.ready():
            first += next_numbers(desk, server)
        assert first == list(range(1, len(first) + 1))
        server.close()


def next_numbers(desk: FakeDesk, server: Server) -> list[int]:
    """The order numbers of what has come, committed."""
    assert desk.bell.wait(server.requests.ready, 20)
    numbers: list[int] = []
    for frame in server.requests.peek_many(1 << 16):
        assert len(frame) % REQUEST_BYTES == 0
        numbers += memoryview(frame).cast("Q")[record.AT_ORDER_NUMBER // 8 :: REQUEST_BYTES // 8].tolist()
    server.requests.commit()
    server.reports.try_put(bytes(REPORT_BYTES))
    return numbers


def test_the_sizes_of_the_header_are_those_of_a_new_file(desk: FakeDesk, build: Callable[[str], Path]) -> None:
    with subprocess.Popen([build(FLOOD), str(desk.runtime), "alpha"]) as program:
        server = desk.attach("alpha")
        assert (server.requests.capacity_bytes, server.reports.capacity_bytes) == (1 << 20, 4 << 20)
        assert server.name == "alpha"
        assert os.stat(server.path).st_mode & 0o777 == 0o600
        program.kill()


RETURNS_PROGRAM = r"""
#include "oms.h"
/* RUNTIME_DIR NAME: submits and looks for reports once for every byte on stdin, and says what came of it. */
int main(int argc, char **argv) {
    static struct oms_report reports[16];
    struct oms_upstream up;
    char byte;
    int error = oms_attach(&up, argv[1], argv[2]);
    printf("%d\n", error);
    fflush(stdout);
    while (argc == 3 && !error && read(0, &byte, 1) == 1) {
        struct oms_request order = oms_new_order("A-1", "AAPL", OMS_SIDE_BUY, OMS_ONE, OMS_ONE);
        printf("%d %d\n", oms_submit(&up, &order, 1), oms_peek(&up, reports, 16));
        fflush(stdout);
    }
    return 0;
}
"""


def test_a_stopped_desks_file_takes_no_more_requests_whoever_runs_now(
    desk: FakeDesk, build: Callable[[str], Path]
) -> None:
    program = [build(RETURNS_PROGRAM), desk.runtime, "c-1"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == b"0\n"
        child.stdin.write(b".")
        assert child.stdout.readline() == b"0 0\n"
        (desk.runtime / "upstreams" / "c-1.up").unlink()  # as an orderly stop does; the lock stays held: a new desk
        child.stdin.write(b".")
        assert child.stdout.readline() == b"-6 -6\n", "OMS_NO_DESK"
        child.stdin.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_c_upstream_of_another_user_is_refused(desk: FakeDesk, build: Callable[[str], Path]) -> None:
    os.chown(desk.runtime, 65534, 65534)
    done = subprocess.run([build(RETURNS_PROGRAM), desk.runtime, "c-1"], capture_output=True, check=True)
    assert done.stdout == b"-8\n"
    assert not (desk.runtime / "upstreams").exists()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize("standard", ["gnu++11", "c++20"])
def test_the_header_and_the_example_are_c_plus_plus_too(tmp_path: Path, standard: str) -> None:
    (tmp_path / "oms.h").write_text(c_header())
    (tmp_path / "example.cc").write_text(c_example())
    command = ["g++", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(tmp_path / "example.cc")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
