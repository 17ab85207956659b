# SPDX-License-Identifier: GPL-2.0
"""nftables: the rest of the host's rules, and an independent count of packets."""

import json

from lib.netns import HOST, Namespace

# Right behind ctrfw, and before everything else that may drop, steal or reassemble.
AFTER_CTRFW = -2147483647

HOOKS = {
    "pre_routing": "prerouting",
    "local_in": "input",
    "forward": "forward",
    "post_routing": "postrouting",
    "local_out": "output",
}


def load(script: str, netns: Namespace = HOST) -> None:
    """Runs an nft script."""
    netns.run(["nft", "-f", "-"], script)


def flush(netns: Namespace = HOST) -> None:
    """Removes every nft rule."""
    netns.run(["nft", "flush", "ruleset"])


def counters(table: str, netns: Namespace = HOST) -> dict[str, int]:
    """Packets by named counter of an inet table."""
    listing = json.loads(netns.run(["nft", "-j", "list", "counters", "table", "inet", table]))
    found = (item["counter"] for item in listing["nftables"] if "counter" in item)
    return {counter["name"]: counter["packets"] for counter in found}


def witness(netns: Namespace = HOST) -> None:
    """Counts every IP packet that gets past ctrfw, at each hook: an inet table `witness`."""
    load(
        "table inet witness {\n"
        + "".join(f"  counter {name} {{ }}\n" for name in HOOKS)
        + "".join(
            f"  chain {name} {{\n"
            f"    type filter hook {hook} priority {AFTER_CTRFW};\n"
            f"    counter name {name}\n"
            "  }\n"
            for name, hook in HOOKS.items()
        )
        + "}\n",
        netns,
    )
