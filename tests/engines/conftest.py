# SPDX-License-Identifier: GPL-2.0
"""One engine, the place that it makes, and what is written down of it."""

import os
from collections.abc import Callable, Iterator

import pytest

from engines.baseline import Baseline
from engines.record import Record
from engines.row import Row, run
from engines.rows import ROWS
from lib import module
from lib.kmsg import Kmsg
from lib.scene import Scene

NAME = os.environ["CTRFW_TEST_ENGINE"]
RECORD = Record(NAME)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The row's, in its order."""
    order = list(ROWS[NAME].tests)
    items[:] = [item for item in items if item.path.name in order]
    items.sort(key=lambda item: order.index(item.path.name))
    for item in items:
        assert isinstance(item, pytest.Function)
        RECORD.about[item.name] = item.function.__doc__ or ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What the row's engine does."""
    if "disturbance" in metafunc.fixturenames:
        metafunc.parametrize("disturbance", ROWS[NAME].disturbances)


@pytest.fixture(scope="session")
def row() -> Row:
    """The row on trial."""
    row = ROWS[NAME]()
    RECORD.title, RECORD.notes = row.title, list(row.notes)
    RECORD.versions = [*row.versions(), f"Linux {os.uname().release}"]
    for name in row.disturbances:
        RECORD.about[name] = getattr(row, name).__doc__
    return row


@pytest.fixture(scope="session")
def scene(row: Row, journal: Kmsg) -> Iterator[Scene]:
    """The place, for as long as the tests run."""
    # Engines and what they start may have all CPUs.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    with row.up() as scene:
        # Not all engines load it.
        run("modprobe", "br_netfilter")
        yield scene


@pytest.fixture(scope="session")
def baseline(scene: Scene, row: Row) -> Baseline:
    """What is so without ctrfw."""
    assert not module.is_loaded()
    return Baseline.take(scene, row)


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Writes down a test's figures."""

    def write(**figures: int) -> None:
        RECORD.note(request.node.name, **figures)

    return write


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test has passed if all of its phases have."""
    name = report.nodeid.rpartition("::")[2]
    if report.failed:
        RECORD.results[name] = "failed"
    elif report.when == "call":
        RECORD.results.setdefault(name, report.outcome)


def pytest_sessionfinish() -> None:
    """The row of the page."""
    RECORD.write()
