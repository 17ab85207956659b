# SPDX-License-Identifier: GPL-2.0
"""The files of /proc/ctrfw: written as a shell would, read as data."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DIRECTORY = Path("/proc/ctrfw")
RULES = DIRECTORY / "rules"
STATUS = DIRECTORY / "status"
COUNTERS = DIRECTORY / "counters"
TRACE = DIRECTORY / "trace"
EVENTS = DIRECTORY / "events"
FILES = (RULES, STATUS, COUNTERS, TRACE, EVENTS)

HOOKS = ("pre_routing", "local_in", "forward", "post_routing", "local_out")

# Each probe of a path ends with a packet to this port: all tables that tests load let it pass.
SENTINEL_PORT = 9
SENTINEL_RULE = f"allow proto udp dport {SENTINEL_PORT}"


def write(path: Path, text: str | bytes, append: bool = False) -> None:
    """`>` or `>>`, as one transaction, by as few writes as the kernel lets us."""
    data = text.encode() if isinstance(text, str) else text
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
    fd = os.open(path, flags)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def load_rules(*lines: str, append: bool = False) -> None:
    """Puts a table in force."""
    write(RULES, "".join(f"{line}\n" for line in lines), append)


def trace(*lines: str) -> None:
    """Asks for a trace; nothing at all turns it off."""
    write(TRACE, "".join(f"{line}\n" for line in lines or ("off",)))


def flush() -> None:
    """Has the kernel's log hold all that has been traced by now."""
    if STATUS.exists():
        STATUS.read_text()


def rules() -> list[str]:
    """The table as it reads."""
    return RULES.read_text().splitlines()


@dataclass(frozen=True)
class HookStatus:
    """What one hook has done."""

    seen: int
    dropped: int
    unparsed: int
    would_drop: int

    def __sub__(self, other: Self) -> "HookStatus":
        return HookStatus(
            self.seen - other.seen,
            self.dropped - other.dropped,
            self.unparsed - other.unparsed,
            self.would_drop - other.would_drop,
        )


@dataclass(frozen=True)
class Status:
    """/proc/ctrfw/status"""

    version: str
    mode: str
    warning: str | None
    generation: int
    rules: int
    memory: int
    flow_cache: int
    namespaces: int
    trace: int
    printed: int
    left_out: int
    lost: int
    events_memory: int
    logged: int
    log_left_out: int
    log_untold: int
    hooks: dict[str, HookStatus]
    last_error: str

    @classmethod
    def read(cls) -> Self:
        """Reads it, and insists on every line being there in its place."""
        lines = STATUS.read_text().splitlines()
        # Only where there is something to warn of.
        warning = None
        if lines[2].startswith("warning "):
            warning = lines.pop(2).split(" ", 1)[1]
        plain = (
            "version",
            "mode",
            "generation",
            "rules",
            "memory",
            "flow_cache",
            "namespaces",
        )
        assert [line.split(" ")[0] for line in lines] == [
            *plain,
            "trace",
            "events",
            "log",
            *["hook"] * len(HOOKS),
            "last_error",
        ], lines
        values = {
            name: line.split(" ", 1)[1]
            for name, line in zip(plain, lines, strict=False)
        }
        count, printed_word, printed, left_out_word, left_out = lines[7].split(" ")[1:]
        assert (printed_word, left_out_word) == ("printed", "left_out"), lines[7]
        words = lines[8].split(" ")
        assert words[1::2] == ["lost", "memory"], lines[8]
        lost, events_memory = (int(word) for word in words[2::2])
        words = lines[9].split(" ")
        assert words[1::2] == ["printed", "left_out", "untold"], lines[9]
        logged, log_left_out, log_untold = (int(word) for word in words[2::2])
        hooks = {}
        for name, line in zip(HOOKS, lines[10:15], strict=True):
            words = line.split(" ")
            assert words[:2] == ["hook", name], line
            assert words[2::2] == ["seen", "dropped", "unparsed", "would_drop"], line
            hooks[name] = HookStatus(*(int(word) for word in words[3::2]))
        return cls(
            version=values["version"],
            mode=values["mode"],
            warning=warning,
            generation=int(values["generation"]),
            rules=int(values["rules"]),
            memory=int(values["memory"]),
            flow_cache=int(values["flow_cache"]),
            namespaces=int(values["namespaces"]),
            trace=int(count),
            printed=int(printed),
            left_out=int(left_out),
            lost=lost,
            events_memory=events_memory,
            logged=logged,
            log_left_out=log_left_out,
            log_untold=log_untold,
            hooks=hooks,
            last_error=lines[15].split(" ", 1)[1],
        )

    @property
    def seen(self) -> int:
        """Packets seen at all hooks together."""
        return sum(hook.seen for hook in self.hooks.values())

    @property
    def dropped(self) -> int:
        """Packets dropped at all hooks together."""
        return sum(hook.dropped for hook in self.hooks.values())

    @property
    def would_drop(self) -> int:
        """Packets at all hooks together that an audit would have dropped."""
        return sum(hook.would_drop for hook in self.hooks.values())

    @property
    def unparsed(self) -> int:
        """Packets that could not be parsed at all hooks together."""
        return sum(hook.unparsed for hook in self.hooks.values())


@dataclass(frozen=True)
class Counter:
    """A line of /proc/ctrfw/counters"""

    number: str
    packets: int
    bytes: int
    text: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parses `1 packets 12 bytes 3456 deny from 10.0.0.0/8`."""
        number, packets_word, packets, bytes_word, octets, text = line.split(" ", 5)
        assert (packets_word, bytes_word) == ("packets", "bytes"), line
        return cls(number, int(packets), int(octets), text)


def counters() -> list[Counter]:
    """All counters, the rules' first."""
    return [Counter.parse(line) for line in COUNTERS.read_text().splitlines()]


def reset() -> list[Counter]:
    """All counters, which begin anew at what they say; BlockingIOError if others were faster."""
    with open(COUNTERS, "r+b", buffering=0) as file:
        text = file.readall().decode()
        file.write(b"reset\n")
    return [Counter.parse(line) for line in text.splitlines()]
