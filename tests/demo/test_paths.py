# SPDX-License-Identifier: GPL-2.0
"""The reader of traces and the demonstration's judgement, on lines made by hand.

Needs no guest: PYTHONPATH=scripts python3 -m unittest discover -s tests/demo
"""

import json
import pathlib
import subprocess
import unittest

import compare
import ctrfw_paths

TOOL = pathlib.Path(ctrfw_paths.__file__).with_name("ctrfw-paths")
HOST, EXT, WEB = "4026531840(host)", "4026532100", "4026532200"
NAMES = {4026532100: "ext", 4026532200: "web"}
CLIENT, PUBLIC, INSIDE = "203.0.113.2:40000", "203.0.113.1:8081", "172.17.0.2:8080"


def line(netns, hook, src, dst, time=1.0, **other):
    """A trace line, as dmesg prints it."""
    word = {
        "id": "00000000c7a1b2d3",
        "in": "-",
        "out": "-",
        "dev": "-",
        "physin": "-",
        "physout": "-",
    }
    word |= {
        "proto": "TCP",
        "flags": "SYN",
        "len": "60",
        "verdict": "allow",
        "rule": "default",
    }
    word |= {key.rstrip("_"): str(value) for key, value in other.items()}
    (src, spt), (dst, dpt) = src.rsplit(":", 1), dst.rsplit(":", 1)
    words = f"id={word['id']} netns={netns} hook={hook}"
    words += "".join(
        f" {key}={word[key]}" for key in ("in", "out", "dev", "physin", "physout")
    )
    words += f" src={src} dst={dst} proto={word['proto']} spt={spt} dpt={dpt}"
    words += f" flags={word['flags']} len={word['len']} verdict={word['verdict']} rule={word['rule']}"
    return f"[{time:12.6f}] ctrfw: trace {words}"


def request(**other):
    """The way of a request to a published port."""
    return [
        line(EXT, "LOCAL_OUT", CLIENT, PUBLIC, out="eth0", **other),
        line(EXT, "POST_ROUTING", CLIENT, PUBLIC, out="eth0", **other),
        line(HOST, "PRE_ROUTING", CLIENT, PUBLIC, in_="wan0", **other),
        line(HOST, "FORWARD", CLIENT, INSIDE, in_="wan0", out="docker0", **other),
        line(HOST, "POST_ROUTING", CLIENT, INSIDE, in_="wan0", out="docker0", **other),
        line(WEB, "PRE_ROUTING", CLIENT, INSIDE, in_="eth0", **other),
        line(WEB, "LOCAL_IN", CLIENT, INSIDE, in_="eth0", **other),
    ]


def reply(**other):
    """Its reply's way, from the host's last hook on."""
    other = {"id": "00000000aaaaaaaa", "flags": "SYN,ACK"} | other
    return [
        line(HOST, "POST_ROUTING", INSIDE, CLIENT, out="wan0", **other),
        line(EXT, "PRE_ROUTING", PUBLIC, CLIENT, in_="eth0", **other),
    ]


def paths_in(lines, **options):
    return ctrfw_paths.paths_of([ctrfw_paths.parse(x) for x in lines], **options)


def lengths(lines, **options):
    return [len(path.steps) for path in paths_in(lines, **options)]


class Parsing(unittest.TestCase):
    def test_fields(self):
        step = ctrfw_paths.parse(request(rule=7, verdict="deny")[2])
        self.assertTrue(step.host)
        self.assertEqual(
            (step.netns, step.hook, step.iif, step.oif),
            (4026531840, "PRE_ROUTING", "wan0", "-"),
        )
        self.assertEqual((str(step.src), str(step.dst)), (CLIENT, PUBLIC))
        self.assertEqual(
            (step.kind, step.length, step.verdict, step.rule), ("SYN", 60, "deny", "7")
        )

    def test_time(self):
        text = "ctrfw: trace id=1"
        for head, time in (
            (f"[   12.000345] {text}", 12.000345),
            (f"6,9,12000345,-;{text}", 12.000345),
            (text, None),
        ):
            self.assertEqual(ctrfw_paths.stamp(head), time)

    def test_icmp_fragment_and_unparsed(self):
        head = f"ctrfw: trace id=1 netns={HOST} hook=LOCAL_IN in=a out=- dev=a physin=- physout=- src=fe80::1 dst=ff02::1"
        step = ctrfw_paths.parse(
            f"{head} proto=ICMPv6 type=135 code=0 len=72 verdict=allow rule=default"
        )
        self.assertEqual((str(step.dst), step.kind), ("ff02::1", "type 135 code 0"))
        step = ctrfw_paths.parse(
            f"{head} proto=UDP frag=1480 len=72 verdict=allow rule=default"
        )
        self.assertEqual((step.frag, step.src.port), ("1480", None))
        step = ctrfw_paths.parse(
            f"{head} proto=UDP len=72 unparsed=truncated verdict=deny rule=1"
        )
        self.assertEqual(step.unparsed, "truncated")

    def test_ipv6_port(self):
        step = ctrfw_paths.parse(
            line(HOST, "LOCAL_IN", "2001:db8::2:40000", "2001:db8::1:80")
        )
        self.assertEqual(str(step.dst), "[2001:db8::1]:80")

    def test_other_lines(self):
        whole = request()[0]
        for text in (
            "",
            "ctrfw: unloaded",
            "ctrfw: trace: 3 lines left out",
            whole[:60],
            whole.replace("spt=", "spt=x"),
        ):
            self.assertIsNone(ctrfw_paths.parse(text))


