# SPDX-License-Identifier: GPL-2.0
"""The compatibility page, made from what the engines' guests have left.

compatibility.py PAGE RESULTS ROW...: prints PAGE with the part between its two markers made anew.
"""

import json
import sys
from pathlib import Path

BEGIN = "<!-- made by make test-engines: begin -->"
END = "<!-- made by make test-engines: end -->"
POLICIES = (
    "lan-lockdown",
    "one-published-service",
    "compose-project",
    "host-network",
)


def outcome(row, test, text):
    """A cell: what was seen, or that it failed."""
    result = row["results"].get(test)
    if result is None:
        return "-"
    if result != "passed":
        return "**failed**"
    return text.format(**row["seen"].get(test, {}))


def disturbances(row):
    """The names of the tests of what the engine does meanwhile, with what that is."""
    prefix = "test_disturbed["
    tests = [test for test in row["results"] if test.startswith(prefix)]
    return {test: row["about"].get(test[len(prefix) : -1], test) for test in tests}


def others(row):
    """Tests that only this row has."""
    known = {"test_who_reaches_whom[1]", "test_who_reaches_whom[0]", "test_traffic"}
    known |= {
        f"test_policy[{name}-{bridged}]" for name in POLICIES for bridged in (1, 0)
    }
    return [t for t in row["results"] if t not in known and t not in disturbances(row)]


def label(row, test):
    """What a test is about, and what of it."""
    about = row["about"].get(test, test).rstrip(".")
    _, _, parameter = test.partition("[")
    return f"{about} ({parameter[:-1]})" if parameter else about


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def overview(rows):
    """One line for each engine."""
    head = [
        "engine",
        "empty table",
        "other traffic",
        *POLICIES,
        "meanwhile",
        "passed, failed",
    ]
    lines = []
    for row in rows:
        bad = [test for test, result in row["results"].items() if result == "failed"]
        good = [test for test, result in row["results"].items() if result == "passed"]
        tests = disturbances(row)
        held = sum(row["results"][test] == "passed" for test in tests)
        lines.append(
            [
                f"[{row['title']}](#{row['name']})",
                outcome(row, "test_who_reaches_whom[1]", "{answered} of {tried}"),
                outcome(row, "test_traffic", "{tried} the same"),
                *(
                    outcome(row, f"test_policy[{name}-1]", "{allowed} + {refused}")
                    for name in POLICIES
                ),
                f"{held} of {len(tests)}" if tests else "-",
                f"{len(good)}, {len(bad)}"
                if not bad
                else f"{len(good)}, **{len(bad)}**",
            ]
        )
    return table(head, lines)


def details(row):
    """A section of its own."""
    lines = [f'<a id="{row["name"]}"></a>', "", f"### {row['title']}", ""]
    lines += [f"{', '.join(row['versions'])}.", ""]
    cells = []
    for test, about in disturbances(row).items():
        seen = outcome(
            row,
            test,
            "of {flows} flows none got through; afterwards {allowed} allowed and {refused} refused",
        )
        cells.append([about, seen])
    for test in others(row):
        figures = row["seen"].get(test, {})
        seen = ", ".join(["passed", *(f"{n} {word}" for word, n in figures.items())])
        cells.append([label(row, test), outcome(row, test, seen)])
    if cells:
        lines += [*table(["what was done", "what was seen"], cells), ""]
    lines += [f"- {note}" for note in row["notes"]]
    return [*lines, ""] if row["notes"] else lines


def main():
    """Prints the page."""
    page, results = Path(sys.argv[1]), Path(sys.argv[2])
    rows = [
        json.loads((results / name / "row.json").read_text()) for name in sys.argv[3:]
    ]
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    body = [*overview(rows), ""]
    for row in rows:
        body += details(row)
    text = "\n".join(body).rstrip()
    print(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", end="")


if __name__ == "__main__":
    main()
