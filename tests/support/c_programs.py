"""C programs on the generated header, for tests; `GCC` is None where there is no compiler."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from oms_actors.edges.layout import c_header

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc: the C header is not compiled here")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Werror")

FLOOD = r"""
#include "oms.h"
/* RUNTIME_DIR NAME [deaf]: for ever frames of 1 to 40 orders, numbered; reads its reports unless it is deaf. */
int main(int argc, char **argv) {
    static struct oms_request orders[40];
    static struct oms_report reports[4096];
    struct oms_upstream up;
    char id[37];
    int error = oms_attach(&up, argv[1], argv[2]);
    if (error)
        return printf("%s\n", oms_error(error)), 1;
    for (uint64_t next = 1; argc > 0;) {
        int count = 1 + (int)(next * 7 % 40);
        for (int i = 0; i < count; i++) {
            snprintf(id, sizeof id, "%d-%llu", getpid(), (unsigned long long)next + (unsigned long long)i);
            orders[i] = oms_new_order(id, "AAPL", OMS_SIDE_BUY, OMS_ONE, OMS_ONE);
            orders[i].order_number = next + (uint64_t)i;
        }
        error = oms_submit(&up, orders, (size_t)count);
        if (error == 0)
            next += (uint64_t)count;
        else if (error != OMS_FULL)
            return printf("%s\n", oms_error(error)), 1;
        if (error == OMS_FULL)
            oms_wait(&up, 1);
        while (argc == 3 && oms_peek(&up, reports, 4096) > 0)
            oms_commit(&up);
    }
}
"""


def build(source: str, folder: Path) -> Path:
    """The compiled program; the same source in the same folder is compiled once."""
    program = folder / hashlib.sha256(source.encode()).hexdigest()[:16]
    if not program.exists():
        (folder / "oms.h").write_text(c_header())
        (folder / "program.c").write_text(source)
        command = [str(GCC), *FLAGS, "-o", str(program), str(folder / "program.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return program
