# SPDX-License-Identifier: GPL-2.0
"""/proc/ctrfw/events: every event of the trace, without a limit, or told as lost.

Packets go over the loopback device of a namespace, and are traced at LOCAL_OUT.
"""

import contextlib
import errno
import os
import re
import select
import signal
import time
from collections.abc import Iterator

import pytest

from lib import control, module
from lib.background import Background, Stop, running
from lib.control import EVENTS, Status
from lib.kmsg import Kmsg, note
from lib.netns import Namespace, created
from lib.poll import PATIENCE, until
from lib.trace import PREFIX, TraceLine, Tracer, lines_of

# What a line of the file has before the line of the kernel's log.
STAMP = re.compile(r"\[ *(\d+\.\d{6})\] ")
LOST = re.compile(r"ctrfw: trace: (\d+) events lost on CPU (\d+)")
# A ring has 64 places then.
SMALL = {"trace_bytes": 1}
KEPT = 64


@pytest.fixture(scope="module")
def one() -> Iterator[Namespace]:
    """A namespace to send in."""
    with created("one") as (netns,):
        yield netns


class Reader:
    """The open file."""

    def __init__(self, wait: bool = False) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | (0 if wait else os.O_NONBLOCK)
        self.fd = os.open(EVENTS, flags)
        self._rest = b""

    def close(self) -> None:
        """Ends the reading."""
        os.close(self.fd)

    def texts(self, size: int = 65536) -> list[str]:
        """All lines that are there, `size` bytes at most at a time."""
        data = self._rest
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.fd, size):
                data += piece
        *lines, self._rest = data.split(b"\n")
        return [line.decode() for line in lines]


@pytest.fixture
def reader(ctrfw: None) -> Iterator[Reader]:
    """A reader that does not wait."""
    opened = Reader()
    yield opened
    opened.close()


def lines(texts: list[str]) -> list[TraceLine]:
    """The trace lines among lines of the file."""
    return lines_of(STAMP.sub("", text) for text in texts)


def lost(texts: list[str]) -> int:
    """How many events are told as lost."""
    return sum(int(match[1]) for text in texts if (match := LOST.fullmatch(text)))


def trace(netns: Namespace) -> None:
    """Has all that [`send`] sends traced."""
    control.trace(f"proto udp dport 4000 hook local_out netns {netns.inode}")


def send(netns: Namespace, count: int, size: int = 1) -> None:
    """Sends datagrams, each a byte longer than the one before, that nobody waits for."""
    with netns.udp("127.0.0.1") as sock:
        for number in range(count):
            sock.sendto(bytes(size + number), ("127.0.0.1", 4000))


@pytest.mark.parameters(trace_rate=1, trace_burst=10)
def test_all_of_them(one: Namespace, reader: Reader, tracer: Tracer) -> None:
    """Each event, in its order, whatever the limit of the kernel's log; the lines are the same."""
    trace(one)
    send(one, 500)
    texts = reader.texts()
    found = lines(texts)
    assert [line.len for line in found] == [29 + number for number in range(500)]
    assert len(found) == len(texts)
    logged = tracer.lines()
    # One a second, however long it takes
    assert 10 <= len(logged) < 300
    assert logged[:10] == found[:10]
    status = Status.read()
    assert status.printed + status.left_out == 500
    assert status.lost == 0


def test_time(one: Namespace, reader: Reader) -> None:
    """Each line begins with the time of its event, by the clock of dmesg."""
    trace(one)
    with Kmsg() as log:
        note("begin")
        send(one, 3)
        time.sleep(0.1)
        send(one, 3)
        note("end")
        notes = [record for record in log.records() if "ctrfw-test: " in record.text]
        begin, end = (record.time for record in notes)
    texts = reader.texts()
    stamps = [match[1] for text in texts if (match := STAMP.match(text))]
    times = [float(stamp) for stamp in stamps]
    assert len(times) == 6
    assert [begin, *times, end] == sorted([begin, *times, end])
    assert times[3] - times[2] > 0.08


def test_small_pieces(one: Namespace, reader: Reader) -> None:
    """Who reads byte by byte gets the same."""
    trace(one)
    send(one, 5)
    assert [line.len for line in lines(reader.texts(1))] == [29, 30, 31, 32, 33]


def test_what_came_before(one: Namespace) -> None:
    """Who opens the file while something is traced gets what is kept, each reader all of it."""
    trace(one)
    send(one, 5)
    first, second = Reader(), Reader()
    send(one, 5)
    for reader in (first, second):
        texts = reader.texts()
        assert (len(lines(texts)), lost(texts)) == (10, 0)
        reader.close()


def test_again(one: Namespace, reader: Reader) -> None:
    """Without anything to read: EAGAIN, not the end, whether something is traced or not."""
    for begin in (lambda: None, lambda: trace(one), control.trace):
        begin()
        with pytest.raises(BlockingIOError):
            os.read(reader.fd, 100)
    assert os.read(reader.fd, 0) == b""
    with pytest.raises(OSError) as caught:
        os.lseek(reader.fd, 0, os.SEEK_SET)
    assert caught.value.errno == errno.ESPIPE


