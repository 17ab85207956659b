# SPDX-License-Identifier: GPL-2.0
"""The way of each packet through hooks and network namespaces, from trace lines.

ctrfw logs one line a hook:

    ctrfw: trace id=00000000c7a1b2d3 netns=4026531840(host) hook=FORWARD in=wan0 ...

The id is the hashed address of the sk_buff, which is the same in every
namespace the packet passes. The kernel uses an address again soon, so lines
with one id are a path only as long as each may follow the one before it: see
`follows`. A tunnel's outer and inner packet come out as two paths.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import socket
import sys
from dataclasses import dataclass, field

# Within a namespace a packet only moves up; after POST_ROUTING it may come in
# again (loopback, or a veth pair with both ends here).
RANK = {
    "PRE_ROUTING": 0,
    "LOCAL_OUT": 0,
    "LOCAL_IN": 1,
    "FORWARD": 1,
    "POST_ROUTING": 2,
}

# Verdicts that end a packet's way.
REFUSED = ("deny", "reject")

TRACE = re.compile(r"ctrfw: trace (id=.*)")
LEFT_OUT = re.compile(r"ctrfw: trace: (\d+) (?:lines left out|events lost)")
# dmesg and journalctl -o short-monotonic; /dev/kmsg.
STAMP = re.compile(r"\[ *(\d+\.\d+)\]")
KMSG = re.compile(r"\d+,\d+,(\d+),[^;]*;")


@dataclass(frozen=True)
class Endpoint:
    """An address, with a port where the packet has one."""

    address: str
    port: int | None = None

    def __str__(self):
        if self.port is None:
            return self.address
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )

    def same(self, other):
        """Equal as far as both are known: later fragments have no ports."""
        known = self.port is not None and other.port is not None
        return self.address == other.address and (not known or self.port == other.port)


@dataclass(frozen=True)
class Step:
    """One trace line."""

    time: float | None
    id: str
    netns: int
    host: bool
    hook: str
    iif: str
    oif: str
    dev: str
    physin: str
    physout: str
    src: Endpoint
    dst: Endpoint
    proto: str
    kind: str  # TCP flags, or type/code of ICMP
    frag: str
    length: int
    unparsed: str
    verdict: str
    rule: str
    line: str

    @property
    def ports(self):
        return (
            "-"
            if self.physin == self.physout == "-"
            else f"{self.physin}>{self.physout}"
        )


@dataclass(frozen=True)
class Nat:
    """An endpoint that changed between a step and the one before it."""

    name: str
    old: Endpoint
    new: Endpoint

    def __str__(self):
        return f"{self.name} {self.old} => {self.new}"


@dataclass
class Path:
    """The steps of one packet; nat has a list for each of them."""

    steps: list = field(default_factory=list)
    nat: list = field(default_factory=list)

    def end(self, names):
        last = self.steps[-1]
        where = name_of(last, names)
        by = {"default": "the default", "failsafe": "the failsafe"}.get(
            last.rule, f"rule {last.rule}"
        )
        if last.verdict in REFUSED:
            return f"refused by {by} in {where} at {last.hook}"
        if last.verdict == "queue":
            return f"queued by {by} in {where} at {last.hook}, not seen after that"
        if last.hook == "LOCAL_IN":
            return f"reached {where}"
        if last.hook == "POST_ROUTING":
            return f"left {where} through {last.oif}"
        joined = "" if last.frag == "-" else "one of several fragments put together, "
        return f"not seen after {last.hook} in {where}: {joined}dropped by others, or not traced further"


def stamp(line):
    """Seconds since boot, if the line has them."""
    found = KMSG.match(line)
    if found:
        return int(found[1]) / 1e6
    found = STAMP.search(line)
    return float(found[1]) if found else None


def parse(line):
    """The Step of a trace line; None for other lines and what is cut short."""
    found = TRACE.search(line)
    if not found:
        return None
    try:
        word = dict(w.split("=", 1) for w in found[1].split())
        netns, _, host = word["netns"].partition("(")
        if word["hook"] not in RANK:
            return None
        kind = word.get("flags", "-")
        if "type" in word:
            kind = f"type {word['type']} code {word['code']}"
        spt, dpt = word.get("spt"), word.get("dpt")
        return Step(
            time=stamp(line),
            id=word["id"],
            netns=int(netns),
            host=host == "host)",
            hook=word["hook"],
            iif=word["in"],
            oif=word["out"],
            dev=word["dev"],
            physin=word["physin"],
            physout=word["physout"],
            src=Endpoint(word["src"], spt and int(spt)),
            dst=Endpoint(word["dst"], dpt and int(dpt)),
            proto=word["proto"],
            kind=kind,
            frag=word.get("frag", "-"),
            length=int(word["len"]),
            unparsed=word.get("unparsed", "-"),
            verdict=word["verdict"],
            rule=word["rule"],
            line=found[0],
        )
    except (KeyError, ValueError):
        return None


def same_packet(a, b):
    """Can b be the packet a, perhaps with one address translated between?"""
    if a.proto != b.proto or not (a.src.same(b.src) or a.dst.same(b.dst)):
        return False
    # Fragmenting and putting together changes the length, nothing else does.
    return a.frag != b.frag or (a.length == b.length and a.kind == b.kind)


def follows(a, b, gap):
    """Can line b be the next step of the packet that line a is about?"""
    if a.verdict in REFUSED or a.hook == "LOCAL_IN" or b.hook == "LOCAL_OUT":
        return False
    if a.time is not None and b.time is not None and b.time - a.time > gap:
        return False
    if not same_packet(a, b):
        return False
    if a.netns != b.netns or (a.hook, b.hook) == ("POST_ROUTING", "PRE_ROUTING"):
        return True
    return RANK[b.hook] > RANK[a.hook]


class Translations:
    """What has been seen so far, to tell a translation from the taking back of one.

    Connection tracking takes back in the replies what it did to the requests.
    """

    def __init__(self):
        self.flows = set()
        self.dnat = set()

    def add(self, step):
        self.flows.add((step.proto, step.src, step.dst))

    def between(self, a, b):
        """The translations from step a to b."""
        found = []
        if not a.dst.same(b.dst):
            # SNAT comes after the last hook, so it may never have been seen: what
            # now goes back to where a flow came from is a reply of that flow.
            back = (b.proto, b.dst, b.src) in self.flows
            found.append(Nat("reverse SNAT" if back else "DNAT", a.dst, b.dst))
            if not back:
                self.dnat.add((a.dst, b.dst))
        if not a.src.same(b.src):
            back = (b.src, a.src) in self.dnat
            found.append(Nat("reverse DNAT" if back else "SNAT", a.src, b.src))
        return found


def paths_of(steps, gap=1.0):
    """Sorts steps into paths, in the order of their first steps."""
    paths, newest, seen = [], {}, Translations()
    for step in steps:
        path = newest.get(step.id)
        if path is None or not follows(path.steps[-1], step, gap):
            path = newest[step.id] = Path()
            paths.append(path)
        path.nat.append(seen.between(path.steps[-1], step) if path.steps else [])
        path.steps.append(step)
        seen.add(step)
    return paths


# Names of namespaces: {inode: name}.


def name_of(step, names):
    return names.get(step.netns) or ("host" if step.host else str(step.netns))


def names_from_ip(folder="/run/netns"):
    """The namespaces of `ip netns`."""
    root = pathlib.Path(folder)
    return {p.stat().st_ino: p.name for p in root.iterdir()} if root.is_dir() else {}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def docker_get(url, path="/run/docker.sock"):
    """What Docker's API (or Podman's, which speaks the same) answers."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", url)
        answer = connection.getresponse()
        body = json.load(answer)
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{path}: {url}: {answer.status} {body.get('message', '')}")
    return body


