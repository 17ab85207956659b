#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tells of the figures that `make bench` has measured.

bench_report.py FOLDER --peers FILE [--compare OLD]: reads each part's FOLDER/*.json, a list of
{"group", "name", "unit", "value", "low", "high", "n", "how"}; prints tables, draws plots, says what
has changed since OLD, and how the bars stand. Writes FOLDER/all.json and FOLDER/bars.json.
"""

import argparse
import json
import math
import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

MADE = ("all.json", "bars.json")
KINDS = ("acl", "fw", "ipc")
# Peers that answer one header at a time, as a hook asks.
SINGLE = ("rte_acl scalar x1", "rte_acl AVX2 x1")


class Figure(NamedTuple):
    """A figure with its interval, and the part that measured it."""

    part: str
    group: str
    name: str
    unit: str
    value: float
    low: float
    high: float
    n: int
    how: str


class Check(NamedTuple):
    """What a bar asks for, or a part of that; without a value it was not measured."""

    what: str
    value: float | None
    unit: str
    most: float
    how: str
    least: bool = False
    # Whether all was measured that it is about.
    whole: bool = True

    def goal(self) -> str:
        """The goal as text."""
        return f"{'>=' if self.least else '<='} {self.most:g} {self.unit}".strip()

    def met(self) -> bool | None:
        """Whether it is met; None where nothing is known."""
        if self.value is None or not self.whole:
            return None
        return self.value >= self.most if self.least else self.value <= self.most


class Figures:
    """All figures, found by group and name."""

    def __init__(self, figures: list[Figure]) -> None:
        self.all = figures
        self.found = {(f.group, f.name): f for f in figures}

    def value(self, group: str, name: str) -> float | None:
        """A figure's value, if it was measured."""
        figure = self.found.get((group, name))
        return None if figure is None else figure.value

    def matching(self, pattern: str) -> list[Figure]:
        """Those whose group and name, with a bar between them, match all of a pattern."""
        compiled = re.compile(pattern)
        return [f for f in self.all if compiled.fullmatch(f"{f.group}|{f.name}")]


def read(folder: Path) -> list[Figure]:
    """The figures of all parts."""
    figures = []
    for path in sorted(folder.glob("*.json")):
        if path.name not in MADE:
            for item in json.loads(path.read_text()):
                figures.append(
                    Figure(path.stem, *(item[k] for k in Figure._fields[1:]))
                )
    return figures


def short(value: float) -> str:
    """A number with three digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def with_spread(figure: Figure) -> str:
    """A figure, and how far its interval reaches to either side at most."""
    off = max(figure.high - figure.value, figure.value - figure.low)
    if figure.n < 2 or figure.value == 0:
        return short(figure.value)
    return f"{short(figure.value)} ±{100 * off / abs(figure.value):.0f}%"


def size(name: str) -> float:
    """How many rules a set has, by its name; for sorting."""
    digits = re.search(r"_(\d+)([kKmM]?)", name)
    if digits is None:
        return 0
    return int(digits[1]) * {"": 1, "k": 1e3, "m": 1e6}[digits[2].lower()]


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table."""
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    print(f"\n{title}")
    for row in [columns, *rows]:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells]))


SET = re.compile(r"\S*?_\d+[kKmM]?(\.ipv6)?(?=\W|$)")


def split(group: str) -> tuple[str, str]:
    """What a group is about, and the rule set in its name, or its other words."""
    found = SET.search(group)
    if found is None:
        kind, _, rest = group.partition(" ")
        return kind, rest
    return group[: found.start()] + "*" + group[found.end() :], found[0]


class Matrix:
    """Figures of one kind: by rule sets, and by what was measured on them."""

    def __init__(self, figures: list[Figure], kind: str) -> None:
        self.kind = kind
        self.all = [f for f in figures if split(f.group)[0] == kind]
        sets = dict.fromkeys(split(f.group)[1] for f in self.all)
        self.sets = sorted(sets, key=lambda name: (size(name), name))
        self.names = list(dict.fromkeys(f.name for f in self.all))
        self.units = sorted({f.unit for f in self.all})
        self.found = {(split(f.group)[1], f.name): f for f in self.all}


def kinds(figures: list[Figure]) -> list[str]:
    """What there is, in the order in which it was measured."""
    return list(dict.fromkeys(split(f.group)[0] for f in figures))


