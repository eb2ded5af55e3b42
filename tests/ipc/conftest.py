import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def shm() -> Iterator[Path]:
    """A directory in shared memory, gone after the test."""
    path = Path(tempfile.mkdtemp(prefix="oms-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)