def names_from_docker(path="/run/docker.sock"):
    """The namespaces of the running containers."""
    names = {}
    host = os.stat("/proc/1/ns/net").st_ino
    for container in docker_get("/containers/json", path):
        pid = docker_get(f"/containers/{container['Id']}/json", path)["State"]["Pid"]
        inode = os.stat(f"/proc/{pid}/ns/net").st_ino
        if inode != host:
            names[inode] = container["Names"][0].lstrip("/")
    return names


# Output.

HEAD = (
    "#",
    "namespace",
    "hook",
    "in",
    "out",
    "device",
    "bridge ports",
    "source -> destination",
    "verdict",
)


def cells(number, step, names):
    """A step as a row below HEAD."""
    rule = f"rule {step.rule}" if step.rule.isdigit() else step.rule
    return [
        str(number),
        name_of(step, names),
        step.hook,
        step.iif,
        step.oif,
        step.dev,
        step.ports,
        f"{step.src} -> {step.dst}",
        f"{step.verdict} {rule}"
        + ("" if step.unparsed == "-" else f" unparsed: {step.unparsed}"),
    ]


def columns(rows, indent="  "):
    """Rows of cells as lines, as wide as they need to be."""
    wide = [max(map(len, column)) for column in zip(*rows)]
    return [
        (indent + "  ".join(c.ljust(w) for c, w in zip(row, wide))).rstrip()
        for row in rows
    ]


def title(path):
    """A packet in one line."""
    first = path.steps[0]
    kind = "" if first.kind == "-" else f" {first.kind}"
    frag = "" if first.frag == "-" else f" fragment {first.frag}"
    time = "" if first.time is None else f" at {first.time:.6f}"
    return f"{first.proto}{kind}{frag} {first.src} -> {first.dst}, {first.length} bytes, packet {first.id}{time}"


