# SPDX-License-Identifier: GPL-2.0
"""Sending from pages: packets whose bytes do not lie in the linear part of their sk_buff.

What AF_PACKET sends from a mapped ring has only the Ethernet header copied; the packet itself
stays in page fragments. The IP layer pulls no more than its own header out of them.
"""

import mmap
import socket
import struct

from lib.netns import SOL_PACKET, Namespace

PACKET_TX_RING = 13
TP_STATUS_AVAILABLE = 0
TP_STATUS_SEND_REQUEST = 1
TP_STATUS_WRONG_FORMAT = 4

_FRAME = 16384
# struct tpacket_hdr: unsigned long status, unsigned int len, ...; the data follows at 32.
_STATUS = struct.Struct("@L")
_HEADER = struct.Struct("@LI")
_DATA = 32


class TxRing:
    """A ring of one frame on a device."""

    def __init__(self, netns: Namespace, device: str) -> None:
        self._sock = netns.make_socket(socket.AF_PACKET, socket.SOCK_RAW)
        with netns:
            self._sock.bind((device, 0))
        request = struct.pack("@IIII", _FRAME, 1, _FRAME, 1)
        self._sock.setsockopt(SOL_PACKET, PACKET_TX_RING, request)
        self._ring = mmap.mmap(self._sock.fileno(), _FRAME)
        # User Mode Linux finds its page tables in disorder when such a mapping is inherited.
        self._ring.madvise(mmap.MADV_DONTFORK)

    def send(self, frame: bytes) -> None:
        """Sends one frame, and waits until the kernel is done with its page."""
        self._ring[_DATA : _DATA + len(frame)] = frame
        _HEADER.pack_into(self._ring, 0, TP_STATUS_SEND_REQUEST, len(frame))
        self._sock.send(b"")
        status = _STATUS.unpack_from(self._ring)[0]
        assert status != TP_STATUS_WRONG_FORMAT, "the ring's frame was refused"

    def close(self) -> None:
        """Lets go of ring and socket."""
        self._ring.close()
        self._sock.close()
