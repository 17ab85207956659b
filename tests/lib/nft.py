# SPDX-License-Identifier: GPL-2.0
"""nftables: the rest of the host's rules, and an independent count of packets."""

import json
from typing import Self

from lib.control import Status
from lib.netns import HOST, Namespace
from lib.poll import until

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
    """Counts every IP packet that gets past ctrfw, at each hook.

    The namespaces must be all that there is traffic in: the status file knows but one sum.
    """

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
        self._start = self._snapshot()
        return self

    def __exit__(self, *_: object) -> None:
        for netns in self._namespaces:
            flush(netns)

    def _snapshot(self) -> tuple[Status, dict[str, int]]:
        """Both counts of one moment: no packet came between the two readings."""

        def attempt() -> tuple[Status, dict[str, int]] | None:
            before = Status.read()
            readings = [counters("witness", netns) for netns in self._namespaces]
            if Status.read().hooks != before.hooks:
                return None
            return before, {hook: sum(r[hook] for r in readings) for hook in HOOKS}

        return until(attempt, "a moment without traffic")

    def differences(self) -> dict[str, int]:
        """By hook, how many packets more ctrfw says it let pass than nft has seen since."""
        (before, start), (after, end) = self._start, self._snapshot()
        found = {}
        for hook in HOOKS:
            change = after.hooks[hook] - before.hooks[hook]
            found[hook] = change.seen - change.dropped - (end[hook] - start[hook])
        return {hook: count for hook, count in found.items() if count}
