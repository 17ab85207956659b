# SPDX-License-Identifier: GPL-2.0
"""Who may reach whom: tables of connections, each of which is really made.

A table has a line for each source and target:

    client  lan:389  tcp udp6 ping  no  # why

`tcp`, `udp` and `ping` stand for a connection over IPv4 and one over IPv6, with a number behind
them for one of the two.
"""

import contextlib
import errno
import itertools
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lib.background import Stop, running
from lib.netns import Namespace
from lib.poll import PATIENCE
from lib.talk import echo, family_of

PORT = 8080
# How long to wait, when all that should be answered has been, for what should not.
LINGER = 2.0
ANSWERED, SILENT, FORBIDDEN = "answered", "no answer", "not permitted"

_numbers = itertools.count(os.getpid())
# Each connection has a source port of its own, below those that the kernel gives: another one may
# not be taken for what an earlier one has begun.
_ports = itertools.cycle(range(10000, 32768))


@dataclass(frozen=True)
class Cell:
    """A connection, and whether it should be answered."""

    source: str
    target: str
    port: int
    kind: str
    version: int
    open: bool
    about: str

    @property
    def connection(self) -> tuple[str, str, int, str, int]:
        """What is tried, whatever a table says of it."""
        return self.source, self.target, self.port, self.kind, self.version

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}:{self.port} {self.kind} IPv{self.version} ({self.about})"


def read(text: str) -> list[Cell]:
    """The cells of a table."""
    cells = []
    for line in text.strip().splitlines():
        words, _, about = line.partition("#")
        source, place, *kinds, verdict = words.split()
        assert verdict in ("yes", "no") and kinds, line
        target, _, port = place.partition(":")
        for word in kinds:
            kind = word.rstrip("46")
            assert kind in ("tcp", "udp", "ping"), line
            for version in (4, 6):
                if word in (kind, f"{kind}{version}"):
                    cells.append(
                        Cell(
                            source,
                            target,
                            int(port or PORT),
                            kind,
                            version,
                            verdict == "yes",
                            about.strip(),
                        )
                    )
    return cells


@dataclass(frozen=True)
class Service:
    """Somebody who answers, at all addresses or at one."""

    netns: Namespace
    kind: str
    port: int = PORT
    address: str = "::"


def _bound(service: Service) -> socket.socket:
    stream = service.kind == "tcp"
    sock = service.netns.make_socket(
        family_of(service.address), socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((service.address, service.port))
    if stream:
        sock.listen(64)
    sock.setblocking(False)
    return sock


# Who has the address of outside.example?
QUESTION = b"\0\7\1\0\0\1\0\0\0\0\0\0" + b"\7outside\7example\0" + b"\0\1\0\1"


def _name_answer(question: bytes) -> bytes:
    """A name server's answer: whatever is asked for, its IPv4 address is 203.0.113.2."""
    end = question.index(b"\0", 12) + 5
    is_a = question[end - 4 : end - 2] == b"\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([203, 0, 113, 2])
    head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, is_a, 0, 0)
    return head + question[12:end] + record * is_a


def _serve(sockets: Sequence[tuple[Service, socket.socket]], stop: Stop) -> bool:
    with selectors.DefaultSelector() as selector:
        for service, sock in sockets:
            selector.register(sock, selectors.EVENT_READ, service)
        while not stop:
            for key, _ in selector.select(0.2):
                sock, service = key.fileobj, key.data
                assert isinstance(sock, socket.socket)
                # Whoever asked may have gone by now.
                with contextlib.suppress(OSError):
                    if service is None:
                        selector.unregister(sock)
                        with sock:
                            # A question that is not read would reset the connection.
                            sock.recv(2000)
                            sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello\n")
                    elif service.kind == "tcp":
                        peer, _ = sock.accept()
                        selector.register(peer, selectors.EVENT_READ, None)
                    else:
                        data, source = sock.recvfrom(2000)
                        answer = _name_answer(data) if service.port == 53 else data
                        sock.sendto(answer, source)
    return True


