# SPDX-License-Identifier: GPL-2.0
"""`make demo`, the guest's side: what ctrfw sees, and what it refuses.

First the packets' ways through hooks and namespaces, each step beside the one
that path_table.py expects; then policy.rules with real connections that it lets
through or refuses; then the host without the module again.
"""

import sys
import traceback

import module
import path_table
import walk
from connections import ANSWERED, LONG, TABLE, try_all
from policy import Policy
from scene import RESULTS, Scene
from tally import heading, progress, show


def unload(scene, policy):
    heading("10. rmmod ctrfw")
    check = scene.tally.check
    module.remove()
    lines = scene.log.read_until(
        lambda lines: any("ctrfw: unloaded" in x for x in lines)
    )
    check(
        any("ctrfw: unloaded" in line for line in lines), "dmesg says: ctrfw: unloaded"
    )
    check(not module.PROC.exists(), "/proc/ctrfw is gone")
    seen = try_all([c for c in TABLE if c.refused], scene.places, short=LONG)
    policy.show_results(seen, dict.fromkeys(seen, ANSWERED))
    trouble = scene.log.trouble()
    check(not trouble, "dmesg has no warning and no oops", "\n".join(trouble))
    check(
        not scene.log.lost, "the kernel log was read without a gap", str(scene.log.lost)
    )


def play(scene):
    scene.build()
    for number, case in enumerate(path_table.CASES, 1):
        walk.show_case(scene, number, case)
    policy = Policy(scene)
    policy.show()
    unload(scene, policy)


def main():
    scene = Scene()
    try:
        play(scene)
    except Exception:  # noqa: BLE001 whatever it is, it is counted
        show(traceback.format_exc())
        scene.tally.check(False, "the demonstration came to its end")
    progress("done")
    passed, failed = scene.tally.passed, scene.tally.failed
    (RESULTS / "summary").write_text(f"{passed} passed, {failed} failed\n")
    show(f"demo: {passed} checks passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
