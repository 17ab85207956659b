# SPDX-License-Identifier: GPL-2.0
"""`ctrfw load --confirm`: the table of before comes back unless somebody says that it need not."""

import contextlib
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import cgroup, control
from lib.poll import PATIENCE, until

COMMAND = Path(__file__).parent.parent.parent / "build" / "ctrfw"
OLD = ["deny from 192.0.2.1", "default allow hook local_in"]
NEW = "deny from 192.0.2.2"
# As long as nobody waits for the end of it.
LONG = "600"


def own_terminal() -> None:
    """Makes standard input the terminal that controls this session."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def keeper_of(process: subprocess.Popen[str]) -> int:
    """The process that keeps the old table."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = stat.read_text().rpartition(")")[2].split()[1]
            if int(parent) == process.pid:
                return int(stat.parent.name)
    raise AssertionError("there is no keeper")


class Trials:
    """Trials whose state is kept in a folder of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = folder / "new.rules"
        self.table.write_text(f"{NEW}\n")
        self.run = ["--run", str(folder / "run")]
        self.started: list[subprocess.Popen[str]] = []

    def load(
        self, *args: str, seconds: str = LONG, tty: int | None = None
    ) -> subprocess.Popen[str]:
        """Begins a trial; returns once the table is in force."""
        before = control.Status.read().generation
        process = subprocess.Popen(
            [COMMAND, *self.run, "load", *args, self.table, "--confirm", seconds],
            stdin=subprocess.DEVNULL if tty is None else tty,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if tty is None else tty,
            text=True,
            # A session of its own, as one that came by ssh.
            start_new_session=True,
            preexec_fn=None if tty is None else own_terminal,
        )
        self.started.append(process)
        until(
            lambda: (
                control.Status.read().generation > before or process.poll() is not None
            ),
            "the new table is in force",
        )
        return process

    def confirm(self, *args: str) -> tuple[int, str, str]:
        """Ends the trial from elsewhere; exit code, output and complaints."""
        done = subprocess.run(
            [COMMAND, *self.run, "confirm", *args],
            capture_output=True,
            check=False,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def end(self) -> None:
        """Leaves nothing running."""
        self.confirm("--revert")
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Trials]:
    """The old table is in force."""
    control.load_rules(*OLD)
    trials = Trials(tmp_path)
    yield trials
    trials.end()
    assert not (tmp_path / "run" / "socket").exists()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code, output and complaints of a command that comes to its end."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def old_is_back() -> bool:
    """Whether the old table is in force."""
    return control.rules() == OLD


def test_confirmed_from_elsewhere(trials: Trials) -> None:
    """The new table stays, and neither command is left waiting."""
    process = trials.load()
    assert control.rules() == [NEW]
    code, out, err = trials.confirm()
    assert (code, err) == (0, "")
    assert out.startswith("confirmed")
    code, _, err = ended(process)
    assert code == 0
    assert "run ctrfw confirm within 600 s" in err
    assert "confirmed" in err
    assert control.rules() == [NEW]
    # Nothing is left to confirm.
    code, _, err = trials.confirm()
    assert code == 1
    assert "no table waits" in err
    assert "the last one was confirmed" in err


def test_time_out(trials: Trials) -> None:
    """Nobody says anything."""
    code, out, _ = ended(trials.load("--json", seconds="1"))
    ending = json.loads(out)["ending"]
    assert (code, ending) == (1, {"outcome": "reverted", "reason": "time_out"})
    assert old_is_back()
    code, out, _ = trials.confirm("--json")
    assert (code, json.loads(out)) == (1, {"waiting": False, "ending": ending})


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_signal(trials: Trials, name: str) -> None:
    """The command tells what it has done before it ends."""
    process = trials.load()
    process.send_signal(signal.Signals[f"SIG{name}"])
    code, _, err = ended(process)
    assert code == 1
    assert "reverted (interrupted" in err
    assert old_is_back()


def test_killed(trials: Trials) -> None:
    """The whole session at once: nobody can tell any more, but it is reverted."""
    process = trials.load()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    until(old_is_back, "the old table is back")
    code, _, err = until(
        lambda: (told := trials.confirm())[2].count("killed") and told, "it is told"
    )
    assert code == 1
    assert "reverted (the command that loaded it was killed)" in err


def test_the_keeper_is_stopped(trials: Trials) -> None:
    """As when its service, or the machine, is stopped."""
    process = trials.load()
    os.kill(keeper_of(process), signal.SIGTERM)
    assert ended(process)[0] == 1
    assert old_is_back()


def test_the_keeper_is_killed(trials: Trials) -> None:
    """Nothing reverts then; that is told, and where the old table is."""
    process = trials.load()
    os.kill(keeper_of(process), signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 2
    assert "NOTHING WILL BE REVERTED" in err
    code, _, err = trials.confirm()
    previous = trials.folder / "run" / "previous.rules"
    assert code == 1
    assert f"the table of before is in {previous}" in err
    assert previous.read_text().splitlines() == OLD
    # What it has left is in nobody's way.
    process = trials.load()
    assert trials.confirm()[0] == 0
    assert ended(process)[0] == 0


def test_asked_to_revert(trials: Trials) -> None:
    """Before the time is over."""
    process = trials.load()
    code, out, _ = trials.confirm("--revert")
    assert code == 0
    assert out.startswith("reverted (as asked for)")
    assert ended(process)[0] == 1
    assert old_is_back()


@pytest.mark.parametrize("wish", [[], ["--revert"]], ids=["confirm", "revert"])
def test_somebody_else(trials: Trials, wish: list[str]) -> None:
    """What somebody else has loaded meanwhile stays, and it is said that it does."""
    process = trials.load()
    control.load_rules("deny from 192.0.2.3")
    code, out, _ = trials.confirm(*wish)
    assert code == 1
    assert "somebody else has changed the table" in out
    code, _, err = ended(process)
    assert code == 1
    assert "NOTHING WAS REVERTED" in err
    assert control.rules() == ["deny from 192.0.2.3"]


def test_one_at_a_time(trials: Trials) -> None:
    """A second trial is refused, and the first one is not disturbed."""
    process = trials.load()
    generation = control.Status.read().generation
    second = trials.load(seconds="1")
    code, _, err = ended(second)
    assert code == 2
    assert "on trial already: end that with ctrfw confirm" in err
    assert control.Status.read().generation == generation
    assert trials.confirm()[0] == 0
    assert ended(process)[0] == 0


def test_added(trials: Trials) -> None:
    """What was added goes again."""
    process = trials.load("--append")
    assert control.rules() == [OLD[0], NEW, OLD[1]]
    process.terminate()
    assert ended(process)[0] == 1
    assert old_is_back()


def test_a_condition_of_its_own(trials: Trials) -> None:
    """The keeper makes one of it itself."""
    generation = control.Status.read().generation
    trials.table.write_text(f"# {NEW}\n\nif generation {generation}\n{NEW}\n")
    code, _, err = ended(trials.load())
    assert code == 1
    assert "must have no condition of its own" in err
    assert old_is_back()


def test_refused(trials: Trials) -> None:
    """A table that is refused is on no trial; lines are counted as in the file."""
    trials.table.write_text("".join(f"default deny netns {n}\n" for n in range(300)))
    code, _, err = ended(trials.load())
    assert code == 1
    assert "line 257: more than 256 defaults" in err
    assert old_is_back()
    assert trials.confirm()[0] == 1


def test_the_old_table_could_not_be_written_again(trials: Trials) -> None:
    """A cgroup in it is gone: better no trial than one that cannot be reverted."""
    cgroup.make("/gone")
    control.load_rules("deny cgroup /gone hook local_out", *OLD)
    cgroup.remove("/gone")
    before, generation = control.rules(), control.Status.read().generation
    code, _, err = ended(trials.load())
    assert code == 2
    why = 'nothing changed: the table in force could not be put back: line 1: there is no cgroup "/gone"'
    assert why in err
    assert control.rules() == before
    assert control.Status.read().generation == generation
    assert "no table waits" in trials.confirm()[2]


def typed(trials: Trials, text: str | None) -> tuple[int, str]:
    """The exit code if that is typed at a terminal, and what stands there then.

    None for a terminal that goes away.
    """
    mine, theirs = pty.openpty()
    process = trials.load(tty=theirs)
    os.close(theirs)
    seen = ""
    while "[yes/no] " not in seen:
        seen += os.read(mine, 4096).decode()
    if text is None:
        os.close(mine)
        return ended(process)[0], seen
    os.write(mine, text.encode())
    try:
        while piece := os.read(mine, 4096):
            seen += piece.decode()
    except OSError:
        # As a terminal's last reader learns that nobody writes any more.
        pass
    os.close(mine)
    return ended(process)[0], seen


@pytest.mark.parametrize("text", ["yes\n", "Y\n", "what\nyes\n"])
def test_typed_yes(trials: Trials, text: str) -> None:
    """At a terminal it can be said right there."""
    code, seen = typed(trials, text)
    assert code == 0
    assert "confirmed" in seen
    assert seen.count("[yes/no]") == text.count("\n")
    assert control.rules() == [NEW]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no\n", "as asked for"),
        ("\x04", "the terminal was closed"),
        ("\x03", "interrupted"),
    ],
    ids=["no", "end of input", "interrupt"],
)
def test_typed_no(trials: Trials, text: str, reason: str) -> None:
    """So can it that it is not wanted."""
    code, seen = typed(trials, text)
    assert code == 1
    assert f"reverted ({reason}" in seen
    assert old_is_back()


def test_the_terminal_goes(trials: Trials) -> None:
    """As when the connection breaks down that it came by."""
    code, _ = typed(trials, None)
    assert code == 1
    assert old_is_back()
