# SPDX-License-Identifier: GPL-2.0
"""How many instructions a hook runs for the trace while it is off.

    static_branches.py RELOCATIONS INSTRUCTIONS FIGURES

Of ctrfw.ko for x86: what `readelf -Wr` and `objdump -dw --no-show-raw-insn` say of it. While a static key is
off the kernel runs what the compiler has put at each of its branches. Adds a figure to FIGURES.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

KEY = "ctrfw_trace_key"
HOOKS = 10
# An entry of __jump_table is three relocations: where, whereto, and the key, in whose two lowest bits is
# how the branch is to be.
ENTRY = re.compile(
    rf"R_X86_64_PC32 .* \.text \+ ([0-9a-f]+)\n.*\n.* R_X86_64_PC64 .* {KEY}\b"
)
FUNCTION = re.compile(r"[0-9a-f]+ <(.+)>:")
INSTRUCTION = re.compile(r" *([0-9a-f]+):\t(.+)")
# Two and five bytes that do nothing.
NOPS = ("xchg   %ax,%ax", "nopl   0x0(%rax,%rax,1)")


def main(relocations: Path, instructions: Path, figures: Path) -> None:
    """Counts, and adds the figure."""
    table = relocations.read_text().partition("'.rela__jump_table'")[2]
    sites = set(ENTRY.findall(table.partition("\n\n")[0]))
    branches: Counter[str] = Counter()
    function = ""
    for line in instructions.read_text().partition("section .text:")[2].splitlines():
        if line.startswith("Disassembly of section"):
            break
        if match := FUNCTION.match(line):
            function = match[1]
        elif (match := INSTRUCTION.match(line)) and match[1] in sites:
            if match[2].strip() not in NOPS:
                sys.exit(f"at a branch for the trace is {match[2]}: {function}")
            branches[function] += 1
    hooks = [count for name, count in branches.items() if "hook_callback" in name]
    if branches.total() != len(sites) or len(hooks) != HOOKS:
        sys.exit(
            f"{len(sites)} branches for the trace, but these are found: {branches}"
        )
    figure = {
        "group": "trace",
        "name": "off",
        "unit": "nops",
        "value": max(hooks),
        "low": min(hooks),
        "high": max(hooks),
        "n": len(hooks),
        "how": "disassembly of the stock kernel's module: at the static branches of each hook",
    }
    figures.write_text(
        json.dumps([*json.loads(figures.read_text()), figure], indent=1) + "\n"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
