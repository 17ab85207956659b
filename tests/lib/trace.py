# SPDX-License-Identifier: GPL-2.0
"""The module's trace lines as data."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from lib.control import flush
from lib.kmsg import Kmsg

PREFIX = "ctrfw: trace "
LEFT_OUT = re.compile(r"ctrfw: trace: (\d+) lines? left out")

# The whole line, field by field: a line that does not fit is a fault of the module.
LINE = re.compile(
    r"""
    id=(?P<id>[0-9a-f]{16})
    [ ]netns=(?P<netns>\d+)(?P<host>\(host\))?
    [ ]hook=(?P<hook>PRE_ROUTING|LOCAL_IN|FORWARD|POST_ROUTING|LOCAL_OUT)
    [ ]in=(?P<input>\S+)
    [ ]out=(?P<output>\S+)
    [ ]dev=(?P<dev>\S+)
    [ ]physin=(?P<physin>\S+)
    [ ]physout=(?P<physout>\S+)
    [ ]src=(?P<src>\S+)
    [ ]dst=(?P<dst>\S+)
    [ ]proto=(?P<proto>\S+)
    (?:[ ]frag=(?P<frag>first|\d+))?
    (?:[ ]spt=(?P<spt>\d+)[ ]dpt=(?P<dpt>\d+)(?:[ ]flags=(?P<flags>\S+))?)?
    (?:[ ]type=(?P<type>\d+)[ ]code=(?P<code>\d+))?
    [ ]len=(?P<len>\d+)
    (?:[ ]unparsed=(?P<unparsed>[a-z-]+))?
    [ ]verdict=(?P<verdict>allow|deny|reject|queue|would-deny|would-reject|would-queue)
    [ ]rule=(?P<rule>\d+|default|failsafe)
    """,
    re.VERBOSE,
)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


@dataclass(frozen=True)
class TraceLine:
    """A packet's passage through one hook."""

    id: str
    netns: int
    host: bool
    hook: str
    input: str
    output: str
    dev: str
    physin: str
    physout: str
    src: str
    dst: str
    proto: str
    frag: str | None
    spt: int | None
    dpt: int | None
    flags: str | None
    type: int | None
    code: int | None
    len: int
    unparsed: str | None
    verdict: str
    rule: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses a line of the log that begins with [`PREFIX`]."""
        match = LINE.fullmatch(text.removeprefix(PREFIX))
        assert match, f"not a trace line: {text!r}"
        found = match.groupdict()
        numbers = {
            name: _number(found[name]) for name in ("spt", "dpt", "type", "code")
        }
        return cls(
            **{
                **found,
                **numbers,
                "netns": int(found["netns"]),
                "len": int(found["len"]),
                "host": found["host"] is not None,
            }
        )


def lines_of(texts: Iterable[str]) -> list[TraceLine]:
    """The trace lines among lines of the log."""
    return [TraceLine.parse(text) for text in texts if text.startswith(PREFIX)]


def left_out_of(texts: Iterable[str]) -> int:
    """How many lines were left out, by the lines that say so."""
    return sum(int(match[1]) for text in texts if (match := LEFT_OUT.match(text)))


class Tracer:
    """Reads trace lines from now on."""

    def __init__(self) -> None:
        flush()
        self._log = Kmsg()

    def close(self) -> None:
        """Ends the reading."""
        self._log.close()

    def skip(self) -> None:
        """Forgets what has not been read."""
        flush()
        self._log.skip()

    def lines(self) -> list[TraceLine]:
        """The trace lines since the last call."""
        return lines_of(self.texts())

    def texts(self) -> list[str]:
        """All that the kernel said since the last call."""
        flush()
        return self._log.texts()

    def printed(self) -> list[TraceLine]:
        """The trace lines since the last call that came into the log without being asked for."""
        return lines_of(self._log.texts())