def test_over_a_pause(one: Namespace, reader: Reader) -> None:
    """A reader stays one when the trace goes off and on."""
    for _ in range(3):
        trace(one)
        send(one, 4)
        control.trace()
        send(one, 4)
    assert len(lines(reader.texts())) == 12


def test_blocks(one: Namespace) -> None:
    """A reader sleeps until there is something, and has it soon."""

    def read(stop: Stop) -> list[str]:
        waiting = Reader(wait=True)
        stop.progress = 1
        text = os.read(waiting.fd, 65536).decode()
        woken = time.monotonic()
        return [text, str(woken)]

    with running(read) as child:
        until(lambda: child.stop_flag.progress, "the file is open")
        trace(one)
        time.sleep(0.2)
        sent = time.monotonic()
        send(one, 1)
        text, woken = child.result()
    (line,) = lines(text.splitlines())
    assert line.len == 29
    assert sent < float(woken) < sent + PATIENCE


def test_poll(one: Namespace, reader: Reader) -> None:
    """poll(2) and epoll tell when there is something."""
    poll = select.poll()
    poll.register(reader.fd, select.POLLIN)
    trace(one)
    with select.epoll() as epoll:
        epoll.register(reader.fd, select.EPOLLIN)
        for _ in range(3):
            assert poll.poll(0) == epoll.poll(0) == []
            send(one, 1)
            assert poll.poll(1000 * PATIENCE) == [(reader.fd, select.POLLIN)]
            assert epoll.poll(PATIENCE) == [(reader.fd, select.EPOLLIN)]
            assert len(lines(reader.texts())) == 1


