# SPDX-License-Identifier: GPL-2.0
"""A program that decides about queued packets, by netlink messages made by hand."""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from lib.netns import HOST, SO_RCVBUFFORCE, Namespace
from lib.poll import PATIENCE

ACCEPT, DROP, REPEAT = 1, 0, 4
HOOKS = ("pre_routing", "local_in", "forward", "local_out", "post_routing")

_NETLINK_NETFILTER = 12
_REQUEST, _ACK = 1, 4
_ERROR = 2
_SUBSYSTEM = 3 << 8
_PACKET, _VERDICT, _CONFIG = (_SUBSYSTEM | message for message in (0, 1, 2))
_CFG_CMD, _CFG_PARAMS, _CFG_MASK, _CFG_FLAGS = 1, 2, 4, 5
_BIND = 1
_COPY_PACKET = 2
_FLAG_GSO = 4
_PACKET_HDR, _VERDICT_HDR, _PAYLOAD = 1, 2, 10


@dataclass(frozen=True)
class Queued:
    """A packet that waits for its verdict."""

    id: int
    hook: str
    payload: bytes


@dataclass(frozen=True)
class Queue:
    """A line of /proc/net/netfilter/nfnetlink_queue"""

    number: int
    waiting: int
    dropped: int


def queues(netns: Namespace = HOST) -> list[Queue]:
    """The queues that somebody listens on; none if the module is not loaded."""
    try:
        lines = netns.read("netfilter/nfnetlink_queue").splitlines()
    except FileNotFoundError:
        return []
    rows = ([int(word) for word in line.split()] for line in lines)
    return [Queue(row[0], row[2], row[5] + row[6]) for row in rows]


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


class Listener:
    """Listens on one queue; closing it is the death of a program."""

    def __init__(self, number: int, netns: Namespace = HOST, gso: bool = False) -> None:
        self.number = number
        self._socket = netns.make_socket(
            socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        self._socket.settimeout(PATIENCE)
        self._socket.bind((0, 0))
        bind = struct.pack("!BxH", _BIND, 0)
        self._ask(_CONFIG, _attribute(_CFG_CMD, bind))
        params = struct.pack("!IB", 0xFFFF, _COPY_PACKET)
        flag = struct.pack("!I", _FLAG_GSO)
        flags = _attribute(_CFG_FLAGS, flag if gso else bytes(4))
        self._ask(
            _CONFIG,
            _attribute(_CFG_PARAMS, params) + flags + _attribute(_CFG_MASK, flag),
        )

    def close(self) -> None:
        """Ends it; what still waits is dropped by the kernel."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receive(self, patience: float = PATIENCE) -> Queued:
        """The next packet; TimeoutError if none comes."""
        self._socket.settimeout(patience)
        kind, data = _ERROR, b""
        # Errors are about verdicts on packets that did not wait any more.
        while kind == _ERROR:
            data = self._socket.recv(1 << 17)
            _, kind = struct.unpack_from("=IH", data)
        assert kind == _PACKET, f"a message of type {kind}"
        found = dict(_attributes(data[20:]))
        number, _, hook = struct.unpack("!IHB", found[_PACKET_HDR])
        return Queued(number, HOOKS[hook], found[_PAYLOAD])

    def say(self, queued: Queued, verdict: int, payload: bytes | None = None) -> None:
        """Decides about a packet, perhaps with other contents; what follows happens before this ends."""
        attributes = _attribute(_VERDICT_HDR, struct.pack("!II", verdict, queued.id))
        if payload is not None:
            attributes += _attribute(_PAYLOAD, payload)
        self._send(_VERDICT, attributes, _REQUEST)

    def accept_all(self, patience: float) -> int:
        """Accepts what comes until nothing has come for so many seconds; how many packets."""
        count = 0
        while True:
            try:
                queued = self.receive(patience)
            except TimeoutError:
                return count
            self.say(queued, ACCEPT)
            count += 1

    def _send(self, kind: int, attributes: bytes, flags: int) -> None:
        body = struct.pack("!BBH", socket.AF_UNSPEC, 0, self.number) + attributes
        self._socket.send(
            struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body
        )

    def _ask(self, kind: int, attributes: bytes) -> None:
        self._send(kind, attributes, _REQUEST | _ACK)
        kind, data = _PACKET, b""
        # Packets may come first: they go on waiting.
        while kind == _PACKET:
            data = self._socket.recv(1 << 17)
            _, kind = struct.unpack_from("=IH", data)
        assert kind == _ERROR, f"a message of type {kind}"
        (error,) = struct.unpack_from("=i", data, 16)
        if error:
            raise OSError(-error, os.strerror(-error))
