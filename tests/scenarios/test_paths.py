# SPDX-License-Identifier: GPL-2.0
"""The hook paths of a container host, each row of the table, from the module's own trace.

The network is `Published` (its drawing is there): an outside machine, the host with a bridge and
a published port, two containers. For TCP over IPv4 and IPv6, with bridge-nf-call-*tables off and
on: the exact sequence of hooks that request and reply pass, in which namespace, with which
devices and addresses, as one and the same sk_buff.

Addresses are those that the first hook sees: before DNAT at PRE_ROUTING, before SNAT at
POST_ROUTING. At POST_ROUTING a packet that is forwarded still shows the device it came in by
(since Linux 5.7); one that was made here, or is only bridged, shows none.
"""

from collections.abc import Iterator

import pytest

from lib import control
from lib.netns import HOST, Namespace
from lib.topology import ADDRESSES, Published, bridge_calls
from lib.trace import TraceLine, Tracer

# Columns: namespace, hook, in, out, dev, physin, physout, source, destination with port
PUBLISHED_REQUEST = """
ext    LOCAL_OUT    -     eth0  -        -        -   {ext}  {host}:8081
ext    POST_ROUTING -     eth0  eth0     -        -   {ext}  {host}:8081
host   PRE_ROUTING  ext0  -     ext0     -        -   {ext}  {host}:8081
host   FORWARD      ext0  br0   ext0     -        -   {ext}  {web}:8080
host   POST_ROUTING ext0  br0   br0      -        -   {ext}  {web}:8080
web    PRE_ROUTING  eth0  -     eth0     -        -   {ext}  {web}:8080
web    LOCAL_IN     eth0  -     eth0     -        -   {ext}  {web}:8080
"""
PUBLISHED_REPLY = """
web    LOCAL_OUT    -     eth0  -        -        -   {web}:8080   {ext}
web    POST_ROUTING -     eth0  eth0     -        -   {web}:8080   {ext}
host   PRE_ROUTING  br0   -     br0      {port}   -   {web}:8080   {ext}
host   FORWARD      br0   ext0  br0      {port}   -   {web}:8080   {ext}
host   POST_ROUTING br0   ext0  ext0     {port}   -   {web}:8080   {ext}
ext    PRE_ROUTING  eth0  -     eth0     -        -   {host}:8081  {ext}
ext    LOCAL_IN     eth0  -     eth0     -        -   {host}:8081  {ext}
"""
BRIDGED_REQUEST = """
client LOCAL_OUT    -     eth0  -        -        -         {client}  {web}:8080
client POST_ROUTING -     eth0  eth0     -        -         {client}  {web}:8080
{between}
web    PRE_ROUTING  eth0  -     eth0     -        -         {client}  {web}:8080
web    LOCAL_IN     eth0  -     eth0     -        -         {client}  {web}:8080
"""
BRIDGED_REQUEST_BETWEEN = """
host   PRE_ROUTING  br0   -     br0      veth-cli -         {client}  {web}:8080
host   FORWARD      br0   br0   veth-web veth-cli veth-web  {client}  {web}:8080
host   POST_ROUTING -     br0   veth-web veth-cli veth-web  {client}  {web}:8080
"""
BRIDGED_REPLY = """
web    LOCAL_OUT    -     eth0  -        -        -         {web}:8080  {client}
web    POST_ROUTING -     eth0  eth0     -        -         {web}:8080  {client}
{between}
client PRE_ROUTING  eth0  -     eth0     -        -         {web}:8080  {client}
client LOCAL_IN     eth0  -     eth0     -        -         {web}:8080  {client}
"""
BRIDGED_REPLY_BETWEEN = """
host   PRE_ROUTING  br0   -     br0      veth-web -         {web}:8080  {client}
host   FORWARD      br0   br0   veth-cli veth-web veth-cli  {web}:8080  {client}
host   POST_ROUTING -     br0   veth-cli veth-web veth-cli  {web}:8080  {client}
"""
# The neighbour uses the published port: DNAT, masquerade, and out again by the same bridge.
HAIRPIN_REQUEST = """
client LOCAL_OUT    -     eth0  -        -        -   {client}  {host}:8081
client POST_ROUTING -     eth0  eth0     -        -   {client}  {host}:8081
host   PRE_ROUTING  br0   -     br0      -        -   {client}  {host}:8081
host   FORWARD      br0   br0   br0      -        -   {client}  {web}:8080
host   POST_ROUTING br0   br0   br0      -        -   {client}  {web}:8080
web    PRE_ROUTING  eth0  -     eth0     -        -   {br0}     {web}:8080
web    LOCAL_IN     eth0  -     eth0     -        -   {br0}     {web}:8080
"""
HAIRPIN_REPLY = """
web    LOCAL_OUT    -     eth0  -        -        -   {web}:8080   {br0}
web    POST_ROUTING -     eth0  eth0     -        -   {web}:8080   {br0}
host   PRE_ROUTING  br0   -     br0      -        -   {web}:8080   {br0}
host   FORWARD      br0   br0   br0      -        -   {web}:8080   {client}
host   POST_ROUTING br0   br0   br0      -        -   {web}:8080   {client}
client PRE_ROUTING  eth0  -     eth0     -        -   {host}:8081  {client}
client LOCAL_IN     eth0  -     eth0     -        -   {host}:8081  {client}
"""
# The host's own process calls the container.
FROM_HOST_REQUEST = """
host   LOCAL_OUT    -     br0   -        -        -   {br0}  {web}:8080
host   POST_ROUTING -     br0   br0      -        -   {br0}  {web}:8080
web    PRE_ROUTING  eth0  -     eth0     -        -   {br0}  {web}:8080
web    LOCAL_IN     eth0  -     eth0     -        -   {br0}  {web}:8080
"""
FROM_HOST_REPLY = """
web    LOCAL_OUT    -     eth0  -        -        -   {web}:8080  {br0}
web    POST_ROUTING -     eth0  eth0     -        -   {web}:8080  {br0}
host   PRE_ROUTING  br0   -     br0      {port}   -   {web}:8080  {br0}
host   LOCAL_IN     br0   -     br0      {port}   -   {web}:8080  {br0}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Published]:
    """One network for all paths."""
    HOST.run(["modprobe", "br_netfilter"])
    with Published() as network:
        yield network


def path(net: Published, lines: list[TraceLine], flags: str) -> list[str]:
    """The steps of the one packet with these flags, in the form of the tables above."""
    names = {netns.inode: netns.name for netns in net.namespaces}
    steps = [line for line in lines if line.flags == flags]
    assert len({line.id for line in steps}) == 1, "one packet, one identity"
    assert all(line.host == (names[line.netns] == "host") for line in steps)
    assert {(line.verdict, line.rule, line.proto) for line in steps} == {
        ("allow", "default", "TCP")
    }
    return [
        " ".join(
            (
                names[line.netns],
                line.hook,
                line.input,
                line.output,
                line.dev,
                line.physin,
                line.physout,
                f"{line.src}:{line.spt}" if line.spt in (8080, 8081) else line.src,
                f"{line.dst}:{line.dpt}" if line.dpt in (8080, 8081) else line.dst,
            )
        )
        for line in steps
    ]


def expected(table: str, version: int, **more: str) -> list[str]:
    """A table's rows with the addresses of an IP version in them."""
    text = table.format(**ADDRESSES[version], **more)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def watch(
    net: Published,
    tracer: Tracer,
    source: Namespace,
    version: int,
    target: str,
    port: int,
) -> list[TraceLine]:
    """Traces the opening of one connection."""
    # Neighbours and bridge ports are learnt first: a flooded frame is another sk_buff.
    net.connect(source, version, target, port).close()
    control.trace(
        *(f"proto tcp {key} {n}" for key in ("sport", "dport") for n in (8080, 8081))
    )
    tracer.skip()
    with net.connect(source, version, target, port):
        pass
    control.trace()
    return tracer.lines()


