# SPDX-License-Identifier: GPL-2.0
"""Named sets as files see them: read back, added to, and limits.

What they mean to packets is tested in test_match.py.
"""

import errno
import os

import pytest

from lib import control
from lib.control import RULES, Status

PORTS = [str(port) for port in range(1, 10)]


def refused(number: int, *lines: str, append: bool = False) -> str:
    """What the status file says of a text that fails with this errno and changes nothing."""
    before = RULES.read_text(), Status.read().generation
    with pytest.raises(OSError) as caught:
        control.load_rules(*lines, append=append)
    assert caught.value.errno == number
    status = Status.read()
    assert (RULES.read_text(), status.generation) == before
    return status.last_error


def test_read_back() -> None:
    """Sets come first, in their order, a long one in lines; what is read loads back to itself."""
    control.load_rules(
        "set web { 80 ,8000-8999, }",
        f"set many {{ {','.join(PORTS)} }}",
        'set lan { "80", eth0 }',
        "set empty {}",
        "deny to !10.0.0.0/8 dport @web",
        "default deny",
    )
    expected = [
        "set web { 80, 8000-8999 }",
        "set many {",
        *(f"\t{port}," for port in PORTS),
        "}",
        'set lan { "80", eth0 }',
        "set empty { }",
        "deny to !10.0.0.0/8 dport @web",
        "default deny",
    ]
    assert control.rules() == expected
    control.write(RULES, RULES.read_bytes())
    assert control.rules() == expected
    assert Status.read().rules == 1


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_in_pieces(size: int) -> None:
    """A set of a thousand members in writes of any size."""
    members = [f"10.{number // 256}.{number % 256}.1" for number in range(1000)]
    text = "set far {\n" + "".join(f"\t{member},\n" for member in members) + "}\n"
    text += "deny to @far\n"
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC)
    for start in range(0, len(text), size):
        os.write(fd, text[start : start + size].encode())
    os.close(fd)
    assert RULES.read_text() == text


def test_added() -> None:
    """What is added may use the sets that are there, and define others."""
    control.load_rules("set a { 10.0.0.1 }", "deny to @a")
    control.load_rules("set b { 80 }", "deny to @a dport @b", append=True)
    assert control.rules() == [
        "set a { 10.0.0.1 }",
        "set b { 80 }",
        "deny to @a",
        "deny to @a dport @b",
    ]
    said = refused(errno.EINVAL, "set a { 10.0.0.2 }", append=True)
    assert said.startswith('rules line 1 column 5: got "a", expected a name')
    said = refused(errno.EINVAL, "deny dport @a", append=True)
    assert said.startswith('rules line 1 column 12: got "@a", expected the name')


def test_gone_meanwhile() -> None:
    """The set that a text uses goes while the text is written: nothing changes."""
    control.load_rules("set a { 10.0.0.1 }")
    fd = os.open(RULES, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"deny to @a\n")
    control.load_rules("deny to 10.0.0.9")
    os.close(fd)
    assert control.rules() == ["deny to 10.0.0.9"]
    assert Status.read().last_error == "rules there is no set a any more"
    # And where it is another one by then, that one is meant.
    control.load_rules("set a { 10.0.0.1 }")
    fd = os.open(RULES, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"deny to @a\n")
    control.load_rules("set z { 1 }", "set a { 10.0.0.7 }")
    os.close(fd)
    expected = ["set z { 1 }", "set a { 10.0.0.7 }", "deny to @a"]
    assert control.rules() == expected


def test_not_closed() -> None:
    """A text that ends within a set is found wrong on close, which cannot say so."""
    control.load_rules("deny to 10.0.0.9")
    control.write(RULES, "set a {\n10.0.0.1,\n")
    assert control.rules() == ["deny to 10.0.0.9"]
    said = "rules line 3 column 1: got the end of the line, expected a comma or }"
    assert Status.read().last_error == said


@pytest.mark.parameters(max_values=10, max_sets=3)
def test_limits() -> None:
    """More values or sets than the module's parameters allow are refused whole."""
    control.load_rules(f"set a {{ {','.join(PORTS)} }}", "deny dport 10")
    said = refused(errno.ENOSPC, "deny dport 11", append=True)
    assert said == "rules line 1: more than 10 values"
    control.load_rules("deny dport 1,2,3,4,5,6,7,8,9,10")
    said = refused(errno.ENOSPC, "deny dport 1,2,3,4,5,6,7,8,9,10,11")
    assert said == "rules line 1: more than 10 values"
    control.load_rules("set a { }", "set b { }", "set c { }")
    said = refused(errno.ENOSPC, "set d { }", append=True)
    assert said == "rules line 1: more than 3 sets"


@pytest.mark.parameters(max_bytes=20000)
def test_most_bytes() -> None:
    """A table that would take more memory than it may is refused at the line that is too much."""
    comment = f'comment "{"x" * 128}"'
    small = [f"deny dport {port} {comment}" for port in range(1, 51)]
    control.load_rules(*small)
    before = Status.read()
    large = [f"deny dport {port} {comment}" for port in range(1, 501)]
    said = refused(errno.ENOSPC, *large)
    line = int(said.split()[2].rstrip(":"))
    assert said == f"rules line {line}: more than 20000 bytes of memory"
    assert 50 < line < 150
    said = refused(errno.ENOSPC, *large, append=True)
    assert said.endswith("more than 20000 bytes of memory")
    members = ",".join(str(port) for port in range(1, 201))
    lines = [f"set s{number} {{ {members} }}" for number in range(50)]
    assert refused(errno.ENOSPC, *lines).endswith("more than 20000 bytes of memory")
    # What is taken away is not counted.
    control.load_rules(*["delete 1"] * 50, *small, append=True)
    # But for how they are found: none of these is what was there before.
    assert Status.read().memory <= before.memory * 1.2


def test_no_sets_in_the_trace() -> None:
    """A trace expression has no sets to name."""
    control.load_rules("set a { 10.0.0.1 }")
    with pytest.raises(OSError):
        control.trace("to @a")
    assert 'got "@a"' in Status.read().last_error
