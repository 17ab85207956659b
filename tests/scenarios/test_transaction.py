# SPDX-License-Identifier: GPL-2.0
"""One open-to-close is one transaction, whatever tool writes, in whatever pieces.

Proven for /proc/ctrfw/rules (and /proc/ctrfw/trace, which shares the rules): `>` replaces, `>>`
adds; all of it takes effect or nothing does; a bad line fails its own write(2) and every later
one; a writer that is killed commits nothing; what reads back loads back to the same.
"""

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib import control, module
from lib.background import Background, Stop, running
from lib.control import RULES, SENTINEL_RULE, Status
from lib.kmsg import Kmsg
from lib.netns import HOST
from lib.poll import until

OLD = ["deny proto udp dport 7 hook local_out", "default allow hook forward"]
NEW = ["allow from 192.0.2.0/24", "deny proto tcp dport 1-1024", "deny to fe80::/10"]


@pytest.fixture
def generation() -> int:
    """The old table is in force; its generation."""
    control.load_rules(*OLD)
    return Status.read().generation


@pytest.fixture
def old_in_force(generation: int) -> Iterator[None]:
    """Whatever the test does, the old table is in force afterwards, to the packet."""
    HOST.ip("link set lo up")
    with HOST.udp("127.0.0.1", 7) as sock:
        yield
        assert control.rules() == OLD
        assert Status.read().generation == generation
        with pytest.raises(PermissionError):
            sock.sendto(b"x", ("127.0.0.1", 7))


