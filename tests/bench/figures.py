# SPDX-License-Identifier: GPL-2.0
"""Figures with their spread, as all parts of `make bench` write them."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

Figure = dict[str, str | int | float]


def figure(
    group: str, name: str, unit: str, samples: Sequence[float], how: str
) -> Figure:
    """The median of samples, and the quartiles around it."""
    low, value, high = (
        statistics.quantiles(samples, n=4, method="inclusive")
        if len(samples) > 1
        else samples * 3
    )
    return {
        "group": group,
        "name": name,
        "unit": unit,
        "value": float(f"{value:.6g}"),
        "low": float(f"{low:.6g}"),
        "high": float(f"{high:.6g}"),
        "n": len(samples),
        "how": how,
    }


def write(path: Path, figures: list[Figure]) -> None:
    """Writes them, and prints them as a table."""
    path.write_text(json.dumps(figures, indent=1) + "\n")
    group = ""
    for item in figures:
        if item["group"] != group:
            group = str(item["group"])
            print(f"\n{group}")
        spread = f"{item['low']:g} .. {item['high']:g}"
        print(
            f"  {item['name']:30} {item['value']:>12g} {item['unit']:13} {spread}  n={item['n']}"
        )