def tables(figures: list[Figure]) -> None:
    """Prints all figures: those of one kind for several sets side by side."""
    for kind in kinds(figures):
        matrix = Matrix(figures, kind)
        rows = []
        for name in matrix.sets:
            cells = (matrix.found.get((name, other)) for other in matrix.names)
            rows.append([name, *("" if f is None else with_spread(f) for f in cells)])
        table(f"{kind} ({', '.join(matrix.units)})", ["", *matrix.names], rows)


def sets_plot(path: Path, title: str, matrix: Matrix) -> None:
    """Draws a figure for each set and name, on a scale of powers."""
    plot, axes = plt.subplots(figsize=(max(6, 0.45 * len(matrix.sets) + 3), 5))
    for name in matrix.names:
        points = [
            (place, matrix.found[which, name])
            for place, which in enumerate(matrix.sets)
            if (which, name) in matrix.found
        ]
        values = [f.value for _, f in points]
        below = [max(0, f.value - f.low) for _, f in points]
        above = [max(0, f.high - f.value) for _, f in points]
        places = [place for place, _ in points]
        marker = "o" if name == "ctrfw" else "."
        axes.errorbar(
            places, values, yerr=[below, above], fmt=marker, label=name, capsize=2
        )
    axes.set_yscale("log")
    axes.set_ylabel(matrix.units[0])
    axes.set_xticks(range(len(matrix.sets)), matrix.sets, rotation=90)
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small", bbox_to_anchor=(1, 1), loc="upper left")
    plot.savefig(path, bbox_inches="tight")
    plt.close(plot)
    print(path)


def bars_plot(path: Path, title: str, figures: list[Figure]) -> None:
    """Draws figures of one unit as bars, those of a group together."""
    if not figures:
        return
    labels = [f"{f.group}: {f.name}" for f in figures]
    plot, axes = plt.subplots(figsize=(8, 0.28 * len(labels) + 1.5))
    values = [f.value for f in figures]
    below = [max(0, f.value - f.low) for f in figures]
    above = [max(0, f.high - f.value) for f in figures]
    axes.barh(range(len(labels)), values, xerr=[below, above], capsize=2)
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.invert_yaxis()
    if min(values) > 0 and max(values) > 50 * min(values):
        axes.set_xscale("log")
    axes.set_xlabel(figures[0].unit)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
    plot.savefig(path, bbox_inches="tight")
    plt.close(plot)
    print(path)


def plots(folder: Path, figures: list[Figure]) -> None:
    """Draws all of them."""
    print("\nplots")
    plt.rcParams["svg.hashsalt"] = "ctrfw"
    for part in dict.fromkeys(f.part for f in figures):
        ours = [f for f in figures if f.part == part]
        rest = []
        for kind in kinds(ours):
            matrix = Matrix(ours, kind)
            if "*" in kind and len(matrix.units) == 1:
                word = re.sub(r"\W+", "-", kind).strip("-")
                sets_plot(folder / f"{part}-{word}.svg", f"{part}: {kind}", matrix)
            else:
                rest += matrix.all
        for unit in dict.fromkeys(f.unit for f in rest):
            word = re.sub(r"\W+", "-", unit) or "ratio"
            some = [f for f in rest if f.unit == unit]
            bars_plot(folder / f"{part}-{word}.svg", f"{part}, {unit}", some)


def compare(figures: list[Figure], old: list[Figure]) -> None:
    """Says which figures have changed: those whose intervals do not meet."""
    before = {(f.part, f.group, f.name): f for f in old}
    rows, same = [], 0
    for new in figures:
        was = before.pop((new.part, new.group, new.name), None)
        if was is None:
            continue
        if new.low <= was.high and was.low <= new.high:
            same += 1
            continue
        change = 100 * (new.value / was.value - 1) if was.value else math.inf
        cells = [with_spread(was), with_spread(new), f"{change:+.1f}%", new.unit]
        rows.append([new.group, new.name, *cells])
    rows.sort(key=lambda row: -abs(float(row[4].rstrip("%"))))
    print(f"\n{len(rows)} figures have changed (their intervals do not meet), ", end="")
    print(f"{same} have not, {len(before)} were not measured this time")
    if rows:
        table("changed", ["", "", "was", "is", "change", ""], rows)


def largest(values: Iterable[float | None]) -> float | None:
    """The largest of those that are known."""
    return max((value for value in values if value is not None), default=None)


def smallest(values: Iterable[float | None]) -> float | None:
    """The smallest of those that are known."""
    return min((value for value in values if value is not None), default=None)