def test_signal_ends_the_sleep() -> None:
    """A reader that sleeps can be killed."""

    def read(stop: Stop) -> None:
        waiting = Reader(wait=True)
        stop.progress = 1
        os.read(waiting.fd, 100)

    child = Background(read)
    until(lambda: child.stop_flag.progress, "the file is open")
    time.sleep(0.05)
    os.kill(child.pid, signal.SIGTERM)
    _, status = os.waitpid(child.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


@pytest.mark.parameters(**SMALL)
def test_lost(one: Namespace, reader: Reader) -> None:
    """What is overwritten before it was read is counted, to the last event, in its place."""
    trace(one)
    send(one, KEPT)
    texts = reader.texts()
    assert (len(lines(texts)), lost(texts)) == (KEPT, 0)
    for count in (KEPT, KEPT + 1, 200, 5000):
        before = Status.read().lost
        # One socket, one process, one CPU: it is not moved while it sends.
        with pinned():
            send(one, min(count, 1000), size=100)
            for _ in range(count // 1000 - 1):
                send(one, 1000, size=100)
        texts = reader.texts()
        assert (len(lines(texts)), lost(texts)) == (KEPT, count - KEPT)
        assert Status.read().lost - before == count - KEPT
        if count > KEPT:
            assert LOST.fullmatch(texts[0])
    # Nobody has lost what came before he was there.
    late = Reader()
    texts = late.texts()
    assert (len(lines(texts)), lost(texts)) == (KEPT, 0)
    late.close()


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keeps to one CPU."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)


@pytest.mark.parameters(**SMALL)
def test_told_or_counted_under_load(one: Namespace, reader: Reader) -> None:
    """From several CPUs, while it is read: nothing twice, nothing torn, nothing lost count of."""
    trace(one)

    def flood(stop: Stop) -> int:
        while not stop:
            send(one, 50)
            stop.progress += 50
        return stop.progress

    before = Status.read()
    found = missing = 0
    with running(flood) as first, running(flood) as second:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            texts = reader.texts()
            found, missing = found + len(lines(texts)), missing + lost(texts)
        sent = first.finish() + second.finish()
    texts = reader.texts()
    found, missing = found + len(lines(texts)), missing + lost(texts)
    assert found + missing == sent
    after = Status.read()
    assert after.lost - before.lost == missing
    assert (
        sum((after.printed, after.left_out, -before.printed, -before.left_out)) == sent
    )
    assert found > 0


def test_memory(one: Namespace) -> None:
    """The buffers are there while something is traced or the file is open, and within their bound."""
    assert Status.read().events_memory == 0
    trace(one)
    whole = Status.read().events_memory
    assert 0 < whole <= 16_777_216
    opened = Reader()
    control.trace()
    assert Status.read().events_memory == whole
    opened.close()
    assert Status.read().events_memory == 0
    opened = Reader()
    assert Status.read().events_memory == whole
    opened.close()
    module.ensure(trace_bytes=whole // 2 + 1)
    trace(one)
    assert whole // 4 < Status.read().events_memory <= whole // 2 + 1


def test_rmmod_with_sleeping_readers(one: Namespace) -> None:
    """Unloading ends the file for those who sleep in it; it waits for nobody."""

    def read(stop: Stop) -> list[int]:
        waiting = Reader(wait=True)
        stop.progress = 1
        got = 0
        try:
            got = len(os.read(waiting.fd, 65536))
            os.read(waiting.fd, 1)
        except OSError as error:
            return [got, error.errno or 0]
        return [got, 0]

    for tracing in (False, True):
        module.ensure()
        if tracing:
            trace(one)
        with running(read) as first, running(read) as second:
            for child in (first, second):
                until(lambda c=child: c.stop_flag.progress, "the file is open")
            time.sleep(0.05)
            module.unload()
            for child in (first, second):
                got, error = child.result()
                assert got == 0
                assert error in (0, errno.EIO)
    module.ensure()


def test_poll_holds_the_module() -> None:
    """Who has polled the file keeps the module until he closes it, whatever he waits for."""

    def poll(stop: Stop) -> list[tuple[int, int]]:
        # Without POLLIN: what comes does not end it, and neither would the end of the file.
        waiting = select.poll()
        waiting.register(Reader().fd, 0)
        stop.progress = 1
        return waiting.poll(60_000)

    def choose(stop: Stop) -> None:
        fd = Reader().fd
        stop.progress = 1
        select.select([], [], [fd], 60)

    def busy() -> bool:
        try:
            module.unload()
        except OSError as error:
            # Which rmmod(8) calls "in use".
            assert error.errno == errno.EAGAIN
            return True
        return False

    module.ensure()
    for work in (poll, choose):
        child = Background(work)
        until(lambda c=child: c.stop_flag.progress, "the file is open")
        time.sleep(0.1)
        was_busy = busy()
        # If the module has gone, this has the child wake into memory that is free.
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        assert was_busy
        until(lambda: not busy(), "the module goes when the file is closed")
        module.ensure()
    opened = Reader()
    with select.epoll() as epoll:
        epoll.register(opened.fd, select.EPOLLIN)
        assert epoll.poll(0) == []
        assert busy()
        opened.close()
        assert not busy()
        assert epoll.poll(0) == []
    module.ensure()


def test_shared_file(one: Namespace, reader: Reader) -> None:
    """Of two who share an open file each gets whole lines, and no event comes twice or to nobody."""
    trace(one)
    before = Status.read().lost
    total = 1500

    def read(stop: Stop) -> list[int]:
        got = []
        stop.progress = 1
        while True:
            last = bool(stop)
            with contextlib.suppress(BlockingIOError):
                while piece := os.read(reader.fd, 2000).decode():
                    assert piece.endswith("\n")
                    found = lines(piece.splitlines())
                    assert len(found) == piece.count("\n")
                    got += [line.len for line in found]
            if last:
                return got

    with running(read) as first, running(read) as second:
        for child in (first, second):
            until(lambda c=child: c.stop_flag.progress, "somebody reads")
        send(one, total)
        lengths = first.finish() + second.finish()
    assert sorted(lengths) == [29 + number for number in range(total)]
    assert Status.read().lost == before


@pytest.mark.parameters(**SMALL)
def test_shared_file_under_load(one: Namespace, reader: Reader) -> None:
    """What two who share a file read, and what they are told is lost, is all that there was."""
    trace(one)
    before = Status.read().lost

    def read(stop: Stop) -> list[int]:
        found = missing = 0
        while True:
            last = bool(stop)
            texts = reader.texts()
            found, missing = found + len(lines(texts)), missing + lost(texts)
            if last:
                return [found, missing]

    sent = 0
    with running(read) as first, running(read) as second:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            send(one, 50)
            sent += 50
        pairs = first.finish(), second.finish()
    assert sum(found + missing for found, missing in pairs) == sent
    assert sum(missing for _, missing in pairs) == Status.read().lost - before
    assert sum(found for found, _ in pairs) > 0


def test_sharers_sleep_alone(one: Namespace) -> None:
    """Who shares a file with one who sleeps in read(2) can be killed, and need not wait for him."""
    shared = Reader(wait=True)

    def read(stop: Stop) -> str:
        stop.progress = 1
        return os.read(shared.fd, 65536).decode()

    with running(read) as first:
        second = Background(read)
        for child in (first, second):
            until(lambda c=child: c.stop_flag.progress, "somebody reads")
        time.sleep(0.1)
        os.kill(second.pid, signal.SIGTERM)
        gone = until(lambda: os.waitpid(second.pid, os.WNOHANG)[0], "it is dead")
        assert gone == second.pid
        trace(one)
        send(one, 1)
        assert len(lines(first.result().splitlines())) == 1
    shared.close()


def test_last_lines_before_rmmod(one: Namespace, tracer: Tracer) -> None:
    """What was traced is in the kernel's log when the module has gone, or the trace is off."""
    trace(one)
    send(one, 50)
    control.write(control.TRACE, "off\n")
    assert len(tracer.printed()) == 50
    trace(one)
    send(one, 50)
    module.unload()
    texts = [text for text in tracer.texts() if text.startswith("ctrfw: ")]
    assert len([text for text in texts if text.startswith(PREFIX)]) == 50
    assert texts[-1] == "ctrfw: unloaded"
    module.ensure()


def test_printed_without_being_asked(one: Namespace) -> None:
    """Nobody need read any file for a line to come into the kernel's log."""
    tracer = Tracer()
    trace(one)
    send(one, 1)
    assert len(until(tracer.printed, "the line")) == 1
    tracer.close()
