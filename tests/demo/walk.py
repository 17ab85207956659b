# SPDX-License-Identifier: GPL-2.0
"""A real request, and the way of its first packet and of the answer to it."""

import pathlib
import subprocess

import compare
import ctrfw_paths
import module
import path_table
from tally import heading, show

BRIDGE_NF = pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def paths_in(lines):
    """The paths in lines of the kernel log."""
    return ctrfw_paths.paths_of(filter(None, map(ctrfw_paths.parse, lines)))


def kind_of(path):
    return path.steps[0].kind


def complete(lines):
    """Has the request's SYN come through, and the answer to it?"""
    arrived = {kind_of(p) for p in paths_in(lines) if p.steps[-1].hook == "LOCAL_IN"}
    return {"SYN", "SYN,ACK"} <= arrived


def show_case(scene, number, case):
    heading(f"{number}. {case.title}")
    BRIDGE_NF.write_text(f"{case.bridge_nf}\n")
    module.load("trace", "proto tcp dport 8080-8081\nproto tcp sport 8080-8081\n")
    scene.log.read()
    command = request(scene, case)
    show(f"  $ {' '.join(command)}")
    got = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120
    )
    answer = (got.stdout + got.stderr).strip()
    scene.tally.check(answer == "hello from web", f'the answer is "{answer}"')
    paths = paths_in(scene.log.read_until(complete))
    module.load("trace", "off\n")
    show_path(scene, "SYN", case.request, paths)
    show_path(scene, "SYN,ACK", case.reply, paths)
    steps = [step for path in paths for step in path.steps]
    for name in case.unseen:
        rows = [
            s.line for s in steps if is_at(scene, s, name) and is_of(scene, s, case)
        ]
        text = f"no hook of {name} sees any packet of this connection"
        scene.tally.check(not rows, text, "\n".join(rows))


def is_at(scene, step, name):
    return ctrfw_paths.name_of(step, scene.names) == name


def is_of(scene, step, case):
    """A packet of the case's client? A connection before may still say goodbye."""
    return scene.words[case.client] in (step.src.address, step.dst.address)


def request(scene, case):
    if case.client in scene.containers:
        return ["docker", "exec", case.client, "wget", "-qO-", case.url]
    return scene.places[case.client].command("curl", "-sS", case.url)


def show_path(scene, kind, table, paths):
    """The packet with these TCP flags beside the table's rows."""
    show()
    found = [path for path in paths if kind_of(path) == kind]
    if not found:
        scene.tally.check(False, f"{kind}: no such packet in the trace")
        return
    # A packet sent again has two paths, and only one of them is whole.
    path = max(found, key=lambda path: len(path.steps))
    first = path.steps[0]
    port = (first.src if kind == "SYN" else first.dst).port
    expected = list(path_table.rows(table, lambda word: value(scene.words, word, port)))
    lines, right, wrong = compare.lines_of(path, expected, scene.names)
    show(f"  {ctrfw_paths.title(path)}")
    show("\n".join(lines))
    scene.tally.add(right, wrong)
    passed = in_order(ctrfw_paths.name_of(step, scene.names) for step in path.steps)
    wanted = in_order(row["namespace"] for row in expected)
    # A packet sent again begins at LOCAL_OUT; what does not was traced twice.
    twice = [p for p in found if p is not path and p.steps[0].hook != "LOCAL_OUT"]
    text = f"one and the same sk_buff, {first.id}, in {', '.join(passed)}"
    why = [f"expected {', '.join(wanted)}", *(s.line for p in twice for s in p.steps)]
    scene.tally.check(passed == wanted and not twice, text, "\n".join(why))


def in_order(names):
    """Each name once."""
    return list(dict.fromkeys(names))


def value(words, word, port):
    """What a word of the path table stands for, port for P."""
    name, colon, number = word.partition(":")
    if not colon:
        return words.get(word, word)
    return f"{words[name]}:{port if number == 'P' else number}"