class Splitting(unittest.TestCase):
    def test_one_packet_through_three_namespaces(self):
        self.assertEqual(lengths(request()), [7])

    def test_two_packets_at_once(self):
        other = request(id="00000000bbbbbbbb")
        mixed = [x for pair in zip(request(), other) for x in pair]
        self.assertEqual(lengths(mixed), [7, 7])

    def test_address_used_again(self):
        self.assertEqual(lengths(request() + request()), [7, 7])

    def test_used_again_after_a_pause(self):
        late = line(HOST, "FORWARD", CLIENT, INSIDE, time=9.0)
        self.assertEqual(lengths([request()[2], late]), [1, 1])
        self.assertEqual(lengths([request()[2], late], gap=10), [2])

    def test_used_again_after_a_drop(self):
        for verdict in ("deny", "reject"):
            dropped = line(HOST, "PRE_ROUTING", CLIENT, PUBLIC, verdict=verdict, rule=1)
            self.assertEqual(lengths([dropped, *request()[3:5]]), [1, 2])

    def test_used_again_by_another_flow(self):
        other = line(HOST, "FORWARD", "203.0.113.9:1", "172.17.0.9:2")
        self.assertEqual(lengths([request()[2], other]), [1, 1])
        other = line(HOST, "FORWARD", CLIENT, INSIDE, flags="ACK", len=52)
        self.assertEqual(lengths([request()[2], other]), [1, 1])

    def test_queued(self):
        said = {"verdict": "queue", "rule": "3"}
        lines = [*request()[:3], line(HOST, "FORWARD", CLIENT, INSIDE, **said)]
        (path,) = paths_in(lines)
        self.assertEqual(
            path.end(NAMES), "queued by rule 3 in host at FORWARD, not seen after that"
        )
        # It may be.
        lines.append(line(HOST, "POST_ROUTING", CLIENT, INSIDE))
        (path,) = paths_in(lines)
        self.assertTrue(path.end(NAMES).startswith("left host"))

    def test_order_of_hooks(self):
        again = line(HOST, "FORWARD", CLIENT, INSIDE)
        self.assertEqual(lengths([again, again]), [1, 1])

    def test_loopback(self):
        hooks = ("LOCAL_OUT", "POST_ROUTING", "PRE_ROUTING", "LOCAL_IN")
        self.assertEqual(
            lengths([line(HOST, h, "127.0.0.1:1", "127.0.0.1:2") for h in hooks]), [4]
        )


class Nat(unittest.TestCase):
    def nat(self, lines):
        return [
            str(nat) for path in paths_in(lines) for nats in path.nat for nat in nats
        ]

    def test_published_port_and_its_reply(self):
        there, back = f"DNAT {PUBLIC} => {INSIDE}", f"reverse DNAT {INSIDE} => {PUBLIC}"
        self.assertEqual(self.nat(request() + reply()), [there, back])

    def test_masquerade_and_its_reply(self):
        inside, outside, lan = "172.17.0.3:5000", "192.168.50.1:5000", "192.168.50.2:80"
        there = [
            line(HOST, "POST_ROUTING", inside, lan),
            line(EXT, "PRE_ROUTING", outside, lan),
        ]
        back = [
            line(HOST, "PRE_ROUTING", lan, outside, id="b"),
            line(HOST, "FORWARD", lan, inside, id="b"),
        ]
        wanted = [
            f"SNAT {inside} => {outside}",
            f"reverse SNAT {outside} => {inside}",
        ]
        self.assertEqual(self.nat(there + back), wanted)
        # The reply's translation is not what the next request takes back.
        again = [text.replace("id=00000000c7a1b2d3", "id=c") for text in there]
        self.assertEqual(self.nat(there + back + again), [*wanted, wanted[0]])

    def test_masquerade_of_which_only_the_reply_is_seen(self):
        inside, outside, lan = "172.17.0.3:5000", "192.168.50.1:5000", "192.168.50.2:80"
        lines = [line(HOST, "POST_ROUTING", inside, lan)]
        lines += [
            line(HOST, "PRE_ROUTING", lan, outside, id="b"),
            line(HOST, "FORWARD", lan, inside, id="b"),
        ]
        self.assertEqual(self.nat(lines), [f"reverse SNAT {outside} => {inside}"])

    def test_masquerade_without_ports(self):
        # The host itself has talked to the same address before.
        other = "203.0.113.1:0", "203.0.113.2:0"
        lines = [line(EXT, "LOCAL_OUT", *reversed(other), id="b")]
        lines += [
            line(HOST, "POST_ROUTING", "10.9.9.2:0", other[1]),
            line(EXT, "PRE_ROUTING", *other),
        ]
        lines = [
            text.replace("spt=0 dpt=0 flags=SYN", "type=8 code=0") for text in lines
        ]
        self.assertEqual(self.nat(lines), ["SNAT 10.9.9.2 => 203.0.113.1"])


