# SPDX-License-Identifier: GPL-2.0
"""What an administrator would write: a program that decides by python3-netfilterqueue.

verdict_program.py QUEUE: connections from odd ports may not begin.
"""

import sys

from netfilterqueue import NetfilterQueue, Packet

FLAGS, SYN = 13, 2


def decide(packet: Packet) -> None:
    """An IPv4 TCP packet's verdict."""
    data = packet.get_payload()
    tcp = data[(data[0] & 15) * 4 :]
    if tcp[FLAGS] & SYN and int.from_bytes(tcp[:2]) % 2:
        packet.drop()
    else:
        packet.accept()


def main() -> None:
    """Decides until it is killed."""
    queue = NetfilterQueue()
    queue.bind(int(sys.argv[1]), decide)
    print("ready", flush=True)
    queue.run()


if __name__ == "__main__":
    main()
