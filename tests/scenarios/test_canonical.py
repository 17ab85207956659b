# SPDX-License-Identifier: GPL-2.0
"""The canonical form: how a table reads, whatever it was written like.

Each line of canonical.txt is `input;canonical`. Proven for each: it reads back as the canonical
form, which loads back to itself; and all of them together make one table that does so, too.
"""

import re
from pathlib import Path

import pytest

from lib import control
from lib.control import RULES, TRACE

TABLE = Path(__file__).parent.parent / "canonical.txt"


def pairs() -> list[tuple[str, str]]:
    """The lines of the file, escapes resolved."""
    lines = [
        line for line in TABLE.read_text().splitlines() if not line.startswith("//")
    ]
    halves = (line.rpartition(";") for line in lines if line)
    return [
        (written.encode().decode("unicode_escape"), read) for written, _, read in halves
    ]


PAIRS = pairs()


@pytest.mark.parametrize(
    ("written", "read"), PAIRS, ids=[written for written, _ in PAIRS]
)
def test_line(written: str, read: str) -> None:
    """One line."""
    expected = f"{read}\n" if read else ""
    control.write(RULES, f"{written}\n")
    assert RULES.read_text() == expected
    control.write(RULES, expected)
    assert RULES.read_text() == expected


def scope(default: str) -> str:
    """What stands behind `default`, its verb and its answer."""
    return re.sub(r"^default \S+( with \S+)?", "", default)


def priority(rule: str) -> int:
    """What a rule says of its priority."""
    said = re.search(r" priority (-?\d+)", rule)
    return int(said[1]) if said else 0


def test_all_together() -> None:
    """One table of them all: mode, failsafe, sets, rules as they are judged, defaults."""
    rest = [pair for pair in PAIRS if not pair[1].startswith(("default", "mode"))]
    # The usual mode reads as nothing, and a table has but one.
    rest.remove(("mode enforce", ""))
    # Of defaults there can be one for each scope.
    defaults = {scope(read): (written, read)
                for written, read in PAIRS if read.startswith("default")}  # fmt: skip
    mixed = [*rest, *defaults.values(), ("mode audit", "mode audit")]
    control.load_rules(*(written for written, _ in reversed(mixed)))
    lines = [read for _, read in reversed(rest) if read]
    expected = [
        "mode audit",
        *(line for line in lines if line.startswith("failsafe")),
        *(line for line in lines if line.startswith("set")),
        *sorted(
            (line for line in lines if not line.startswith(("failsafe", "set"))),
            key=priority,
            reverse=True,
        ),
        *reversed([read for _, read in defaults.values()]),
    ]
    assert control.rules() == expected
    control.write(RULES, RULES.read_bytes())
    assert control.rules() == expected


def test_counters_show_the_canonical_form() -> None:
    """The counters file shows each statement as the rules file does."""
    control.load_rules("deny dport 80-80 from 10.1.2.3/8", "default deny hook input")
    assert [counter.text for counter in control.counters()] == [
        *control.rules(),
        "default allow",
    ]


TRACES = {
    "all": "all",
    "off": "off",
    "# nothing": "off",
    "dport 22 proto 6": "proto tcp dport 22",
    "hook output,input": "hook { local_in, local_out }",
    "from !10.0.0.0/8,::1 dport {80}": "from !{ 10.0.0.0/8, ::1 } dport 80",
    "hook pre_routing,local_in,forward,post_routing,local_out": "all",
    "in eth* netns container": "in eth* netns container",
    "  to FE80::1/128\tfrom fe80::/10": "from fe80::/10 to fe80::1",
}


@pytest.mark.parametrize("written", TRACES)
def test_trace(written: str) -> None:
    """The trace file has the same form, without a verb."""
    control.write(TRACE, f"{written}\n")
    assert TRACE.read_text() == f"{TRACES[written]}\n"