def ratio(a: float | None, b: float | None) -> float | None:
    """Their ratio, where both are known."""
    return a / b if a is not None and b else None


def lookup(figures: Figures, peers: dict) -> list[Check]:
    """Bar 1."""
    ratios, notes, factors = [], [], []
    for name, known in peers["lookup"].items():
        own = name.replace("1_", "_", 1)
        used = next(
            (
                x
                for x in (name, own)
                if figures.value(f"throughput {x}", "ctrfw") is not None
            ),
            None,
        )
        if used is None:
            continue
        group = f"throughput {used}"
        ours = figures.value(group, "ctrfw")
        published = min(known, key=lambda peer: known[peer])
        times = {
            f"{peer} here": here
            for peer in (*SINGLE, *known)
            if (here := figures.value(group, peer)) is not None
        }
        # Figures of another machine say less than the same program on this one.
        if f"{published} here" not in times:
            times = {published: known[published], **times}
        best = min(times, key=lambda peer: times[peer])
        nanoseconds = times[best]
        ratios.append(ours / nanoseconds)
        stands_in = "" if used == name else f" (by {used})"
        notes.append(f"{name}{stands_in} {short(ours)} / {short(nanoseconds)} {best}")
        same = ratio(figures.value(group, SINGLE[-1]), known.get(SINGLE[-1]))
        if same is not None and used == name:
            factors.append(same)
    how = "throughput, ns of ctrfw / ns of the best peer: " + "; ".join(notes)
    if factors:
        speed = statistics.geometric_mean(factors)
        how += f"; {SINGLE[-1]} takes {speed:.2f} x what it took for the peers' figures"
    mean = statistics.geometric_mean(ratios) if ratios else None
    whole = len(ratios) == len(peers["lookup"])
    million = [figures.value(f"throughput {kind}_1M", "ctrfw") for kind in KINDS]
    mean = Check("of the best peer, geometric mean", mean, "x", 0.7, how, whole=whole)
    worst = largest(ratios)
    worst = Check("of the best peer, worst set", worst, "x", 1.0, how, whole=whole)
    how = "throughput acl_1M, fw_1M, ipc_1M"
    most, whole = largest(million), None not in million
    return [
        mean,
        worst,
        Check("at 1M rules, worst set", most, "ns", 250, how, whole=whole),
    ]


def edit(figures: Figures) -> list[Check]:
    """Bar 2."""
    value = figures.value("edit acl1_100k", "ctrfw")
    how = "part load: one rule more, open(2) to close(2), by the clock"
    if value is None:
        micros = largest(
            f.value for f in figures.matching(r"edit (acl|fw|ipc)_100k\|.*")
        )
        value = None if micros is None else micros / 1000
        how = "part engine: the slowest kind of edit, without a kernel"
    return [Check("an edit among 100k rules", value, "ms", 1, how)]


def empty(figures: Figures) -> list[Check]:
    """Bar 3."""
    group = "hook ns empty, one flow"
    value = ratio(
        figures.value(group, "ctrfw"), figures.value(group, "iptables-legacy")
    )
    return [
        Check(
            "of an empty iptables filter table",
            value,
            "x",
            0.7,
            f"part kernel: {group}",
        )
    ]


def loaded(figures: Figures) -> list[Check]:
    """Bar 4."""
    checks = []
    for peer, goals in (
        ("nft linear", {"1k": 30, "10k": 200}),
        ("nft 5-field set", {"1k": 2.5, "10k": 20}),
    ):
        for rules, goal in goals.items():
            groups = [f"hook ns {kind}1_{rules}, all flows" for kind in KINDS]
            value = smallest(
                ratio(figures.value(group, peer), figures.value(group, "ctrfw"))
                for group in groups
            )
            how = "part kernel: ns of the peer / ns of ctrfw, all flows, worst set"
            checks.append(Check(f"{peer}, {rules}", value, "x", goal, how, least=True))
    return checks


def repeated(figures: Figures) -> list[Check]:
    """Bar 5."""
    none = figures.value("hook ns empty, one flow", "ctrfw")
    costs = figures.matching(r"hook ns \w+1_\w+, one flow\|ctrfw")
    worst = largest(f.value for f in costs)
    value = None if none is None or worst is None else worst - none
    how = "part kernel: one flow, less the empty hook, worst number of rules"
    return [Check("a repeated flow over the empty hook", value, "ns", 15, how)]


