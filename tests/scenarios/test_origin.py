# SPDX-License-Identifier: GPL-2.0
"""`origdst` and `origdport`: where a connection's first packet was sent to, before any DNAT.

    ext                        host                                   web
    eth0 192.0.2.2   ---   ext0 192.0.2.1        br0 172.17.0.1  ---  eth0 172.17.0.2:8080
         2001:db8:2::2          2001:db8:2::1        fd00:17::1           fd00:17::2
                               :8081 DNAT -> web:8080

Proven, for both families: at each hook of the host the published address and port are told from
the container's own, which it is reached by as well, in requests and in answers; at a hook before
the translation as behind it; in the container its own address is the original one; errors about a
connection are as it is; fragments are decided by the first one; the words have connections tracked
as `state` does.
"""

from collections.abc import Iterator

import pytest

from lib import conntrack, control, nft, talk
from lib.netns import HOST, Namespace
from lib.poll import until
from lib.topology import ADDRESSES, Published
from lib.trace import Tracer

PUBLISHED, OWN = 8081, 8080
# Published, and nobody listens there
DEAF, DEAF_OWN = 8082, 7001
UDP_PUBLISH = f"""
table inet deaf {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        ip daddr 192.0.2.1 udp dport {DEAF} dnat ip to 172.17.0.2:{DEAF_OWN}
        ip6 daddr 2001:db8:2::1 udp dport {DEAF} dnat ip6 to [fd00:17::2]:{DEAF_OWN}
    }}
}}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Published]:
    """One network for all, with ports published as an engine does it."""
    with Published() as network:
        nft.load(UDP_PUBLISH)
        yield network


def counted(*indices: int) -> list[int]:
    """What these statements have counted, from 0."""
    counters = control.counters()
    return [counters[index].packets for index in indices]


def converse(net: Published, client: Namespace, address: str, port: int) -> None:
    """Opens a connection to what listens in the container, and has a word each way."""
    family = talk.family_of(address)
    listener = next(each for each in net.listeners if each.family == family)
    talk.converse(client, listener, address, port)


def refused(client: Namespace, address: str, port: int, counter: int) -> None:
    """Tries to connect until the statement with this index has counted it."""
    (before,) = counted(counter)
    with talk.begin_tcp(client, address, port):
        until(lambda: counted(counter) > [before], "the connection is refused")


THROUGH = ("pre_routing", "forward", "post_routing")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", THROUGH)
def test_published_or_direct(net: Published, hook: str, version: int) -> None:
    """From outside: one way in is let through in both directions, the other is not."""
    source = ADDRESSES[version]["ext"]
    host, web = ADDRESSES[version]["host"], ADDRESSES[version]["web"]
    here = f"proto tcp hook {hook} netns host"
    ways = {(host, PUBLISHED), (web, OWN)}
    for address, port in ways:
        words = f"origdst {address} origdport {port} {here}"
        control.load_rules(
            f"allow from {source} {words}",
            f"allow {words}",
            f"deny from {{ {source}, {web} }} {here}",
        )
        converse(net, net.ext, address, port)
        requests, answers, rest = counted(0, 1, 2)
        assert requests >= 3
        assert answers >= 2
        assert rest == 0
        ((other, other_port),) = ways - {(address, port)}
        refused(net.ext, other, other_port, 2)
        assert counted(0, 1) == [requests, answers]

        # The same the other way round, and by sets
        control.load_rules(
            f"set where {{ {address}, 203.0.113.1 }}",
            f"set ports {{ {port}, 1 }}",
            f"deny origdst @where {here}",
            f"deny origdport @ports {here}",
            f"allow origdst !@where origdport !@ports {here}",
        )
        converse(net, net.ext, other, other_port)
        assert counted(0, 1) == [0, 0]
        refused(net.ext, address, port, 0)
        control.load_rules(f"deny origdport {port} {here}")
        converse(net, net.ext, other, other_port)
        assert counted(0) == [0]
        refused(net.ext, address, port, 0)


@pytest.mark.parametrize("version", [4, 6])
def test_from_the_host(net: Published, version: int) -> None:
    """A process of the host asks the published port: seen before the translation and behind it."""
    host = ADDRESSES[version]["host"]
    hooks = ("local_out", "post_routing", "pre_routing", "local_in")
    words = f"proto tcp origdst {host} origdport {PUBLISHED}"
    control.load_rules(
        *(f"allow {words} hook {hook} netns host" for hook in hooks),
        "deny proto tcp netns host",
    )
    converse(net, HOST, host, PUBLISHED)
    counts = counted(*range(len(hooks)))
    assert min(counts) >= 2, dict(zip(hooks, counts, strict=True))
    assert counted(len(hooks)) == [0]
    refused(HOST, ADDRESSES[version]["web"], OWN, len(hooks))


@pytest.mark.parametrize("version", [4, 6])
def test_in_the_container(net: Published, version: int) -> None:
    """Its namespace tracks connections of its own, and translates nothing."""
    web = ADDRESSES[version]["web"]
    here = f"netns {net.web.inode}"
    control.load_rules(
        f"allow proto tcp origdst {web} origdport {OWN} {here}",
        f"deny proto tcp {here}",
    )
    converse(net, net.ext, ADDRESSES[version]["host"], PUBLISHED)
    known, rest = counted(0, 1)
    assert known >= 8
    assert rest == 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", THROUGH)
def test_errors(net: Published, hook: str, version: int) -> None:
    """An ICMP error is of the connection that it is about."""
    host = ADDRESSES[version]["host"]
    here = f"hook {hook} netns host"
    control.load_rules(
        f"allow proto {{ icmp, icmpv6 }} origdst {host} origdport {DEAF} {here}",
        f"deny origdport {DEAF_OWN} {here}",
        f"allow proto udp origdport {DEAF} {here}",
    )
    with net.ext.udp(ADDRESSES[version]["ext"]) as sock:
        sock.connect((host, DEAF))
        sock.send(b"question")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    assert counted(0, 1, 2) == [1, 0, 1]


@pytest.mark.parametrize("version", [4, 6])
def test_fragments(net: Published, version: int) -> None:
    """Later fragments show nothing before they are put together: the first one's decides."""
    source, target = ADDRESSES[version]["ext"], ADDRESSES[version]["web"]
    large = bytes(4000)
    for hook in ("pre_routing", "forward"):
        here = f"proto udp hook {hook} netns host"
        words = f"origdst {target} origdport {OWN}"
        for table in (
            [f"allow {words} {here}", f"deny {here}"],
            [f"deny origdst !{target} {here}", f"deny origdport !{OWN} {here}"],
        ):
            control.load_rules(*table)
            with net.ext.udp(source, OWN) as sock, net.web.udp(target, OWN) as peer:
                sock.sendto(large, (target, OWN))
                assert peer.recv(5000) == large
                peer.sendto(large, (source, OWN))
                assert sock.recv(5000) == large


