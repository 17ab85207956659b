# SPDX-License-Identifier: GPL-2.0
"""What every scenario runs in: the module loaded, its table empty, the kernel's log watched."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib import control, kmemleak, kmsg, module
from lib.trace import Tracer

FIRST = "test_load.py"
# Container engines change the host for everybody behind them.
ENGINES = "test_watch.py"
LAST = "test_journal.py"

MODPROBE = Path("/proc/sys/kernel/modprobe")


@dataclass
class Run:
    """What is known of the run so far, by test."""

    # Seconds of each phase.
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    # What tests have to tell beyond their success.
    told: list[str] = field(default_factory=list)


RUN = Run()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Loading comes first, then the rest by name; engines and the search for leaks last."""
    rank = {FIRST: -1, ENGINES: 1, LAST: 2}
    items.sort(key=lambda item: rank.get(item.path.name, 0))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Packets sent one after the other arrive in that order if one CPU does it all."""
    os.sched_setaffinity(0, {0})


@pytest.fixture(scope="session", autouse=True)
def began() -> int:
    """When it was, in jiffies, before the first insmod; 0 where nobody wants to know."""
    return kmemleak.now() if kmemleak.available() else 0


@pytest.fixture(scope="session")
def journal() -> Iterator[kmsg.Kmsg]:
    """The kernel's log since before the first insmod: what was wrong earlier is not ours."""
    with kmsg.Kmsg() as log:
        yield log


@pytest.fixture(autouse=True)
def clean_kernel(request: pytest.FixtureRequest, journal: kmsg.Kmsg) -> Iterator[None]:
    """A test after which the kernel has something to complain about has failed."""
    kmsg.note(f"{request.node.name}")
    yield
    reports = [record.text for record in journal.records() if record.is_report]
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
def no_modprobe() -> Iterator[None]:
    """The kernel cannot have modules loaded."""
    command = MODPROBE.read_text()
    MODPROBE.write_text("/bin/false\n")
    yield
    MODPROBE.write_text(command)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Puts a line into the summary: figures that a reader wants to see."""

    def say(text: str) -> None:
        kmsg.note(text)
        RUN.told.append(f"{request.node.name}: {text}")

    return say


@pytest.fixture
def tracer(ctrfw: None) -> Iterator[Tracer]:
    """A reader of the trace from here on."""
    reader = Tracer()
    yield reader
    reader.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts tests, not phases: an error in set-up or clean-up is a failure of the test."""
    if report.failed:
        RUN.failed.add(report.nodeid)
    elif report.when == "call" and report.passed:
        RUN.passed.add(report.nodeid)
    elif report.skipped:
        reason = (
            report.longrepr[2]
            if isinstance(report.longrepr, tuple)
            else str(report.longrepr)
        )
        RUN.skipped[report.nodeid] = reason


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be read is a failure, too."""
    if report.failed:
        RUN.failed.add(report.nodeid)


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """The word after a test's name: what came of it, and how long it took."""
    if isinstance(report, pytest.TestReport):
        RUN.seconds.setdefault(report.nodeid, {})[report.when] = report.duration
    if report.when == "call" or (report.when == "setup" and report.skipped):
        word = "ok" if report.passed else report.outcome
        seconds = sum(RUN.seconds.get(report.nodeid, {}).values())
        return report.outcome, "", f"{word} {seconds:.1f} s"
    return None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the summary for run.sh."""
    lines = list(RUN.told)
    lines += [
        f"skipped {name}: {reason}" for name, reason in sorted(RUN.skipped.items())
    ]
    lines += [f"failed {name}" for name in sorted(RUN.failed)]
    passed = len(RUN.passed - RUN.failed)
    lines.append(f"{passed} passed, {len(RUN.failed)} failed")
    summary = Path(os.environ.get("CTRFW_RESULTS", "/results")) / "summary"
    summary.write_text("".join(f"{line}\n" for line in lines))
