# SPDX-License-Identifier: GPL-2.0
"""Writing that comes to an end before the text does: nothing of it takes effect."""

import contextlib
import ctypes
import errno
import mmap
import os
import signal

import pytest

from lib import control, module
from lib.control import RULES, TRACE, Status

OLD = ["deny dport 7"]
PAGE = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)


def unchanged(why: str) -> None:
    """The old table is in force, and the status file says why."""
    assert control.rules() == OLD
    assert Status.read().last_error == f"rules {why}"


def test_write_from_bad_memory() -> None:
    """write(2) fails in the middle of its text."""
    control.load_rules(*OLD)
    memory = mmap.mmap(-1, 2 * PAGE)
    line = b"deny proto udp\n"
    memory[:PAGE] = (line * PAGE)[:PAGE]
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert _libc.mprotect(ctypes.c_void_p(start + PAGE), PAGE, 0) == 0
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    assert _libc.write(fd, ctypes.c_void_p(start), 2 * PAGE) == -1
    assert ctypes.get_errno() == errno.EFAULT
    with pytest.raises(OSError) as caught:
        os.write(fd, b"allow\n")
    assert caught.value.errno == errno.EINVAL
    os.close(fd)
    unchanged("a write came to an end in the middle")


@pytest.mark.parametrize("last_word", ["closing", "writing"])
def test_killed_writer_of_somebody_elses_file(last_word: str) -> None:
    """The shell that opened the file lives on, closes it, or has another program write to it."""
    control.load_rules(*OLD)
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.write(fd, b"allow dport 8\n")
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    if last_word == "writing":
        with pytest.raises(OSError) as caught:
            os.write(fd, b"allow dport 9\n")
        assert caught.value.errno == errno.ECANCELED
    os.close(fd)
    unchanged("the writer was killed before it had closed the file")


def test_writer_that_ends_well() -> None:
    """As in `{ cat a; cat b; } > rules`: each writer ends, the shell closes."""
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    for port in (8, 9):
        pid = os.fork()
        if pid == 0:
            os.write(fd, f"allow dport {port}\n".encode())
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    os.close(fd)
    assert control.rules() == ["allow dport 8", "allow dport 9"]


def test_adding_beyond_the_limit() -> None:
    """What is there counts: the write fails, not the close."""
    module.ensure(max_rules=3)
    control.load_rules("deny dport 1", "default deny netns host hook local_in")
    control.load_rules(
        "deny dport 2", "default allow netns host hook local_in", append=True
    )
    full = control.rules()
    for line in ("deny dport 3", "default deny netns container"):
        fd = os.open(RULES, os.O_WRONLY | os.O_APPEND)
        with pytest.raises(OSError) as caught:
            os.write(fd, f"{line}\n".encode())
        assert caught.value.errno == errno.ENOSPC
        os.close(fd)
        assert control.rules() == full
    assert Status.read().last_error == "rules line 1: more than 3 rules and defaults"


def test_too_many_expressions_and_defaults() -> None:
    """64 expressions to trace, 256 defaults."""
    control.trace(*(f"dport {port}" for port in range(1, 65)))
    fd = os.open(TRACE, os.O_WRONLY | os.O_APPEND)
    with pytest.raises(OSError) as caught:
        os.write(fd, b"dport 65\n")
    assert caught.value.errno == errno.ENOSPC
    os.close(fd)
    control.trace()
    with pytest.raises(OSError) as caught:
        control.load_rules(
            *(f"default deny netns {number}" for number in range(1, 258))
        )
    assert caught.value.errno == errno.ENOSPC
    assert Status.read().last_error == "rules line 257: more than 256 defaults"


def test_replaced_default_counts_from_nothing() -> None:
    """A default that says the opposite has decided about no packet yet; another one goes on."""
    control.load_rules("default deny hook local_in netns host")
    before = [(counter.number, counter.text) for counter in control.counters()]
    control.load_rules("default allow hook local_in netns host", append=True)
    after = [(counter.number, counter.text) for counter in control.counters()]
    assert before == [
        ("default", "default deny hook local_in netns host"),
        ("default", "default allow"),
    ]
    assert after[0] == ("default", "default allow hook local_in netns host")
    assert control.counters()[0].packets == 0
