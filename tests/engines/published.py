# SPDX-License-Identifier: GPL-2.0
"""What the scene's containers publish, for rows that write the rules themselves."""

from collections.abc import Iterator
from dataclasses import dataclass

from lib.scene import Scene


@dataclass(frozen=True)
class Published:
    """A port of the host's, and where it leads."""

    port: int
    proto: str
    network: str
    addresses: dict[int, str]
    target: int

    def destination(self, version: int) -> str:
        """As rules have it."""
        address = self.addresses[version]
        return f"{f'[{address}]' if version == 6 else address}:{self.target}"


def published(scene: Scene) -> Iterator[Published]:
    """All of them, as containers' addresses are now."""
    for box in scene.boxes:
        for text in box.published:
            ports, _, proto = text.partition("/")
            port, target = (int(number) for number in ports.split(":"))
            addresses = scene.addresses[box.name]
            yield Published(port, proto or "tcp", box.network, addresses, target)