def memory(figures: Figures) -> list[Check]:
    """Bar 6."""
    value = figures.value("memory acl1_100k", "ctrfw")
    how = "part load: free memory before and after"
    if value is None:
        value = largest(figures.value(f"memory {kind}_100k", "ctrfw") for kind in KINDS)
        how = "part engine: Policy::memory(), without counters, worst set"
    return [Check("memory at 100k rules", value, "B/rule", 64, how)]


def load(figures: Figures) -> list[Check]:
    """Bar 7."""
    checks = []
    for rules, goal in (("100k", 0.25), ("1M", 3)):
        value = figures.value(f"load CPU acl1_{rules.lower()}", "ctrfw")
        how = "part load: time of the CPU, open(2) to close(2)"
        if value is None:
            groups = (f"build {kind}_{rules}" for kind in KINDS)
            value = largest(figures.value(group, "ctrfw, whole") for group in groups)
            how = "part engine: text to a policy that can judge, worst set"
        checks.append(Check(f"{rules} rules loaded", value, "s", goal, how))
    return checks


def trace(figures: Figures) -> list[Check]:
    """Bar 8."""
    rate = "trace, 1000000 events/s"
    how = "part trace: loop around nf_hook()"
    disassembly = "part trace: disassembly of the stock kernel's module"
    off = figures.value("trace", "off")
    on = figures.value("trace", "an event")
    came = figures.value(rate, "came")
    lost = figures.value(rate, "lost, and told so")
    return [
        Check("trace on, an event", on, "ns", 30, how),
        # The bar is 1 ns; a processor of 1 GHz that runs one instruction a cycle takes that for one.
        Check("trace off, a hook", off, "nops", 1, disassembly),
        Check("came at 1 M events/s", came, "events/s", 0.99e6, how, least=True),
        Check("lost at 1 M events/s", lost, "events", 0, how),
    ]


BARS: list[tuple[str, Callable[[Figures], list[Check]]]] = [
    ("P2", edit),
    ("P3", empty),
    ("P4", loaded),
    ("P5", repeated),
    ("P6", memory),
    ("P7", load),
    ("P8", trace),
]


def together(checks: list[Check]) -> bool | None:
    """Whether all are met: not if any is not, and unknown if any was not measured."""
    met = [check.met() for check in checks]
    if False in met:
        return False
    return None if None in met else True


def bars(folder: Path, figures: Figures, peers: dict) -> None:
    """Prints how the bars stand, and writes them down."""
    checked = [("P1", lookup(figures, peers))]
    checked += [(bar, checks(figures)) for bar, checks in BARS]
    rows, written = [], []
    for bar, checks in checked:
        for check in checks:
            value = "not measured" if check.value is None else short(check.value)
            met = {True: "met", False: "NOT MET", None: "unknown"}[check.met()]
            rows.append([bar, check.what, value, check.goal(), met])
        written.append(
            {
                "bar": bar,
                "value": checks[0].value,
                "goal": checks[0].goal(),
                "met": together(checks),
                "how": checks[0].how,
                "checks": [
                    {
                        "what": check.what,
                        "value": check.value,
                        "unit": check.unit,
                        "goal": check.goal(),
                        "met": check.met(),
                        "how": check.how,
                    }
                    for check in checks
                ],
            }
        )
    (folder / "bars.json").write_text(json.dumps(written, indent=1) + "\n")
    table("the bars", ["", "", "value", "goal", ""], rows)
    for bar, checks in checked:
        for how in dict.fromkeys(c.how for c in checks if c.value is not None):
            print(f"  {bar}: {how}")


def main() -> None:
    """Tells of all there is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--compare", type=Path)
    arguments = parser.parse_args()
    figures = read(arguments.folder)
    if not figures:
        raise SystemExit(f"nothing was measured: {arguments.folder} has no figures")
    # Read first: it may be the file that is written now.
    old = None
    if arguments.compare is not None:
        old = [Figure(**item) for item in json.loads(arguments.compare.read_text())]
    # Ratios of paired samples are for who reads the file.
    shown = [f for f in figures if not f.group.startswith("ratio ")]
    tables(shown)
    plots(arguments.folder, shown)
    if old is not None:
        compare(figures, old)
    told = [figure._asdict() for figure in figures]
    (arguments.folder / "all.json").write_text(json.dumps(told, indent=1) + "\n")
    bars(arguments.folder, Figures(figures), json.loads(arguments.peers.read_text()))


if __name__ == "__main__":
    main()