def test_untracked(net: Published) -> None:
    """What nobody tracks nobody translates: it was sent to where it goes."""
    nft.load(
        "table inet raw { chain prerouting {\n"
        "type filter hook prerouting priority raw;\n"
        f"udp dport {OWN} notrack\nudp sport {OWN} notrack\n}}\n}}\n"
    )
    try:
        source, target = ADDRESSES[4]["ext"], ADDRESSES[4]["web"]
        here = "proto udp hook forward netns host"
        control.load_rules(
            f"allow origdst {target} origdport {OWN} {here}",
            f"allow origdst {source} state untracked {here}",
            f"deny {here}",
        )
        talk.udp(net.ext, net.web, target, OWN)
        assert counted(0, 1, 2) == [1, 1, 0]
    finally:
        nft.load("delete table inet raw")


def test_who_tracks(net: Published) -> None:
    """Each of the words has connections tracked where its rule holds, and no longer."""
    web = net.web
    for words in ("origdst 10.0.0.1", "origdport 80"):
        control.load_rules(f"deny {words} netns {web.inode}")
        assert conntrack.tracks(web) == {"ip", "ip6"}
        assert not conntrack.tracks(net.client)
        control.load_rules()
        assert not conntrack.tracks(web)
        control.trace(f"{words} netns {web.inode}")
        assert conntrack.tracks(web) == {"ip", "ip6"}
        control.trace()
        assert not conntrack.tracks(web)


def test_trace(net: Published, tracer: Tracer) -> None:
    """The trace takes the words, too."""
    control.trace(f"origdst 192.0.2.1 origdport {PUBLISHED} netns host")
    converse(net, net.ext, ADDRESSES[4]["web"], OWN)
    converse(net, net.ext, ADDRESSES[4]["host"], PUBLISHED)
    lines = tracer.lines()
    assert {line.dpt for line in lines if line.src == "192.0.2.2"} == {PUBLISHED, OWN}
    assert {line.spt for line in lines if line.src == "172.17.0.2"} == {OWN}
    assert {line.hook for line in lines} == {"PRE_ROUTING", "FORWARD", "POST_ROUTING"}
