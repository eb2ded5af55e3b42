"""What `from oms_actors import …` gives."""

import subprocess
import sys

import pytest

import oms_actors


def test_every_exported_name_exists() -> None:
    for name in oms_actors.__all__:
        assert getattr(oms_actors, name) is not None, name


def test_an_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = oms_actors.Nonsense  # type: ignore[attr-defined]


@pytest.mark.process
def test_importing_the_package_alone_imports_nothing_else() -> None:
    code = "import oms_actors, sys; print([m for m in sys.modules if m.startswith(('oms_actors.', 'ipc', 'msgspec'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
