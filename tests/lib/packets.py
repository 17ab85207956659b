# SPDX-License-Identifier: GPL-2.0
"""Packets made by hand: scapy for the honest ones, bytes for the others."""

import itertools
import logging
import socket
import struct

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from lib.netns import ETH_P_IP, ETH_P_IPV6

__all__ = [
    "ICMP",
    "IP",
    "TCP",
    "UDP",
    "IPv6",
    "authentication",
    "checksum",
    "datagram",
    "ether",
    "extension",
    "fragment",
    "ipv4",
    "ipv6",
    "routing",
    "same",
]

_ids = itertools.count(1)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(destination: str, source: str, packet: bytes) -> bytes:
    """An Ethernet frame; its type by the packet's version nibble."""
    kind = ETH_P_IPV6 if packet[:1] and packet[0] >> 4 == 6 else ETH_P_IP
    mac = "".join((destination + source).split(":"))
    return bytes.fromhex(mac) + struct.pack("!H", kind) + packet


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ipv4(
    source: str,
    destination: str,
    proto: int,
    payload: bytes = b"",
    *,
    options: bytes = b"",
    offset: int = 0,
    more: bool = False,
    identification: int | None = None,
) -> bytes:
    """An IPv4 packet with a right checksum; `offset` in bytes."""
    header_len = 20 + len(options)
    assert header_len % 4 == 0 and offset % 8 == 0
    number = next(_ids) & 0xFFFF if identification is None else identification
    header = (
        struct.pack(
            "!BBHHHBBH",
            0x40 | header_len // 4,
            0,
            header_len + len(payload),
            number,
            offset // 8 | (0x2000 if more else 0),
            64,
            proto,
            0,
        )
        + _address(source)
        + _address(destination)
        + options
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(
    source: str,
    destination: str,
    following: int,
    payload: bytes = b"",
    *,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; `length` is the payload length it claims, if not the true one."""
    return (
        struct.pack(
            "!IHBB",
            0x60000000 | next(_ids) & 0xFFFFF,
            len(payload) if length is None else length,
            following,
            64,
        )
        + _address(source)
        + _address(destination)
        + payload
    )


def extension(following: int, size: int = 8) -> bytes:
    """A hop-by-hop or destination options header of `size` bytes, all padding."""
    return bytes([following, size // 8 - 1, 1, size - 4]) + bytes(size - 4)


def routing(following: int, kind: int = 2) -> bytes:
    """A routing header that has nowhere left to go."""
    return bytes([following, 2, kind, 0]) + bytes(20)


def authentication(following: int) -> bytes:
    """An authentication header; it counts its length in units of four bytes."""
    return bytes([following, 4]) + bytes(22)


def fragment(
    following: int, offset: int, more: bool, identification: int = 0x1234
) -> bytes:
    """A fragment header; `offset` in bytes."""
    return struct.pack("!BBHI", following, 0, offset | more, identification)


def datagram(source: str, destination: str, dport: int, payload: bytes = b"") -> bytes:
    """A UDP packet that a socket takes: over IPv6 that needs the right checksum."""
    layer = IPv6 if ":" in source else IP
    return bytes(
        layer(src=source, dst=destination) / UDP(sport=40000, dport=dport) / payload
    )


def same(packet: bytes) -> bytes:
    """The packet without what a router changes: two packets are the same if these are."""
    if packet[0] >> 4 == 4:
        return packet[:8] + b"\0" + packet[9:10] + b"\0\0" + packet[12:]
    return packet[:7] + b"\0" + packet[8:]
