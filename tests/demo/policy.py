# SPDX-License-Identifier: GPL-2.0
"""policy.rules in force: what it lets through, what it refuses, who may touch it."""

import errno
import pathlib
import subprocess

import ctrfw_paths
import module
from connections import ANSWERED, LONG, TABLE, try_all
from tally import heading, progress, show
from walk import paths_in

FILE = pathlib.Path(__file__).with_name("policy.rules")
BAD = "allow proto tcp dport 22\ndeny from 10.0.0.300 proto tcp\n"
# The refused connections whose packet's way is printed in full.
SHOWN = ("http://172.17.0.2:8080/", "http://192.168.50.2/")
# Each of the two is to be refused by itself.
OPEN_BOTH = "cat /proc/ctrfw/rules; echo allow > /proc/ctrfw/rules"


class Policy:
    def __init__(self, scene):
        self.scene = scene
        self.check = scene.tally.check
        self.before, self.containers, self.table = {}, {}, ""

    def show(self):
        self.load()
        self.show_connections()
        self.show_counters()
        self.show_bad_line()
        self.show_containers()
        self.show_flush()

    def load(self):
        heading("4. A policy: cat tests/demo/policy.rules > /proc/ctrfw/rules")
        progress("the same connections without a policy first ...")
        self.before = try_all(TABLE, self.scene.places, short=LONG)
        module.load("rules", FILE.read_text())
        self.table = module.read("rules")
        numbered = enumerate(self.table.splitlines(), 1)
        show("\n".join(f"  {number:2}  {line}" for number, line in numbered))
        wanted = [x for x in FILE.read_text().splitlines() if x and x[0] != "#"]
        rules = module.status()["rules"]
        self.check(
            rules == str(len(wanted)), f"{len(wanted)} rules are in force", rules
        )
        # These take a while: they run beside what follows.
        run = ("docker", "run", "--privileged", "tiny")
        for command in (run, ("docker", "exec", "client")):
            words = (*command, "sh", "-c", OPEN_BOTH)
            self.containers[" ".join(command)] = piped(words)

    def try_connections(self, table):
        """{connection: what came of it, with the place where it was refused}."""
        module.load("trace", "proto tcp dport 80\nproto tcp dport 8080-9000\n")
        log = self.scene.log
        log.read()
        lines = []
        # The kernel's buffer is small: it is read while it fills.
        results = try_all(
            table, self.scene.places, idle=lambda: lines.extend(log.read())
        )
        # With that all is printed that has been traced.
        module.load("trace", "off\n")
        paths = paths_in(lines + log.read())
        refused = [path for path in paths if path.steps[-1].verdict == "deny"]
        ways = {c: p for c in table for p in refused if self.begins(p, c)}
        for c, path in ways.items():
            last = path.steps[-1]
            where = ctrfw_paths.name_of(last, self.scene.names)
            results[c] += f", rule {last.rule} in {where} at {last.hook}"
        return results, ways

    def begins(self, path, connection):
        """Is this the way of a packet of the connection, from its start?"""
        first = path.steps[0]
        name = ctrfw_paths.name_of(first, self.scene.names)
        return (name, first.dst) == (connection.place, connection.target)

    def show_connections(self):
        heading("5. Real connections, without and with the policy")
        dropped = module.dropped()
        seen, ways = self.try_connections(TABLE)
        rows = [
            ("from", "to", "what it is", "before", "expected with the policy", "seen")
        ]
        for c in TABLE:
            ok = self.scene.tally.count(
                (self.before[c], seen[c]) == (ANSWERED, c.expected)
            )
            mark = "ok" if ok else f"UNEXPECTED ({seen[c]})"
            rows.append((c.place, c.url, c.about, self.before[c], c.expected, mark))
        show("\n".join(ctrfw_paths.columns(rows)))
        for c, path in ways.items():
            if c.url in SHOWN:
                show(f"\n  {c.about}: {ctrfw_paths.title(path)}")
                show("\n".join(ctrfw_paths.table(path, self.scene.names)))
                show(f"  dmesg: {path.steps[-1].line}")
        show()
        new = module.dropped() - dropped
        refused = sum(bool(c.refused) for c in TABLE)
        self.check(
            new >= refused,
            f"status counts {new} packets dropped in {refused} connections",
        )

    def show_counters(self):
        heading("6. /proc/ctrfw/counters and /proc/ctrfw/status")
        counters = module.read("counters").splitlines()
        show("\n".join(f"  {line}" for line in counters))
        idle = [line for line in counters if line.split()[2] == "0"]
        self.check(not idle, "every rule has met a packet", "; ".join(idle))
        show("\n".join(f"  {line}" for line in module.read("status").splitlines()))
        trace = module.status()["trace"]
        self.check(
            trace.endswith(" left_out 0"), "no line of the trace was left out", trace
        )

    def show_bad_line(self):
        heading("7. A bad line changes nothing")
        show("".join(f"  > {line}\n" for line in BAD.splitlines()), end="")
        try:
            module.load("rules", BAD)
            got = "no error"
        except OSError as error:
            got = errno.errorcode[error.errno]
        self.check(got == "EINVAL", f"write(2) fails with {got}", "expected EINVAL")
        said = module.status()["last_error"]
        self.check(
            said.startswith('rules line 2 column 11: got "10.0.0.300", expected '),
            f"status: last_error {said}",
        )
        self.check(
            module.read("rules") == self.table, "the table in force is the old one"
        )

    def show_containers(self):
        heading("8. No container reads or changes the policy")
        for command, process in self.containers.items():
            output = process.communicate(timeout=300)[0].strip()
            show(
                "\n".join(
                    f"  {line}"
                    for line in [
                        f"$ {command} sh -c '{OPEN_BOTH}'",
                        *output.splitlines(),
                    ]
                )
            )
            times = output.count("Operation not permitted")
            self.check(
                times == 2, "refused to read it, refused to write it", f"{times} times"
            )
        self.check(
            module.read("rules") == self.table, "the host reads it: nothing has changed"
        )

    def show_flush(self):
        heading("9. iptables -F, nft flush ruleset: the refused stay refused")
        for command in ("iptables -F", "iptables -t nat -F", "nft flush ruleset"):
            subprocess.run(command.split(), check=True)
        seen, _ = self.try_connections([c for c in TABLE if c.refused])
        self.show_results(seen, {c: c.expected for c in seen})

    def show_results(self, seen, expected):
        rows = []
        for c, got in seen.items():
            ok = self.scene.tally.count(got == expected[c])
            mark = "ok" if ok else f"UNEXPECTED (expected {expected[c]})"
            rows.append((c.place, c.url, c.about, got, mark))
        show("\n".join(ctrfw_paths.columns(rows)))


def piped(words):
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
