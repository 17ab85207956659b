# SPDX-License-Identifier: GPL-2.0
"""Packets sent without a pause while something else goes on, and what of them arrives."""

import contextlib
import itertools
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lib.background import Background, Stop, running
from lib.netns import Namespace
from lib.talk import echo, family_of

# Ports and numbers of its own for each stream: what an earlier one has begun is nothing to it.
_streams = itertools.count()
NUMBERS = 4096
PAUSE = 0.002


@dataclass(frozen=True)
class Flow:
    """Who tries to reach whom."""

    source: str
    target: str
    address: str

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} {self.address}"


@dataclass(frozen=True)
class _Wire:
    """A flow's sockets at its source."""

    flow: Flow
    datagram: socket.socket
    raw: socket.socket

    @classmethod
    def open(cls, flow: Flow, place: Namespace, stack: contextlib.ExitStack) -> "_Wire":
        family = family_of(flow.address)
        proto = (
            socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
        )
        datagram = place.make_socket(family, socket.SOCK_DGRAM)
        raw = place.make_socket(family, socket.SOCK_RAW, proto)
        for sock in (datagram, raw):
            stack.enter_context(sock)
            sock.setblocking(False)
        return cls(flow, datagram, raw)

    def send(self, place: Namespace, port: int, number: int) -> int:
        """A datagram, an echo request and a SYN; how many were sent."""
        sent = 0
        address = self.flow.address
        version = 4 if self.raw.family == socket.AF_INET else 6
        # Refused at once, or the network is just away: that does not get through, either.
        with contextlib.suppress(OSError):
            self.datagram.sendto(b"x", (address, port + 1))
            sent += 1
        with contextlib.suppress(OSError):
            self.raw.sendto(echo(version, number), (address, 0))
            sent += 1
        with (
            contextlib.suppress(OSError),
            place.make_socket(self.raw.family, socket.SOCK_STREAM) as sock,
        ):
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect((address, port))
            sent += 1
        return sent

    def replies(self, numbers: range) -> int:
        """How many of our echo requests were answered since this was called last."""
        found = 0
        with contextlib.suppress(OSError):
            while True:
                data, source = self.raw.recvfrom(2000)
                body = data if self.raw.family == socket.AF_INET6 else data[20:]
                found += (
                    body[0] in (0, 129)
                    and source[0] == self.flow.address
                    and int.from_bytes(body[4:6]) in numbers
                )
        return found


def _listen(
    flows: Sequence[Flow],
    places: dict[str, Namespace],
    port: int,
    stack: contextlib.ExitStack,
) -> list[tuple[str, socket.socket]]:
    """Sockets for all that may arrive."""
    found = []
    for target, family in dict.fromkeys(
        (f.target, family_of(f.address)) for f in flows
    ):
        for word, kind, number in (
            ("tcp", socket.SOCK_STREAM, port),
            ("udp", socket.SOCK_DGRAM, port + 1),
        ):
            sock = stack.enter_context(places[target].make_socket(family, kind))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("", number))
            if word == "tcp":
                sock.listen(64)
            sock.setblocking(False)
            found.append((f"at {target} {word} {family.name}", sock))
    return found


def _run(
    flows: Sequence[Flow], places: dict[str, Namespace], stream: int, stop: Stop
) -> dict[str, int]:
    arrived: Counter[str] = Counter()
    sent = 0
    port = 20000 + 2 * stream
    first = stream * NUMBERS % 65536
    numbers = range(first, first + NUMBERS)
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for name, sock in _listen(flows, places, port, stack):
            selector.register(sock, selectors.EVENT_READ, name)
        wires = [_Wire.open(flow, places[flow.source], stack) for flow in flows]
        for number in itertools.cycle(numbers):
            for wire in wires:
                sent += wire.send(places[wire.flow.source], port, number)
                if replies := wire.replies(numbers):
                    arrived[f"{wire.flow} ping"] += replies
            for key, _ in selector.select(PAUSE):
                with contextlib.suppress(OSError):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock.type == socket.SOCK_STREAM:
                        sock.accept()[0].close()
                    else:
                        sock.recv(100)
                    arrived[key.data] += 1
            # Also where nothing can be sent any more
            stop.progress += 3 * len(wires)
            if stop:
                break
            time.sleep(PAUSE)
    return {"sent": sent, **arrived}


@contextlib.contextmanager
def streaming(
    flows: Sequence[Flow], places: dict[str, Namespace]
) -> Iterator[Background]:
    """A process that tries all of them by TCP, UDP and ping, over and over.

    Its result is how many packets it sent, and what arrived.
    """
    number = next(_streams)

    def work(stop: Stop) -> Any:
        return _run(flows, places, number, stop)

    with running(work) as child:
        yield child