class Fragments(unittest.TestCase):
    def notes(self, lines):
        return [
            n
            for p in paths_in(lines)
            for i in range(len(p.steps))
            for n in ctrfw_paths.notes(p, i)
        ]

    def test_fragmented(self):
        first = (
            request()[2].replace("spt=", "frag=first spt=").replace("len=60", "len=40")
        )
        self.assertEqual(
            self.notes([request()[1], first]), ["fragment first: 60 => 40 bytes"]
        )

    def test_put_together(self):
        last = (
            request()[2]
            .replace("spt=40000 dpt=8081 flags=SYN", "frag=1480")
            .replace("len=60", "len=40")
        )
        there = line(HOST, "LOCAL_IN", CLIENT, PUBLIC)
        self.assertEqual(self.notes([last, there]), ["put together: 40 => 60 bytes"])


class Judging(unittest.TestCase):
    """The demonstration must see what is not as expected."""

    def setUp(self):
        path = paths_in(request())[0]
        self.expected = [compare.seen_as(step, NAMES) for step in path.steps]

    def judge(self, lines):
        text, right, wrong = compare.lines_of(paths_in(lines)[0], self.expected, NAMES)
        return "\n".join(text), right, wrong

    def test_as_expected(self):
        text, *counts = self.judge(request())
        self.assertEqual(counts, [7, 0])
        self.assertEqual(text.count("  ok"), 7)
        self.assertIn("-- DNAT", text)

    def test_missing_row(self):
        for number in range(7):
            lines = request()
            del lines[number]
            text, *counts = self.judge(lines)
            self.assertEqual(counts, [6, 1], text)
            hook = self.expected[number]["hook"]
            self.assertRegex(text, rf"MISSING \w+ {hook}")

    def test_row_too_many(self):
        lines = request()
        lines.insert(5, line("4026532999", "PRE_ROUTING", CLIENT, INSIDE))
        text, *counts = self.judge(lines)
        self.assertEqual(counts, [7, 1], text)
        self.assertIn("UNEXPECTED (expected no such row)", text)

    def test_wrong_field(self):
        lines = request()
        lines[3] = lines[3].replace("in=wan0", "in=wan1")
        text, *counts = self.judge(lines)
        self.assertEqual(counts, [6, 1], text)
        self.assertIn("UNEXPECTED (expected iif wan0)", text)

    def test_wrong_verdict(self):
        text, *counts = self.judge([*request()[:6], request(verdict="deny", rule=1)[6]])
        self.assertEqual(counts, [6, 1], text)


class Tool(unittest.TestCase):
    def run_tool(self, lines, *options):
        return subprocess.run(
            [TOOL, *options],
            check=False,
            input="\n".join(lines),
            capture_output=True,
            text=True,
        )

    def test_text(self):
        got = self.run_tool(
            request() + reply(), "--names", "4026532100=ext", "4026532200=web"
        )
        self.assertIn(
            "TCP SYN 203.0.113.2:40000 -> 203.0.113.1:8081, 60 bytes", got.stdout
        )
        self.assertIn("reached web", got.stdout)
        self.assertIn("reverse DNAT", got.stdout)
        self.assertEqual((got.returncode, got.stderr), (0, ""))

    def test_json(self):
        paths = json.loads(self.run_tool(request(), "--json").stdout)
        self.assertEqual(len(paths[0]["steps"]), 7)
        self.assertEqual(
            paths[0]["steps"][3]["nat"],
            [{"name": "DNAT", "old": PUBLIC, "new": INSIDE}],
        )

    def test_says_what_is_missing(self):
        got = self.run_tool(["ctrfw: trace: 37 lines left out", request()[0][:60]])
        self.assertIn("37 lines were left out", got.stderr)
        self.assertIn("1 trace lines were not understood", got.stderr)

    def test_bad_name(self):
        got = self.run_tool([], "--names", "web")
        self.assertEqual(got.returncode, 2)
        self.assertIn('got "web", expected INODE=NAME', got.stderr)


if __name__ == "__main__":
    unittest.main()
