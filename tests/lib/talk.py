# SPDX-License-Identifier: GPL-2.0
"""Conversations between namespaces: somebody asks, somebody answers."""

import contextlib
import itertools
import socket
import struct
from collections.abc import Iterator

from lib.netns import Namespace
from lib.packets import checksum
from lib.poll import PATIENCE

_numbers = itertools.count(1)


def family_of(address: str) -> int:
    """The socket family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.contextmanager
def listening(netns: Namespace, address: str, port: int) -> Iterator[socket.socket]:
    """A TCP socket that takes connections."""
    with netns.make_socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(16)
        sock.settimeout(PATIENCE)
        yield sock


def begin_tcp(netns: Namespace, address: str, port: int) -> socket.socket:
    """Sends a SYN and does not wait for what comes of it."""
    sock = netns.make_socket(family_of(address), socket.SOCK_STREAM)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect((address, port))
    return sock


def tcp(client: Namespace, server: Namespace, address: str, port: int) -> None:
    """Opens a connection, has a word each way, and closes it."""
    with listening(server, address, port) as listener:
        converse(client, listener, address, port)


def converse(
    client: Namespace, listener: socket.socket, address: str, port: int
) -> None:
    """Opens a connection to what listens there, has a word each way, and closes it."""
    with client.make_socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((address, port))
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(PATIENCE)
            sock.sendall(b"question")
            assert peer.recv(100) == b"question"
            peer.sendall(b"answer")
            assert sock.recv(100) == b"answer"


def udp(client: Namespace, server: Namespace, address: str, port: int) -> None:
    """A datagram each way."""
    with (
        server.udp(address, port) as peer,
        client.make_socket(family_of(address), socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(PATIENCE)
        sock.sendto(b"question", (address, port))
        data, source = peer.recvfrom(100)
        assert data == b"question"
        peer.sendto(b"answer", source)
        assert sock.recv(100) == b"answer"


def echo(version: int, number: int) -> bytes:
    """An echo request; over IPv6 the kernel puts in the checksum."""
    head = struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, number, 1)
    if version == 6:
        return head
    return head[:2] + struct.pack("!H", checksum(head)) + head[4:]


def ping(client: Namespace, address: str) -> None:
    """An echo request, and the kernel's reply."""
    version = 6 if ":" in address else 4
    number = next(_numbers)
    proto, reply = (
        (socket.IPPROTO_ICMPV6, 129) if version == 6 else (socket.IPPROTO_ICMP, 0)
    )
    with client.make_socket(family_of(address), socket.SOCK_RAW, proto) as sock:
        sock.settimeout(PATIENCE)
        sock.sendto(echo(version, number), (address, 0))
        while True:
            packet = sock.recv(200)
            body = packet if version == 6 else packet[20:]
            if body[0] == reply and body[4:6] == number.to_bytes(2):
                return
