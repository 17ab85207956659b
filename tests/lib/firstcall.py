# SPDX-License-Identifier: GPL-2.0
"""A program whose first instructions are a datagram and a connection attempt."""

import socket
import struct

_BASE = 0x400000
_HEADERS = 64 + 2 * 56


def _asm(*parts: bytes) -> bytes:
    return b"".join(parts)


def _set(register: int, value: int) -> bytes:
    """mov r32, imm32"""
    return bytes([0xB8 + register]) + struct.pack("<I", value)


_EAX, _ECX, _EDX, _ESI, _EDI = 0, 1, 2, 6, 7
_SYSCALL = b"\x0f\x05"
_MOV_EDI_EAX = b"\x89\xc7"
_XOR_R8_R8, _XOR_R10_R10 = b"\x4d\x31\xc0", b"\x4d\x31\xd2"
_SENDTO, _SOCKET, _CONNECT, _EXIT = 44, 41, 42, 60
_NONBLOCK = 0o4000


def program(address: str, udp: int, tcp: int) -> bytes:
    """A static x86-64 executable: sendto(), connect(), exit(), and nothing else."""

    def socket_call(kind: int) -> bytes:
        return _asm(
            _set(_EAX, _SOCKET),
            _set(_EDI, socket.AF_INET),
            _set(_ESI, kind | _NONBLOCK),
            _set(_EDX, 0),
            _SYSCALL,
            _MOV_EDI_EAX,
        )

    def target(port: int) -> bytes:
        return struct.pack(
            "<H2s4s8x",
            socket.AF_INET,
            port.to_bytes(2),
            socket.inet_aton(address),
        )

    def code(data: int) -> bytes:
        return _asm(
            socket_call(socket.SOCK_DGRAM),
            # sendto(fd, &target, 1, 0, &target, 16)
            _set(_ESI, data),
            _set(_EDX, 1),
            _XOR_R10_R10,
            b"\x41" + _set(_EAX, data),  # mov r8d, imm32
            b"\x41" + _set(_ECX, 16),  # mov r9d, imm32
            _set(_EAX, _SENDTO),
            _SYSCALL,
            socket_call(socket.SOCK_STREAM),
            _set(_ESI, data + 16),
            _set(_EDX, 16),
            _set(_EAX, _CONNECT),
            _SYSCALL,
            _set(_EDI, 0),
            _set(_EAX, _EXIT),
            _SYSCALL,
        )

    start = _BASE + _HEADERS
    length = len(code(0))
    body = code(start + length) + target(udp) + target(tcp)
    size = _HEADERS + len(body)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", identity, 2, 62, 1, start, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    # PT_GNU_STACK: nothing on the stack is to be executed.
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 0)
    return header + segment + stack + body
