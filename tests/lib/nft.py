# SPDX-License-Identifier: GPL-2.0
"""nftables: the rest of the host's rules, and an independent count of packets."""

import json
from typing import Self

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
    listing = json.loads(
        netns.run(["nft", "-j", "list", "counters", "table", "inet", table])
    )
    found = (item["counter"] for item in listing["nftables"] if "counter" in item)
    return {counter["name"]: counter["packets"] for counter in found}


class Witness:
    """Counts every IP packet that gets past ctrfw, at each hook of some namespaces."""

    def __init__(self, *namespaces: Namespace) -> None:
        self._namespaces = namespaces

    def __enter__(self) -> Self:
        script = "table inet witness {\n"
        for name, hook in HOOKS.items():
            script += f"""
                counter {name} {{ }}
                chain {name} {{
                    type filter hook {hook} priority {AFTER_CTRFW};
                    counter name {name}
                }}
            """
        for netns in self._namespaces:
            load(script + "}\n", netns)
        return self

    def __exit__(self, *_: object) -> None:
        for netns in self._namespaces:
            flush(netns)

    def passed(self) -> dict[str, int]:
        """Packets by hook, in all the namespaces together."""
        readings = [counters("witness", netns) for netns in self._namespaces]
        return {hook: sum(reading[hook] for reading in readings) for hook in HOOKS}
