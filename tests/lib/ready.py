# SPDX-License-Identifier: GPL-2.0
"""The policies of docs/policies/, and what each of them says in the place that scene.py draws."""

from pathlib import Path

from lib import control, reach
from lib.netns import Namespace

POLICIES = Path(__file__).parents[2] / "docs" / "policies"

TABLES = {
    "lan-lockdown": """
client  ext        tcp udp ping   yes  # the internet
front   ext        tcp udp ping   yes  # the internet from another network
client  wan0       tcp udp ping   no   # the host by its public address
client  docker0    tcp udp ping   no   # the host by its bridge
client  link       tcp6 ping6     no   # the host by its link-local address
front   br-stack   tcp udp ping   no   # the host by another bridge
front   lan0       tcp udp ping   no   # the host by its private address
client  lan        tcp udp ping   no   # the private network
front   lan        tcp udp ping   no   # the private network from another network
mac     lan        tcp udp ping   no   # the private network by macvlan
mac     lan:389    tcp            yes  # the exception for all
client  lan:389    tcp            yes  # the exception for all
client  lan:5432   tcp            no   # the exception for another one
front   lan:5432   tcp            yes  # the exception for one
client  lan:53     udp            yes  # names
client  web        tcp udp ping   no   # a neighbour on the bridge
client  peer       tcp6 ping6     no   # a neighbour by its link-local address
client  front      tcp udp ping   no   # a neighbour on another bridge
redis   front      tcp udp ping   no   # a neighbour on a bridge that is not the default
front   redis      tcp            yes  # the exception for neighbours
front   redis      udp ping       no   # a neighbour, not as the exception says
client  wan0:8081  tcp udp        no   # a neighbour by its published port
web     web        tcp udp ping   yes  # itself
ext     wan0:8081  tcp udp        yes  # a published port
lan     lan0:8081  tcp udp        yes  # a published port, from the private network
lan     lan0:8082  tcp            yes  # another one
lan     lan0       tcp udp ping   yes  # the host itself, from the private network
lan     mac        tcp udp ping   yes  # macvlan, from the private network
ipv     side       tcp udp ping   no   # the private network by ipvlan
lan     ipv        tcp udp ping   yes  # ipvlan, from the private network
vault   safe       tcp udp ping   no   # a neighbour on an internal network
vault   br-inner   tcp udp ping   no   # the host by an internal network
vault   front      tcp udp ping   no   # a neighbour on another bridge
client  vault      tcp udp ping   no   # a neighbour on an internal network, from another bridge
host    vault      tcp udp ping   yes  # the host's own
host    front      tcp udp ping   yes  # the host's own
host    web        tcp udp ping   yes  # the host's own
host    lan        tcp udp ping   yes  # the host's own
""",
    "one-published-service": """
ext     wan0:8081  tcp            yes  # the service
lan     lan0:8081  tcp            yes  # the service
ext     wan0:8081  udp            no   # its port of another protocol
ext     wan0:8084  tcp            no   # the same by another published port
ext     front      tcp udp ping   no   # its container's address
ext     wan0:8082  tcp            no   # what others publish
lan     lan0:8082  tcp            no   # what others publish
ext     wan0:6379  tcp            no   # what others publish
ext     wan0:8083  tcp            no   # what others publish, over IPv6 by docker-proxy
lan     lan0:8083  tcp            no   # what others publish, over IPv6 by docker-proxy
ext     web        tcp udp ping   no   # a container's address
ext     vault      tcp udp ping   no   # a container's address
lan     redis      tcp udp ping   no   # a container's address
ext     wan0       tcp udp        no   # what else the host listens on
ext     wan0       ping           yes  # the host
ext     wan0:22    tcp            yes  # a service of the host
client  ext        tcp udp ping   yes  # what containers begin
front   lan        tcp udp ping   yes  # what containers begin
client  web        tcp udp ping   yes  # what containers begin
vault   safe       tcp udp ping   yes  # what containers begin
client  wan0:8081  tcp            yes  # what containers begin
client  docker0    tcp udp ping   yes  # what containers begin
host    ext        tcp udp ping   yes  # what the host begins
host    front      tcp udp ping   yes  # what the host begins
""",
    "compose-project": """
front   redis      tcp udp ping   yes  # among themselves
redis   db         tcp udp ping   yes  # among themselves
db      front      tcp udp ping   yes  # among themselves
lan     lan0:8081  tcp            yes  # the service
lan     front      tcp            yes  # the service, by its container's address
lan     lan0:8081  udp            no   # its port of another protocol
lan     front      udp ping       no   # its container otherwise
lan     lan0:6379  tcp            no   # published by mistake
lan     redis      tcp udp ping   no   # its neighbour
ext     wan0:8081  tcp udp        no   # the service, from the internet
ext     wan0:6379  tcp            no   # published by mistake
ext     front      tcp udp ping   no   # the service, by its container's address
client  front      tcp udp ping   no   # another container
client  redis      tcp udp ping   no   # another container
vault   redis      tcp udp ping   no   # another container
client  wan0:8081  tcp            no   # another container, by the published port
front   ext        tcp udp ping   no   # out
redis   lan        tcp udp ping   no   # out
db      web        tcp udp ping   no   # out
db      wan0       tcp udp ping   no   # the host
redis   br-stack   tcp udp ping   no   # the host
redis   lan0:8082  tcp            no   # another container, by its published port
host    front      tcp            yes  # the service, for the host
host    front      udp ping       no   # its container otherwise
host    redis      tcp udp ping   no   # its neighbour
client  ext        tcp udp ping   yes  # others
vault   safe       tcp udp ping   yes  # others
lan     ipv        tcp udp ping   yes  # others
client  web        tcp udp ping   yes  # others
lan     lan0:8082  tcp            yes  # others
ext     wan0       tcp udp ping   yes  # others
host    lan        tcp udp ping   yes  # others
""",
    "host-network": """
shared  ext        tcp udp ping   yes  # the internet
shared  lan:53     udp            yes  # names
shared  lan        tcp udp ping   no   # the private network
shared  lan:389    tcp            no   # the private network
shared  loop       tcp udp ping   no   # the host
shared  wan0       tcp udp ping   no   # the host by its public address
shared  lan0       tcp udp ping   no   # the host by its private address
shared  docker0    tcp udp ping   no   # the host by a bridge
shared  web        tcp udp ping   no   # a container
shared  front      tcp udp ping   no   # a container on another bridge
shared  vault      tcp udp ping   no   # a container on an internal network
shared  wan0:8081  tcp udp        no   # a container by its published port
lan     lan0:8085  tcp            yes  # its service
lan     lan0:8085  udp            no   # its port of another protocol
lan     lan0:8086  tcp udp        no   # what else it listens on
ext     wan0:8085  tcp udp        no   # its service, from the internet
ext     wan0:8086  tcp udp        no   # what else it listens on
client  docker0:8085 tcp udp      no   # its service, from a container
host    loop:8085  tcp udp        yes  # its service, from the host
host    lan0:8086  tcp udp        yes  # what else it listens on, from the host
host    loop       tcp udp ping   yes  # the host's own
host    lan        tcp udp ping   yes  # the host's own
host    web        tcp udp ping   yes  # the host's own
lan     lan0       tcp udp ping   yes  # the host
ext     wan0       tcp udp ping   yes  # the host
lan     lan0:8081  tcp udp        yes  # a published port
client  ext        tcp udp ping   yes  # other containers
client  docker0    tcp udp ping   yes  # other containers
""",
}
CELLS = {name: reach.read(text) for name, text in TABLES.items()}


def load(policy: str, *outside: Namespace) -> None:
    """Puts a policy in force as it is, on trial."""
    control.write(control.RULES, (POLICIES / f"{policy}.rules").read_text())
    # What are namespaces here would be other machines elsewhere.
    others = ", ".join(str(netns.inode) for netns in outside)
    control.load_rules(f"allow netns {{ {others} }} priority 32767", append=True)


def enforce(policy: str, *outside: Namespace) -> None:
    """Puts a policy in force, in earnest."""
    load(policy, *outside)
    control.load_rules("mode enforce", append=True)