@contextlib.contextmanager
def serving(services: Sequence[Service]) -> Iterator[None]:
    """A process that answers for all of them."""
    sockets = [(service, _bound(service)) for service in services]
    try:
        with running(lambda stop: _serve(sockets, stop)) as child:
            yield
            child.finish()
    finally:
        for _, sock in sockets:
            sock.close()


def _bind_anew(sock: socket.socket) -> None:
    """Binds to a port that none before had."""
    while True:
        try:
            return sock.bind(("", next(_ports)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


class _Attempt:
    """One connection on its way; `result` when it has come to something."""

    def __init__(self, cell: Cell, netns: Namespace, address: str) -> None:
        self.cell = cell
        self.result: str | None = None
        self._asked = False
        family = family_of(address)
        with netns:
            # A link-local address has a device's name in it.
            target = socket.getaddrinfo(
                address, cell.port if cell.kind != "ping" else 0
            )[0][4]
            if cell.kind == "tcp":
                self.sock = socket.socket(family, socket.SOCK_STREAM)
            elif cell.kind == "udp":
                self.sock = socket.socket(family, socket.SOCK_DGRAM)
            else:
                proto = (
                    socket.IPPROTO_ICMP if cell.version == 4 else socket.IPPROTO_ICMPV6
                )
                self.sock = socket.socket(family, socket.SOCK_RAW, proto)
        if cell.kind != "ping":
            _bind_anew(self.sock)
        self.sock.setblocking(False)
        self._number = next(_numbers) & 0xFFFF
        try:
            if cell.kind == "tcp":
                self.sock.connect(target)
            elif cell.kind == "udp":
                # A name server answers nothing else.
                self.sock.sendto(QUESTION, target)
            else:
                self.sock.sendto(echo(cell.version, self._number), target)
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error)

    @property
    def events(self) -> int:
        """What to wait for."""
        if self.cell.kind == "tcp" and not self._asked:
            return selectors.EVENT_WRITE
        return selectors.EVENT_READ

    def fail(self, error: OSError) -> None:
        """It came to an error."""
        permission = error.errno == errno.EPERM
        self.result = FORBIDDEN if permission else os.strerror(error.errno or 0)

    def go_on(self) -> None:
        """Something happened."""
        try:
            if self.events == selectors.EVENT_WRITE:
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self._asked = True
                return
            data = self.sock.recv(2000)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error)
            return
        if self.cell.kind == "ping":
            body = data if self.cell.version == 6 else data[20:]
            # All there is to see is seen by all.
            if body[0] not in (0, 129) or body[4:6] != self._number.to_bytes(2):
                return
        self.result = ANSWERED if data else "the connection ended without an answer"


def attempt(
    cells: Sequence[Cell],
    places: dict[str, Namespace],
    addresses: dict[str, dict[int, str]],
    awaited: Callable[[Cell], bool],
    linger: float = LINGER,
) -> dict[Cell, str]:
    """Makes all connections at once; what came of each.

    Those that are awaited are given time; the others as long as there are answers, and then `linger` seconds.
    """
    attempts = [
        _Attempt(cell, places[cell.source], addresses[cell.target][cell.version])
        for cell in cells
    ]
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for one in attempts:
            if one.result is None:
                selector.register(one.sock, one.events, one)
        lingering = False
        while time.monotonic() < deadline and selector.get_map():
            news = False
            for key, _ in selector.select(0.2):
                one = key.data
                one.go_on()
                selector.unregister(one.sock)
                if one.result is None:
                    selector.register(one.sock, one.events, one)
                news = True
            if not lingering:
                missing = [a for a in attempts if a.result is None]
                lingering = news = not any(awaited(a.cell) for a in missing)
            if lingering and news:
                deadline = time.monotonic() + linger
    for one in attempts:
        one.sock.close()
    return {one.cell: one.result or SILENT for one in attempts}
