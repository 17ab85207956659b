# SPDX-License-Identifier: GPL-2.0
"""`if generation N`: what is written takes effect only if nobody else was faster."""

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from lib import control
from lib.background import Background, Stop
from lib.control import RULES, STATUS, Status
from lib.poll import PATIENCE, until

OLD = ["deny from 192.0.2.1", "default allow hook local_in"]
STALE = "line 1: the table in force is generation {}, not {}"


@pytest.fixture
def generation() -> Iterator[int]:
    """The old table is in force; its generation."""
    control.load_rules(*OLD)
    yield Status.read().generation
    control.load_rules()


def refused(*lines: str, append: bool = False) -> str:
    """What is said of lines that come too late."""
    with pytest.raises(OSError) as caught:
        control.load_rules(*lines, append=append)
    assert caught.value.errno == errno.ESTALE
    return Status.read().last_error


@pytest.mark.parametrize("append", [False, True], ids=[">", ">>"])
def test_the_right_one(generation: int, append: bool) -> None:
    """All that follows takes effect, and the condition is not listed."""
    control.load_rules(f"if generation {generation}", "allow", append=append)
    assert control.rules() == ([OLD[0], "allow", OLD[1]] if append else ["allow"])
    status = Status.read()
    assert (status.generation, status.last_error) == (generation + 1, "none")


@pytest.mark.parametrize("append", [False, True], ids=[">", ">>"])
def test_another_one(generation: int, append: bool) -> None:
    """An older one, and one that is not there yet."""
    for other in (generation - 1, generation + 1, 2**64 - 1):
        error = refused(f"if generation {other}", "allow", append=append)
        assert error == f"rules {STALE.format(generation, other)}"
        assert control.rules() == OLD
        assert Status.read().generation == generation


@pytest.mark.parametrize("append", [False, True], ids=[">", ">>"])
def test_somebody_else_was_faster(generation: int, append: bool) -> None:
    """Between the line and close(2): close cannot tell, the status file does."""
    fd = os.open(RULES, os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))
    os.write(fd, f"if generation {generation}\nallow\n".encode())
    control.load_rules("deny from 192.0.2.2")
    os.close(fd)
    assert control.rules() == ["deny from 192.0.2.2"]
    status = Status.read()
    assert status.generation == generation + 1
    stale = f"the table in force is generation {generation + 1}, not {generation}"
    assert status.last_error == f"rules {stale}"


def test_a_table_that_failed_does_not_count(generation: int) -> None:
    """Only what was put in force makes a generation."""
    with pytest.raises(OSError):
        control.load_rules("bogus")
    control.load_rules(f"if generation {generation}", "allow")
    assert control.rules() == ["allow"]


def _compete(name: str, stop: Stop) -> int:
    """Adds rules that name the generation they were written for; how many came too late at once."""
    late = 0
    while not stop:
        text = STATUS.read_text()
        seen = int(text.partition("generation ")[2].split("\n", 1)[0])
        fd = os.open(RULES, os.O_WRONLY | os.O_APPEND)
        try:
            rule = f'allow comment "{name} {seen}"'
            os.write(fd, f"if generation {seen}\n{rule}\n".encode())
            os.sched_yield()
        except OSError as error:
            assert error.errno == errno.ESTALE
            late += 1
        finally:
            os.close(fd)
        stop.progress += 1
    return late


def test_one_wins(generation: int, tell: Callable[[str], None]) -> None:
    """Of several writers at a time exactly one adds to each generation."""
    rivals = [
        Background(lambda stop, name=name: _compete(name, stop))
        for name in ("a", "b", "c")
    ]
    try:
        until(
            lambda: all(rival.stop_flag.progress >= 100 for rival in rivals),
            "each has tried",
            5 * PATIENCE,
        )
    finally:
        for rival in rivals:
            rival.stop_flag.set()
    late = sum(rival.result() for rival in rivals)
    comments = [line.split('"')[1].split(" ") for line in control.rules()[1:-1]]
    won = [int(seen) for _, seen in comments]
    assert won == list(range(generation, Status.read().generation))
    tries = sum(rival.stop_flag.progress for rival in rivals)
    tell(
        f"{tries} tries: {len(won)} won, {late} late at write(2), {tries - late - len(won)} at close(2)"
    )
