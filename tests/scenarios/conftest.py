# SPDX-License-Identifier: GPL-2.0
"""What every scenario runs in: the module loaded, its table empty, the kernel's log watched."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import control, kmsg, module
from lib.trace import Tracer

FIRST = "test_load.py"
LAST = "test_journal.py"
KMEMLEAK = Path("/sys/kernel/debug/kmemleak")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Loading comes first, the search for leaks last, the rest by name."""
    rank = {FIRST: -1, LAST: 1}
    items.sort(key=lambda item: rank.get(item.path.name, 0))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Whatever was wrong before the first insmod is none of our business."""
    # One CPU: packets sent one after the other arrive one after the other.
    os.sched_setaffinity(0, {0})
    if KMEMLEAK.exists():
        KMEMLEAK.write_text("clear")
    Session.journal = kmsg.Kmsg()


class Session:
    """What is known of the run so far."""

    journal: kmsg.Kmsg
    # Per test: seconds, and whether a phase of it failed.
    seconds: dict[str, float] = {}
    failed: set[str] = set()
    passed: set[str] = set()
    skipped: dict[str, str] = {}


@pytest.fixture(autouse=True)
def clean_kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test after which the kernel has something to complain about has failed."""
    kmsg.note(f"{request.node.name}")
    yield
    reports = [record.text for record in Session.journal.records() if record.is_report]
    assert not reports, "the kernel complains:\n" + "\n".join(reports)


@pytest.fixture(autouse=True)
def ctrfw(request: pytest.FixtureRequest, clean_kernel: None) -> Iterator[None]:
    """The module, with an empty table and no trace, before and after."""
    marker = request.node.get_closest_marker("parameters")
    module.ensure(**(marker.kwargs if marker else {}))
    yield
    if module.is_loaded():
        control.load_rules()
        control.trace()


@pytest.fixture
def tracer(ctrfw: None) -> Iterator[Tracer]:
    """A reader of the trace from here on."""
    reader = Tracer()
    yield reader
    reader.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts tests, not phases: an error in set-up or clean-up is a failure of the test."""
    Session.seconds[report.nodeid] = Session.seconds.get(report.nodeid, 0) + report.duration
    if report.failed:
        Session.failed.add(report.nodeid)
    elif report.when == "call" and report.passed:
        Session.passed.add(report.nodeid)
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        Session.skipped[report.nodeid] = reason


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be read is a failure, too."""
    if report.failed:
        Session.failed.add(report.nodeid)


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """The word after a test's name: what came of it, and how long it took."""
    if report.when == "call" or (report.when == "setup" and report.skipped):
        word = "ok" if report.passed else report.outcome
        # The set-up's time is known by now, this phase's is not added yet.
        seconds = Session.seconds.get(report.nodeid, 0) + report.duration
        return report.outcome, "", f"{word} {seconds:.1f} s"
    return None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the summary for run.sh."""
    lines = [f"skipped {name}: {reason}" for name, reason in sorted(Session.skipped.items())]
    lines += [f"failed {name}" for name in sorted(Session.failed)]
    passed = len(Session.passed - Session.failed)
    lines.append(f"{passed} passed, {len(Session.failed)} failed")
    summary = Path(os.environ.get("CTRFW_RESULTS", "/results")) / "summary"
    summary.write_text("".join(f"{line}\n" for line in lines))