def shell(command: str, check: bool = True) -> int:
    """Runs a shell command; what it complains of does not matter."""
    done = subprocess.run(
        command,
        shell=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0 or not check, command
    return done.returncode


def text(lines: list[str]) -> str:
    """Lines as a file has them."""
    return "".join(f"{line}\n" for line in lines)


# Each of these writes the file FROM to the table; `>` or `>>` is put for the dots.
WRITERS = {
    "echo": 'echo "$(cat FROM)" .. /proc/ctrfw/rules',
    "printf without a last newline": 'printf %s "$(cat FROM)" .. /proc/ctrfw/rules',
    "cat": "cat FROM .. /proc/ctrfw/rules",
    "several echos": "while read -r line; do echo $line; done < FROM .. /proc/ctrfw/rules",
    "several processes": "{ head -n 1 FROM; tail -n +2 FROM; } .. /proc/ctrfw/rules",
    "dd bs=1": "dd bs=1 if=FROM of=/proc/ctrfw/rules CONV",
    "dd bs=7": "dd bs=7 if=FROM of=/proc/ctrfw/rules CONV",
    "tee": "tee APPEND /proc/ctrfw/rules < FROM",
    "busybox": "busybox cat FROM .. /proc/ctrfw/rules",
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("append", [False, True], ids=["replace", "add"])
def test_writers(generation: int, tmp_path: Path, writer: str, append: bool) -> None:
    """Each tool brings the whole text, as one transaction."""
    source = tmp_path / "rules"
    source.write_text(text(NEW))
    command = (
        WRITERS[writer]
        .replace("FROM", str(source))
        .replace("..", ">>" if append else ">")
        .replace("CONV", "oflag=append conv=notrunc" if append else "")
        .replace("APPEND", "-a" if append else "")
    )
    shell(command)
    assert control.rules() == ([OLD[0], *NEW, OLD[1]] if append else NEW)
    assert Status.read().generation == generation + 1


def test_cp(generation: int, tmp_path: Path) -> None:
    """`cp` replaces."""
    source = tmp_path / "rules"
    source.write_text(text(NEW))
    shell(f"cp {source} /proc/ctrfw/rules")
    assert control.rules() == NEW
    assert Status.read().generation == generation + 1


@pytest.mark.parametrize(
    "tool", ["cat {} > /proc/ctrfw/rules", "tee /proc/ctrfw/rules < {}"]
)
def test_more_than_a_megabyte(generation: int, tmp_path: Path, tool: str) -> None:
    """Many writes, one table; and so large a table reads back as one text, which loads again."""
    lines = [
        f"deny from 2001:db8:{i:x}::/64 to 2001:db8:ffff::1 proto tcp dport {i}"
        for i in range(1, 17001)
    ]
    source = tmp_path / "rules"
    source.write_text(text(lines))
    assert source.stat().st_size > 1 << 20
    shell(tool.format(source))
    status = Status.read()
    assert (status.generation, status.rules) == (generation + 1, len(lines))
    assert RULES.read_text() == source.read_text()
    control.write(RULES, RULES.read_bytes())
    assert RULES.read_text() == source.read_text()


@pytest.mark.parametrize(
    "command", [": > {}", "cat /dev/null > {}", "echo > {}", "echo '#' > {}"]
)
def test_emptying(generation: int, command: str) -> None:
    """Replacing by nothing empties the table."""
    shell(command.format(RULES))
    status = Status.read()
    assert (status.generation, status.rules) == (generation + 1, 0)
    assert control.rules() == []


@pytest.mark.usefixtures("old_in_force")
@pytest.mark.parametrize(
    "command", ["touch {}", ": >> {}", "cat /dev/null >> {}", "cat {}"]
)
def test_changing_nothing(command: str) -> None:
    """Opening without writing is no transaction, unless the file is cut first."""
    shell(command.format(RULES))


def test_read_while_writing(generation: int) -> None:
    """Until the writer closes, readers see and packets meet the old table."""
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, text(NEW).encode())
    assert control.rules() == OLD
    assert Status.read().generation == generation
    os.close(fd)
    assert control.rules() == NEW
    assert Status.read().generation == generation + 1


def test_pieces_of_any_size(generation: int) -> None:
    """Where a write ends does not matter: in a word, in a line, between lines."""
    data = text(NEW).encode()
    for size in (1, 2, 3, 5, 11, 64, 511, 512, 513):
        fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            assert os.write(fd, piece) == len(piece)
        os.close(fd)
        assert control.rules() == NEW
    assert Status.read().generation == generation + 9


@pytest.mark.usefixtures("old_in_force")
@pytest.mark.parametrize("flags", [os.O_TRUNC, os.O_APPEND], ids=["replace", "add"])
def test_bad_line_fails_its_own_write(flags: int) -> None:
    """A good line is taken, a bad one is EINVAL at once, and so is all that follows."""
    fd = os.open(RULES, os.O_WRONLY | flags)
    assert os.write(fd, b"deny from 10.0.0.0/8\n") == 21
    for line in (b"deny from 10.0.0.300\n", b"deny from 10.0.0.0/8\n", b"\n"):
        with pytest.raises(OSError) as caught:
            os.write(fd, line)
        assert caught.value.errno == errno.EINVAL
    assert Status.read().last_error == (
        'rules line 2 column 11: got "10.0.0.300", '
        "expected an IPv4 or IPv6 address, ADDRESS/LENGTH, FIRST-LAST or @SET"
    )
    os.close(fd)


@pytest.mark.usefixtures("old_in_force")
def test_the_shell_hears_of_it() -> None:
    """The tools fail, with their usual exit status."""
    assert shell(f"echo 'deny from nowhere' > {RULES}", check=False) != 0
    assert (
        shell(f"printf 'deny\\ndeny from nowhere\\n' | tee {RULES}", check=False) != 0
    )
    assert shell(f"printf 'allow\\nfoo\\n' | dd bs=1 of={RULES}", check=False) != 0


@pytest.mark.usefixtures("old_in_force")
@pytest.mark.parametrize(
    "end",
    [b"deny from 10.0.0.300", b"nonsense", b"deny proto udp dport 65536", b"deny 1"],
)
def test_hopeless_end_fails_at_once(end: bytes) -> None:
    """A last word that nothing could mend need not wait for its newline."""
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    assert os.write(fd, b"deny\n") == 5
    with pytest.raises(OSError) as caught:
        os.write(fd, end)
    assert caught.value.errno == errno.EINVAL
    assert Status.read().last_error.startswith("rules line 2 column ")
    os.close(fd)


@pytest.mark.usefixtures("old_in_force")
def test_bad_end_is_found_at_close() -> None:
    """A last line without a newline may still have gone on: only close(2) can tell."""
    expected = 'rules line 2 column 12: got "tc", expected a protocol'
    with Kmsg() as log:
        control.write(RULES, "deny from 10.0.0.0/8\ndeny proto tc")
        assert Status.read().last_error.startswith(expected)
        said = [line for line in log.texts() if line.startswith("ctrfw: ")]
    assert any('line 2 column 12: got "tc"' in line for line in said)


def test_last_error_is_cleared_by_success(generation: int) -> None:
    """The next good load of the same file clears it, and no other does."""
    with pytest.raises(OSError):
        control.load_rules("nonsense")
    error = Status.read().last_error
    assert error.startswith('rules line 1 column 1: got "nonsense"')
    control.trace("all")
    control.trace()
    assert Status.read().last_error == error
    control.load_rules(*NEW)
    assert Status.read().last_error == "none"
    with pytest.raises(OSError):
        control.trace("from everywhere")
    assert Status.read().last_error.startswith(
        'trace line 1 column 6: got "everywhere"'
    )
    control.trace()
    assert Status.read().last_error == "none"


def die_writing(kill: Callable[[], None], flags: int) -> None:
    """A child writes a good table, and dies with the file open."""
    pid = os.fork()
    if pid == 0:
        try:
            fd = os.open(RULES, os.O_WRONLY | flags)
            os.write(fd, text(NEW).encode())
            kill()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.usefixtures("old_in_force")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGPIPE, signal.SIGSEGV]
)
@pytest.mark.parametrize("flags", [os.O_TRUNC, os.O_APPEND], ids=["replace", "add"])
def test_killed_writer_commits_nothing(number: signal.Signals, flags: int) -> None:
    """Whoever is killed had more to say: what it wrote is dropped."""

    def kill() -> None:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
        signal.pause()

    die_writing(kill, flags)


