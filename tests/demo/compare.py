# SPDX-License-Identifier: GPL-2.0
"""A path from the trace beside the one that the table expects."""

import difflib

import ctrfw_paths

FIELDS = ("iif", "oif", "dev", "physin", "physout", "src", "dst")


def seen_as(step, names):
    """A step in the table's words."""
    row = {"namespace": ctrfw_paths.name_of(step, names), "hook": step.hook}
    return row | {key: str(getattr(step, key)) for key in FIELDS}


def differences(step, seen, row):
    """What a step has other than expected, as text; empty if all is well."""
    wrong = [f"{key} {row[key]}" for key in FIELDS if seen[key] != row[key]]
    if (step.verdict, step.rule) != ("allow", "default"):
        wrong.append("verdict allow default")
    return ", ".join(wrong)


def compare(path, expected, names):
    """(marks, missing): a mark for each step of the path, and the expected rows
    that the path has not, as {number of steps before it: texts}."""
    seen = [seen_as(step, names) for step in path.steps]
    marks, missing = ["UNEXPECTED (expected no such row)"] * len(seen), {}
    places = ([(r["namespace"], r["hook"]) for r in rows] for rows in (seen, expected))
    matcher = difflib.SequenceMatcher(None, *places, autojunk=False)
    for tag, i, end, j, end_j in matcher.get_opcodes():
        if tag != "equal":
            texts = [" ".join(row.values()) for row in expected[j:end_j]]
            missing.setdefault(i, []).extend(texts)
            continue
        for step, at, row in zip(path.steps[i:end], range(i, end), expected[j:end_j]):
            wrong = differences(step, seen[at], row)
            marks[at] = f"UNEXPECTED (expected {wrong})" if wrong else "ok"
    return marks, missing


def lines_of(path, expected, names):
    """(lines, right, wrong): the path with its marks, and how many rows are which."""
    marks, missing = compare(path, expected, names)
    lines, steps = [], 0
    for line in ctrfw_paths.table(path, names, marks):
        lines.append(line)
        # The head comes first, and lines about NAT come between the steps.
        if steps == 0 or line.split()[0] == str(steps):
            lines += [f"     MISSING {text}" for text in missing.get(steps, ())]
            steps += 1
    right = marks.count("ok")
    return lines, right, len(marks) - right + sum(map(len, missing.values()))