@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("version", [4, 6])
def test_published_port(
    net: Published, tracer: Tracer, version: int, calls: int
) -> None:
    """ext -> host:8081 -> web:8080, and back."""
    bridge_calls(calls)
    lines = watch(net, tracer, net.ext, version, "host", 8081)
    assert path(net, lines, "SYN") == expected(PUBLISHED_REQUEST, version)
    # Only br_netfilter knows by which port of the bridge the reply came.
    port = "veth-web" if calls else "-"
    assert path(net, lines, "SYN,ACK") == expected(PUBLISHED_REPLY, version, port=port)


@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("version", [4, 6])
def test_bridged(net: Published, tracer: Tracer, version: int, calls: int) -> None:
    """client -> web on one bridge: the host sees it only with bridge-nf-call-*tables=1."""
    bridge_calls(calls)
    lines = watch(net, tracer, net.client, version, "web", 8080)
    there = BRIDGED_REQUEST.replace(
        "{between}", BRIDGED_REQUEST_BETWEEN if calls else ""
    )
    back = BRIDGED_REPLY.replace("{between}", BRIDGED_REPLY_BETWEEN if calls else "")
    assert path(net, lines, "SYN") == expected(there, version)
    assert path(net, lines, "SYN,ACK") == expected(back, version)


@pytest.mark.parametrize("version", [4, 6])
def test_hairpin(net: Published, tracer: Tracer, version: int) -> None:
    """client -> host:8081 -> web:8080: the container sees the bridge's address."""
    bridge_calls(0)
    lines = watch(net, tracer, net.client, version, "host", 8081)
    assert path(net, lines, "SYN") == expected(HAIRPIN_REQUEST, version)
    assert path(net, lines, "SYN,ACK") == expected(HAIRPIN_REPLY, version)


@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("version", [4, 6])
def test_from_host(net: Published, tracer: Tracer, version: int, calls: int) -> None:
    """The host's own connection to a container."""
    bridge_calls(calls)
    lines = watch(net, tracer, HOST, version, "web", 8080)
    assert path(net, lines, "SYN") == expected(FROM_HOST_REQUEST, version)
    port = "veth-web" if calls else "-"
    assert path(net, lines, "SYN,ACK") == expected(FROM_HOST_REPLY, version, port=port)
