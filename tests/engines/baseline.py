# SPDX-License-Identifier: GPL-2.0
"""What is so without ctrfw: who reaches whom, and what else an engine's users rely on."""

import re
import socket
from dataclasses import dataclass
from typing import Self

from engines.row import Row
from lib import reach
from lib.netns import HOST, Namespace
from lib.reach import ANSWERED, Cell
from lib.ready import CELLS
from lib.scene import Scene
from lib.topology import bridge_calls

Connection = tuple[str, str, int, str, int]

# Seconds without any answer, after which there will be none
LINGER = 6.0
# Several fragments; one that an Ethernet frame just holds over IPv4 and IPv6
SIZES = {4: (9000, 1472), 6: (9000, 1452)}
LARGE = 300_000
PORT = 9007
# Who asks for which name: a neighbour's, and one that the private network's server knows
QUESTIONS = (
    ("redis", "front"),
    ("redis", "outside.example"),
    ("client", "outside.example"),
)


def asks(box: str, name: str) -> str:
    """What Baseline.traffic calls such a question."""
    return f"{box} asks for {name}"


def all_cells(scene: Scene) -> list[Cell]:
    """Each connection of all tables once."""
    cells = [cell for table in CELLS.values() for cell in scene.cells(table)]
    return list({cell.connection: cell for cell in cells}.values())


def open_now(
    scene: Scene, bridged: int, awaited: set[Connection] | None = None
) -> set[Connection]:
    """The connections that are answered; those that are awaited are given all the time they need."""
    bridge_calls(bridged)
    found = {}
    # The first connection of all sets up much, and may come too late.
    for linger in (LINGER,) if awaited else (reach.LINGER, LINGER):
        cells = [c for c in all_cells(scene) if found.get(c.connection) != ANSWERED]
        results = scene.attempt(
            cells, lambda c: bool(awaited) and c.connection in awaited, linger
        )
        found |= {cell.connection: result for cell, result in results.items()}
    return {connection for connection, result in found.items() if result == ANSWERED}


def _datagrams(source: Namespace, target: Namespace, address: str, size: int) -> str:
    """Whether a datagram of this size gets there, and back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        target.udp(address, PORT) as peer,
        source.make_socket(family, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(LINGER)
        peer.settimeout(LINGER)
        data = bytes(index % 251 for index in range(size))
        try:
            sock.sendto(data, (address, PORT))
            got, back = peer.recvfrom(65535)
            peer.sendto(got, back)
            return "the same" if sock.recv(65535) == data else "another one"
        except OSError as error:
            return type(error).__name__


def _stream(source: Namespace, target: Namespace, address: str) -> str:
    """Whether much data goes by one connection, in frames of any size."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        target.make_socket(family, socket.SOCK_STREAM) as listener,
        source.make_socket(family, socket.SOCK_STREAM) as sock,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, PORT))
        listener.listen()
        listener.settimeout(LINGER)
        sock.settimeout(LINGER)
        try:
            sock.connect((address, PORT))
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LINGER)
                # All of it fits into the buffers of both.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGE)
                sock.setblocking(False)
                left, got = LARGE, 0
                while got < LARGE:
                    if left:
                        try:
                            left -= sock.send(bytes(left))
                        except BlockingIOError:
                            pass
                    got += len(peer.recv(65536))
                return f"{got} bytes"
        except OSError as error:
            return type(error).__name__


def _tracked() -> list[str]:
    """The host's conntrack entries of what _datagrams() and _stream() did."""
    entries = set()
    for line in HOST.run(["conntrack", "-L"], check=False).splitlines():
        if f"dport={PORT}" in line:
            # Without what differs from time to time
            line = re.sub(r"^(\S+ +\S+) +\d+", r"\1", line)
            entries.add(re.sub(r"(sport|dport)=(?!9007)\d+|use=\d+", "", line))
    return sorted(" ".join(entry.split()) for entry in entries)


def traffic(scene: Scene, row: Row) -> dict[str, object]:
    """Names, packets of all sizes, and what connection tracking makes of them."""
    bridge_calls(1)
    HOST.run(["conntrack", "-F"])
    found: dict[str, object] = {}
    for box in ("client", "front"):
        for target in ("ext", "web"):
            for version, address in scene.addresses[target].items():
                if version not in scene.addresses.get(box, {}):
                    continue
                source, place = scene.places[box], scene.places[target]
                name = f"{box} -> {target} IPv{version}"
                for size in SIZES[version]:
                    found[f"{name}, {size} bytes"] = _datagrams(
                        source, place, address, size
                    )
                found[f"{name}, TCP"] = _stream(source, place, address)
    found["tracked"] = _tracked()
    for box, name in QUESTIONS:
        found[asks(box, name)] = row.resolve(box, name)
    return found


@dataclass(frozen=True)
class Baseline:
    """All of it."""

    # By whether the host's hooks see what its bridges switch
    open: dict[int, set[Connection]]
    traffic: dict[str, object]

    @classmethod
    def take(cls, scene: Scene, row: Row) -> Self:
        """As it is now."""
        return cls(
            {bridged: open_now(scene, bridged) for bridged in (1, 0)},
            traffic(scene, row),
        )