def table(path, names, marks=None):
    """The steps as lines, NAT between them; marks are put at the rows' ends."""
    marks = marks or [""] * len(path.steps)
    rows = [[*HEAD, ""]]
    rows += [
        [*cells(n, s, names), mark]
        for n, (s, mark) in enumerate(zip(path.steps, marks), 1)
    ]
    head, *lines = columns(rows)
    yield head
    for number, line in enumerate(lines):
        yield from (f"     -- {note}" for note in notes(path, number))
        yield line


def notes(path, number):
    """What has happened to a packet before one of its steps."""
    step, before = path.steps[number], path.steps[max(number - 1, 0)]
    if step.length != before.length:
        what = "put together" if step.frag == "-" else f"fragment {step.frag}"
        yield f"{what}: {before.length} => {step.length} bytes"
    yield from path.nat[number]


def text_of(path, names):
    """A path as lines."""
    return [title(path), *table(path, names), f"  {path.end(names)}"]


def data_of(path, names):
    """A path for json.dumps."""
    steps = []
    for step, nat in zip(path.steps, path.nat):
        step_data = {
            "time": step.time,
            "netns": step.netns,
            "namespace": name_of(step, names),
            "hook": step.hook,
        }
        step_data.update({"in": step.iif, "out": step.oif, "dev": step.dev})
        step_data.update({"physin": step.physin, "physout": step.physout})
        step_data.update(
            {
                "src": step.src.address,
                "spt": step.src.port,
                "dst": step.dst.address,
                "dpt": step.dst.port,
            }
        )
        step_data.update(
            {"len": step.length, "frag": step.frag, "unparsed": step.unparsed}
        )
        step_data.update({"verdict": step.verdict, "rule": step.rule})
        step_data["nat"] = [
            {"name": n.name, "old": str(n.old), "new": str(n.new)} for n in nat
        ]
        steps.append(step_data)
    first = path.steps[0]
    return {
        "id": first.id,
        "proto": first.proto,
        "kind": first.kind,
        "end": path.end(names),
        "steps": steps,
    }


def arguments():
    parser = argparse.ArgumentParser(
        prog="ctrfw-paths",
        description="Prints the way of each packet through hooks and network namespaces,"
        " from the trace lines that ctrfw leaves in the kernel log.",
        epilog="example: echo 'proto tcp dport 8080' > /proc/ctrfw/trace; ...; dmesg | ctrfw-paths --netns-from-docker",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=argparse.FileType(),
        default=sys.stdin,
        help="the log (default: stdin)",
    )
    parser.add_argument(
        "--names",
        metavar="INODE=NAME",
        nargs="+",
        action="extend",
        default=[],
        help="names of network namespaces",
    )
    parser.add_argument(
        "--netns-from-docker",
        metavar="SOCKET",
        nargs="?",
        const="/run/docker.sock",
        help="ask Docker for the names of its containers",
    )
    parser.add_argument(
        "--netns-from-ip",
        action="store_true",
        help="take the names that ip netns knows",
    )
    parser.add_argument(
        "--gap",
        metavar="SECONDS",
        type=float,
        default=1.0,
        help="after such a pause the same id is another packet (default: 1)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def names_of(parser, options):
    """The names that the command line asks for."""
    names = names_from_ip() if options.netns_from_ip else {}
    if options.netns_from_docker:
        try:
            names.update(names_from_docker(options.netns_from_docker))
        except (OSError, ValueError) as error:
            parser.error(f"--netns-from-docker: {error}")
    for pair in options.names:
        inode, _, name = pair.partition("=")
        if not inode.isdigit() or not name:
            parser.error(f'--names: got "{pair}", expected INODE=NAME')
        names[int(inode)] = name
    return names


def main():
    parser = arguments()
    options = parser.parse_args()
    names = names_of(parser, options)
    steps, left_out, bad = [], 0, 0
    for line in options.file:
        step = parse(line)
        held = LEFT_OUT.search(line)
        if step:
            steps.append(step)
        elif held:
            left_out += int(held[1])
        elif TRACE.search(line):
            bad += 1
    paths = paths_of(steps, options.gap)
    try:
        if options.json:
            print(json.dumps([data_of(path, names) for path in paths], indent=1))
        else:
            for path in paths:
                print("\n".join(text_of(path, names)) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head`: Python's own flush at exit must not complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if left_out:
        print(
            f"ctrfw-paths: {left_out} lines were left out or lost: paths may have gaps",
            file=sys.stderr,
        )
    if bad:
        print(f"ctrfw-paths: {bad} trace lines were not understood", file=sys.stderr)
    return 0
