# SPDX-License-Identifier: GPL-2.0
"""Texts that must be refused: each file in bogons/ is one, and says so itself.

The first line of a file is `# expect: MESSAGE`: what the status file must show, up to the comma
before what was expected instead. Proven for each: EINVAL from write(2), line, column and
offending text in the status file, and that the table in force has not changed.
"""

import errno
from pathlib import Path

import pytest

from lib import control
from lib.control import RULES, TRACE, Status

BOGONS = sorted((Path(__file__).parent.parent / "bogons").glob("*.rules"))
OLD = ["deny from 192.0.2.1", "default allow hook local_in"]


def expectation(text: bytes) -> str:
    """What the first line says."""
    first = text.split(b"\n", 1)[0].decode()
    assert first.startswith("# expect: "), first
    return first.removeprefix("# expect: ")


@pytest.fixture
def generation() -> int:
    """The old table is in force; its generation."""
    control.load_rules(*OLD)
    return Status.read().generation


@pytest.mark.parametrize("bogon", BOGONS, ids=lambda path: path.stem)
def test_rules(generation: int, bogon: Path) -> None:
    """A text that is no table."""
    text = bogon.read_bytes()
    with pytest.raises(OSError) as caught:
        control.write(RULES, text)
    assert caught.value.errno == errno.EINVAL
    status = Status.read()
    message, comma, expected = status.last_error.partition(", expected ")
    assert message == f"rules {expectation(text)}"
    assert comma and expected
    assert status.generation == generation
    assert control.rules() == OLD


# What the trace file refuses beyond what the rules do.
TRACE_BOGONS = {
    "deny from 10.0.0.1": 'line 1 column 1: got "deny"',
    "default allow": 'line 1 column 1: got "default"',
    "on": 'line 1 column 1: got "on"',
    "all from 10.0.0.1": 'line 1 column 5: got "from"',
    "off now": 'line 1 column 5: got "now"',
    "from 10.0.0.1 off": 'line 1 column 15: got "off"',
    "from 10.0.0.300": 'line 1 column 6: got "10.0.0.300"',
    "all\nproto": "line 2 column 6: got the end of the line",
}


@pytest.mark.parametrize("text", TRACE_BOGONS)
def test_trace(text: str) -> None:
    """A text that asks for no trace."""
    control.trace("proto tcp dport 22")
    with pytest.raises(OSError) as caught:
        control.write(TRACE, f"{text}\n")
    assert caught.value.errno == errno.EINVAL
    assert (
        Status.read().last_error.partition(", expected ")[0]
        == f"trace {TRACE_BOGONS[text]}"
    )
    assert TRACE.read_text() == "proto tcp dport 22\n"


def test_there_are_bogons() -> None:
    """An empty folder must not pass for success."""
    assert len(BOGONS) >= 50
