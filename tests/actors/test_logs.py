"""What may be in a log: everything but secrets."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oms_actors.actors import logs

SECRETS = [
    "password=hunter2",
    "password = 'hunter2 with spaces'",
    'passwd: "hunter2"',
    '{"password": "hunter2", "user": "oms"}',
    "{'db_password': 'hunter2'}",
    "postgresql://oms:hunter2@db/oms",
    "api_key=hunter2&limit=5",
    "API-KEY=x token=hunter2",
    "secret: hunter2, next",
    "SessionConfig(username='oms', password='hunter2', zone='UTC')",
    "passphrase=b'hunter2'",
    "8=FIX.4.4\x01553=oms\x01554=hunter2\x0110=001\x01",
    "8=FIX.4.4|553=oms|554=hunter2|925=hunter2|10=001|",
    r"b'8=FIX.4.4\x01554=hunter2\x01925=hunter2\x0110=001\x01'",
    "8=FIX.4.4^A554=hunter2^A10=001",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked(text: str) -> None:
    assert "hunter2" not in logs.redact(text)
    assert "***" in logs.redact(text)


@pytest.mark.parametrize(
    "text",
    ["order 17 accepted", "http://localhost:8080/status", "3 tokens left", "a@b: c", "8=FIX.4.4|38=554|1554=5|10=001"],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert logs.redact(text) == text


def test_what_stands_beside_a_secret_stays() -> None:
    assert logs.redact("user=oms password=x host=db") == "user=oms password=*** host=db"
    assert logs.redact("mysql://oms:x@db:3306/oms") == "mysql://oms:***@db:3306/oms"


def test_beside_a_fix_password_the_message_stays() -> None:
    assert logs.redact("553=oms|554=x|10=1") == "553=oms|554=***|10=1"
    assert logs.redact(r"553=oms\x01554=x\x0110=1") == r"553=oms\x01554=***\x0110=1"


SETTINGS = {
    "session": {"username": "oms", "password": "s3cr3t'PW!"},
    "venue": {"password": "abc"},
    "exchange": {"options": {"dsn": "fix://oms:d%40sn-pw@host", "keys": [{"api_key": "k3y-k3y"}]}},
}


@pytest.fixture
def settings_known() -> Iterator[None]:
    logs.know(logs.secrets_of(SETTINGS))
    yield
    logs.know(())


@pytest.mark.parametrize("text", [
    "raw s3cr3t'PW!", repr("x s3cr3t'PW!\"y"), "a=s3cr3t%27PW%21&b", "d@sn-pw", "d%40sn-pw", "<k3y-k3y>",
])  # fmt: skip
def test_a_configured_secret_is_masked_wherever_it_turns_up(settings_known: None, text: str) -> None:
    shown = logs.redact(text)
    assert "***" in shown
    assert not any(part in shown for part in ("s3cr3t", "sn-pw", "k3y"))


def test_a_secret_of_three_letters_does_not_mask_half_of_the_log(settings_known: None) -> None:
    assert logs.redact("abc of the oms") == "abc of the oms"


def test_what_is_printed_is_masked_too(settings_known: None, capsys: pytest.CaptureFixture[str]) -> None:
    output = logs.Redacted(sys.stdout)
    print("PRINT", "k3y-k3y", file=output)
    print("half of a line: k3y", end="", file=output)
    print("-k3y", end="", file=output)
    output.flush()
    assert capsys.readouterr().out == "PRINT ***\nhalf of a line: ***"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_json_lines_have_time_level_role_and_traceback(root_logger: logging.Logger, tmp_path: Path) -> None:
    last = logs.configure("sender", "INFO", tmp_path)
    log = logging.getLogger("sender")
    log.debug("not wanted")
    log.info("password=%s", "hunter2")
    try:
        raise ValueError("secret=hunter2")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, (tmp_path / "sender.jsonl").read_text().splitlines())
    assert (first["level"], first["role"], first["message"]) == ("INFO", "sender", "password=***")
    assert "ValueError: secret=***" in second["traceback"]
    assert "hunter2" not in "".join(last.lines)


def test_only_the_last_lines_are_kept(root_logger: logging.Logger, tmp_path: Path) -> None:
    last = logs.configure("sender", "INFO", tmp_path)
    for i in range(2 * logs.LAST_LINES):
        logging.getLogger("sender").info("line %d", i)
    assert len(last.lines) == logs.LAST_LINES
    assert last.lines[-1].endswith(f"line {2 * logs.LAST_LINES - 1}")


def test_files_are_rotated(root_logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 500)
    logs.configure("sender", "INFO", tmp_path)
    for i in range(100):
        logging.getLogger("sender").info("line %d", i)
    assert len(list(tmp_path.glob("sender.jsonl*"))) == 1 + logs.FILES_KEPT
