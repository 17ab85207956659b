# SPDX-License-Identifier: GPL-2.0
"""Throughput between two containers on a bridge: `iperf_cost.py ROUNDS SECONDS OUTPUT`, in a guest.

The containers are network namespaces. The bridge hands its packets to the host's hooks, as Docker
may have it do, so each packet passes seven hooks: two of the sender's, three of the host's, two of
the receiver's. Each round measures all in an order of its own; what is told beside the throughput is
its ratio to that without ctrfw in the same round.

    web (10.66.0.1) eth0 -- web0 [ br66 ] db0 -- eth0 (10.66.0.2) db
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import peers
from figures import Figure, figure, write
from lib.netns import HOST, Namespace

SERVER = "10.66.0.2"
WHOLE, CUT = "segments of up to 64 KiB", "packets of 1500 bytes"
OFFLOADS = ("tso", "gso", "gro")


def connect() -> tuple[Namespace, Namespace]:
    """Two namespaces on a bridge, whose packets the host's hooks see."""
    web, db = Namespace.create("web"), Namespace.create("db")
    subprocess.run(["modprobe", "br_netfilter"], check=True)
    HOST.sysctl("bridge/bridge-nf-call-iptables", 1)
    HOST.ip("link add br66 type bridge", "link set br66 up")
    for number, netns in enumerate((web, db), 1):
        port = f"{netns.name}0"
        HOST.ip(
            f"link add {port} type veth peer name eth0 netns {netns.path}",
            f"link set {port} master br66 up",
        )
        netns.ip(f"addr add 10.66.0.{number}/24 dev eth0", "link set eth0 up")
    return web, db


def offload(netns: Namespace, device: str, on: bool) -> None:
    """Whether a device cuts what is larger than a packet, or has it cut."""
    words = [word for name in OFFLOADS for word in (name, "on" if on else "off")]
    netns.run(["ethtool", "-K", device, *words])


def serve(db: Namespace) -> subprocess.Popen[str]:
    """A server, when it listens."""
    with db:
        server = subprocess.Popen(
            ["iperf3", "-s", "-B", SERVER, "--forceflush"],
            stdout=subprocess.PIPE,
            text=True,
        )
    for line in server.stdout or ():
        if "listening" in line:
            return server
    raise RuntimeError("iperf3 does not listen")


def throughput(web: Namespace, db: Namespace, seconds: float) -> float:
    """Gbit/s of one TCP connection, from the sender's start."""
    server = serve(db)
    try:
        out = web.run(["iperf3", "-c", SERVER, "-t", str(seconds), "-J"])
    finally:
        server.kill()
        server.wait()
    return json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e9


def subjects() -> list[peers.Subject]:
    """Without ctrfw, with an empty table, with one of which no rule matches."""
    found = [peers.Subject("no ctrfw", "none", [])]
    found += peers.native("empty", None, [])
    found += peers.native("10k rules", "acl1_10k.ctrfw", [])
    for subject in found[1:]:
        subject.name += f", {subject.rules}"
    return found


def main() -> None:
    """Measures in rounds."""
    rounds, seconds, output = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    web, db = connect()
    found: list[Figure] = []
    for what in (WHOLE, CUT):
        for netns, device in (
            (web, "eth0"),
            (db, "eth0"),
            (HOST, "web0"),
            (HOST, "db0"),
        ):
            offload(netns, device, what == WHOLE)
        rates: dict[str, list[float]] = {}
        for number in range(rounds):
            start = time.monotonic()
            order = subjects()
            random.Random(number).shuffle(order)
            for subject in order:
                subject.enter()
                try:
                    rate = throughput(web, db, seconds)
                finally:
                    subject.leave()
                rates.setdefault(subject.name, []).append(rate)
            print(
                f"{what}, round {number + 1}: {time.monotonic() - start:.0f} s",
                flush=True,
            )
        how = f"iperf3, one TCP connection for {seconds:g} s"
        bare = rates["no ctrfw"]
        for name in (subject.name for subject in subjects()):
            found.append(figure(f"iperf {what}", name, "Gbit/s", rates[name], how))
        for name in (subject.name for subject in subjects()[1:]):
            ratios = [rate / other for rate, other in zip(rates[name], bare)]
            how_ratio = f"{how}, by that without ctrfw in the same round"
            found.append(figure(f"iperf ratio {what}", name, "", ratios, how_ratio))
    write(output, found)


if __name__ == "__main__":
    main()
