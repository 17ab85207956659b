# SPDX-License-Identifier: GPL-2.0
"""What is known of a row: the data of the compatibility page."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Record:
    """It becomes /results/row.json."""

    name: str
    title: str = ""
    versions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # What the row's tests and disturbances are about
    about: dict[str, str] = field(default_factory=dict)
    # What was tried and seen, by test
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    # passed or failed, by test
    results: dict[str, str] = field(default_factory=dict)

    def note(self, test: str, **figures: int) -> None:
        """Figures of a test."""
        self.seen[test] = figures

    def write(self) -> None:
        """For scripts/compatibility.py"""
        folder = Path(os.environ.get("CTRFW_RESULTS", "/results"))
        (folder / "row.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