@pytest.mark.usefixtures("old_in_force")
def test_killed_by_another() -> None:
    """The same when the writer sleeps, and somebody else kills it."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, text(NEW).encode())
        os.write(told, b"x")
        signal.pause()
        os._exit(1)
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(told)


def test_a_writer_that_exits_commits(generation: int) -> None:
    """Who ends of its own accord without closing has closed, whatever its exit status."""
    pid = os.fork()
    if pid == 0:
        fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, text(NEW).encode())
        os._exit(3)
    os.waitpid(pid, 0)
    assert control.rules() == NEW
    assert Status.read().generation == generation + 1


def test_rmmod_drops_what_is_being_written() -> None:
    """A transaction that is open when the module goes is not even looked at any more."""
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"deny\ndeny proto tc")
    with Kmsg() as log:
        module.unload()
        os.close(fd)
        assert [t for t in log.texts() if t.startswith("ctrfw")] == ["ctrfw: unloaded"]


def test_two_writers_replacing(generation: int) -> None:
    """Both are whole transactions: who closes last has the last word, with its own text only."""
    first = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    second = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    os.write(first, b"deny from 192.0.2.1\n")
    os.write(second, b"deny from 192.0.2.2\n")
    os.write(first, b"deny from 192.0.2.1\n")
    os.close(second)
    assert control.rules() == ["deny from 192.0.2.2"]
    os.close(first)
    assert control.rules() == ["deny from 192.0.2.1"] * 2
    assert Status.read().generation == generation + 2


def test_two_writers_adding() -> None:
    """No addition is lost, none is torn."""
    count = 100
    control.load_rules()
    generation = Status.read().generation

    def writer(tag: int) -> Callable[[Stop], int]:
        def work(_: Stop) -> int:
            for i in range(count):
                line = f"deny from 192.0.{tag}.{i} to 198.51.100.{tag}"
                control.load_rules(line, line, append=True)
            return count

        return work

    children = [Background(writer(tag)) for tag in (1, 2)]
    assert [child.result() for child in children] == [count, count]
    rules = control.rules()
    for tag in (1, 2):
        mine = [rule for rule in rules if rule.endswith(f"198.51.100.{tag}")]
        assert mine == [
            f"deny from 192.0.{tag}.{i} to 198.51.100.{tag}"
            for i in range(count)
            for _ in "12"
        ]
    assert rules[::2] == rules[1::2], "the two lines of one addition stay together"
    assert len(rules) == 4 * count
    assert Status.read().generation == generation + 2 * count


def test_a_reader_sees_one_table(generation: int) -> None:
    """A slow reader gets the table that was in force when it opened the file."""
    lines = [f"deny from 192.0.2.{i % 256} dport {i}" for i in range(4000)]
    control.load_rules(*lines)

    def swap(stop: Stop) -> int:
        count = 0
        while not stop:
            control.load_rules(*NEW)
            control.load_rules(*lines)
            count += 1
        return count

    with running(swap) as child:
        fd = os.open(RULES, os.O_RDONLY)
        start = Status.read().generation
        got = os.read(fd, 1000)
        until(lambda: Status.read().generation > start + 1, "some swaps")
        while piece := os.read(fd, 4096):
            got += piece
        os.close(fd)
        assert got.decode().splitlines() in (lines, NEW)
        assert child.finish() > 0


@pytest.mark.parameters(max_rules=10)
def test_more_than_max_rules() -> None:
    """Too many rules are refused whole, by `>` and by `>>`."""
    few = [f"deny from 192.0.2.{i}" for i in range(10)]
    control.load_rules(*few)
    generation = Status.read().generation
    for lines, append in (([*few, "deny"], False), (["deny"], True), (few, True)):
        with Kmsg() as log:
            try:
                control.load_rules(*lines, append=append)
            except OSError as error:
                assert error.errno == errno.ENOSPC
            else:
                # Only at close is it known how much there is to add to: status and log tell.
                assert append
                assert any("10" in line for line in log.texts())
        assert Status.read().last_error.startswith("rules ")
        assert Status.read().last_error != "none"
        assert control.rules() == few
        assert Status.read().generation == generation
    control.load_rules(*few[:9])
    control.load_rules(few[9], append=True)
    assert control.rules() == few


def test_trace_is_a_transaction_too() -> None:
    """`>`, `>>`, a bad line and `off` in the trace file."""
    control.trace("proto tcp dport 22", "netns host")
    control.write(control.TRACE, "from 10.0.0.1", append=True)
    expected = ["proto tcp dport 22", "netns host", "from 10.0.0.1"]
    assert control.TRACE.read_text().splitlines() == expected
    with pytest.raises(OSError) as caught:
        control.write(control.TRACE, "all\nfrom\n")
    assert caught.value.errno == errno.EINVAL
    assert control.TRACE.read_text().splitlines() == expected
    assert Status.read().trace == 3
    control.write(control.TRACE, "off\n", append=True)
    assert control.TRACE.read_text() == "off\n"
    control.write(control.TRACE, "all\n" * 64)
    assert Status.read().trace == 64
    with pytest.raises(OSError) as caught:
        control.write(control.TRACE, "all\n" * 65)
    assert caught.value.errno == errno.ENOSPC
    assert Status.read().trace == 64
    shell(f": > {control.TRACE}")
    assert control.TRACE.read_text() == "off\n"


def test_first_rule_is_number_one() -> None:
    """Comments, blank lines and defaults are not numbered."""
    control.load_rules(
        "# one", "", SENTINEL_RULE, "default deny hook forward", "  ", "deny to ::1"
    )
    numbers = [(counter.number, counter.text) for counter in control.counters()]
    assert numbers == [
        ("1", SENTINEL_RULE),
        ("2", "deny to ::1"),
        ("default", "default deny hook forward"),
        ("default", "default allow"),
    ]
