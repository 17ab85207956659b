# SPDX-License-Identifier: GPL-2.0
"""The hook paths that the trace has to show: a row for each step.

One namespace and hook a row, then what the hook knows. Words are names:
`web`, `client`, `ext`, `host` stand for addresses; P is the client's port;
port(web) is web's port of the bridge, the host's end of its veth pair.
Addresses are what a hook that comes first sees: before DNAT at PRE_ROUTING,
before SNAT at POST_ROUTING.
"""

from dataclasses import dataclass

COLUMNS = ("namespace", "hook", "iif", "oif", "dev", "physin", "physout", "src", "dst")


@dataclass(frozen=True)
class Case:
    title: str
    bridge_nf: int  # net.bridge.bridge-nf-call-iptables
    client: str
    url: str
    request: str
    reply: str
    unseen: tuple = ()  # namespaces that see nothing of this connection


# Docker loads br_netfilter, and with it bridge-nf-call-iptables is 1: what
# comes out of a container then carries the bridge's port also where it is routed.
PUBLISHED = Case(
    title="ext -> published port 8081 of the host (docker run -p 8081:8080)",
    bridge_nf=1,
    client="ext",
    url="http://203.0.113.1:8081/",
    request="""
    ext     LOCAL_OUT     -       eth0     -        -          -          ext:P     host:8081
    ext     POST_ROUTING  -       eth0     eth0     -          -          ext:P     host:8081
    host    PRE_ROUTING   wan0    -        wan0     -          -          ext:P     host:8081
    host    FORWARD       wan0    docker0  wan0     -          -          ext:P     web:8080
    host    POST_ROUTING  wan0    docker0  docker0  -          -          ext:P     web:8080
    web     PRE_ROUTING   eth0    -        eth0     -          -          ext:P     web:8080
    web     LOCAL_IN      eth0    -        eth0     -          -          ext:P     web:8080
    """,
    reply="""
    web     LOCAL_OUT     -       eth0     -        -          -          web:8080  ext:P
    web     POST_ROUTING  -       eth0     eth0     -          -          web:8080  ext:P
    host    PRE_ROUTING   docker0 -        docker0  port(web)  -          web:8080  ext:P
    host    FORWARD       docker0 wan0     docker0  port(web)  -          web:8080  ext:P
    host    POST_ROUTING  docker0 wan0     wan0     port(web)  -          web:8080  ext:P
    ext     PRE_ROUTING   eth0    -        eth0     -          -          host:8081 ext:P
    ext     LOCAL_IN      eth0    -        eth0     -          -          host:8081 ext:P
    """,
)

# The bridge alone carries the packet: no hook of the host sees it.
SWITCHED = Case(
    title="client -> web on one bridge, bridge-nf-call-iptables=0",
    bridge_nf=0,
    client="client",
    url="http://172.17.0.2:8080/",
    request="""
    client  LOCAL_OUT     -       eth0     -        -          -          client:P  web:8080
    client  POST_ROUTING  -       eth0     eth0     -          -          client:P  web:8080
    web     PRE_ROUTING   eth0    -        eth0     -          -          client:P  web:8080
    web     LOCAL_IN      eth0    -        eth0     -          -          client:P  web:8080
    """,
    reply="""
    web     LOCAL_OUT     -       eth0     -        -          -          web:8080  client:P
    web     POST_ROUTING  -       eth0     eth0     -          -          web:8080  client:P
    client  PRE_ROUTING   eth0    -        eth0     -          -          web:8080  client:P
    client  LOCAL_IN      eth0    -        eth0     -          -          web:8080  client:P
    """,
    unseen=("host",),
)

# in and out name the bridge; the skb's device at FORWARD is the port it leaves by.
BRIDGED = Case(
    title="client -> web on one bridge, bridge-nf-call-iptables=1",
    bridge_nf=1,
    client="client",
    url="http://172.17.0.2:8080/",
    request="""
    client  LOCAL_OUT     -       eth0     -            -             -          client:P  web:8080
    client  POST_ROUTING  -       eth0     eth0         -             -          client:P  web:8080
    host    PRE_ROUTING   docker0 -        docker0      port(client)  -          client:P  web:8080
    host    FORWARD       docker0 docker0  port(web)    port(client)  port(web)  client:P  web:8080
    host    POST_ROUTING  -       docker0  port(web)    port(client)  port(web)  client:P  web:8080
    web     PRE_ROUTING   eth0    -        eth0         -             -          client:P  web:8080
    web     LOCAL_IN      eth0    -        eth0         -             -          client:P  web:8080
    """,
    reply="""
    web     LOCAL_OUT     -       eth0     -            -          -             web:8080  client:P
    web     POST_ROUTING  -       eth0     eth0         -          -             web:8080  client:P
    host    PRE_ROUTING   docker0 -        docker0      port(web)  -             web:8080  client:P
    host    FORWARD       docker0 docker0  port(client) port(web)  port(client)  web:8080  client:P
    host    POST_ROUTING  -       docker0  port(client) port(web)  port(client)  web:8080  client:P
    client  PRE_ROUTING   eth0    -        eth0         -          -             web:8080  client:P
    client  LOCAL_IN      eth0    -        eth0         -          -             web:8080  client:P
    """,
)

CASES = (PUBLISHED, SWITCHED, BRIDGED)


def rows(text, words):
    """A table's rows as dicts, its words put into values by words (a function)."""
    for line in text.strip().splitlines():
        row = dict(zip(COLUMNS, line.split(), strict=True))
        yield {k: v if k in COLUMNS[:2] else words(v) for k, v in row.items()}
