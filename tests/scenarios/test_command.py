# SPDX-License-Identifier: GPL-2.0
"""The command ctrfw against the module: what it loads and what it tells is what is in force."""

import json
import os
import subprocess
from pathlib import Path

from lib import control
from lib.netns import HOST, created

COMMAND = Path(__file__).parent.parent.parent / "build" / "ctrfw"


def ctrfw(*args: str, text: str = "") -> tuple[int, str, str]:
    """Runs the command; its exit code, output and complaints."""
    done = subprocess.run(
        [COMMAND, *args], input=text.encode(), capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_load_and_list() -> None:
    """A table goes in, and comes back numbered; more can be added."""
    assert ctrfw("load", "-", text="deny dport 80 proto 6\ndefault deny netns 1") == (
        0,
        "",
        "",
    )
    assert control.rules() == ["deny proto tcp dport 80", "default deny netns 1"]
    assert ctrfw("load", "--append", "-", text="allow in lo\n")[0] == 0
    code, out, _ = ctrfw("list")
    assert code == 0
    assert out.splitlines() == [
        "    1 deny proto tcp dport 80",
        "    2 allow in lo",
        "      default deny netns 1",
    ]
    table = "\n".join(control.rules())
    assert ctrfw("diff", "-", text=table)[0] == 0
    code, out, _ = ctrfw("diff", "-", text="allow in lo")
    assert code == 1
    assert "-deny proto tcp dport 80" in out.splitlines()


def test_an_empty_table() -> None:
    """No statement at all is a table, too."""
    control.load_rules("deny from 192.0.2.1")
    assert ctrfw("load", "-")[0] == 0
    assert control.rules() == []


def test_refused_file() -> None:
    """A bad file changes nothing, and the message has its place."""
    control.load_rules("deny from 192.0.2.1")
    generation = control.Status.read().generation
    code, out, err = ctrfw("load", "-", text="allow\ndeny from 10.0.0.300\n")
    assert (code, out) == (1, "")
    assert '<stdin>:2:11: error: got "10.0.0.300"' in err
    assert control.rules() == ["deny from 192.0.2.1"]
    assert control.Status.read().generation == generation


def test_refused_by_the_module() -> None:
    """What only the module can know is told in its own words."""
    control.load_rules("deny from 192.0.2.1")
    text = "".join(f"default deny netns {number}\n" for number in range(300))
    code, _, err = ctrfw("load", "-", text=text)
    assert code == 1
    assert "more than 256 defaults" in err
    assert control.rules() == ["deny from 192.0.2.1"]


def test_counters_and_status() -> None:
    """Figures as JSON."""
    control.load_rules("deny from 192.0.2.1", "deny from 192.0.2.2")
    code, out, _ = ctrfw("counters", "--zero-hits", "--json")
    assert code == 0
    rules = [counter["rule"] for counter in json.loads(out)["counters"]]
    assert rules[:2] == [1, 2]
    code, out, _ = ctrfw("status", "--json")
    status = json.loads(out)
    assert (code, status["rules"], status["last_error"]) == (0, 2, None)
    assert set(status["hooks"]) == set(control.HOOKS)


def test_counters_begin_anew() -> None:
    """What is printed is what is taken off."""
    control.load_rules("allow proto udp dport 7 hook local_out netns host")
    with HOST.udp() as sock:
        for _ in range(3):
            sock.sendto(b"x", ("127.0.0.1", 7))
    for expected in (3, 0):
        code, out, err = ctrfw("counters", "--reset", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["counters"][0]["packets"] == expected


def test_condition() -> None:
    """A table that is meant for another one than that in force is refused in the module's words."""
    control.load_rules("deny from 192.0.2.1")
    generation = control.Status.read().generation
    text = f"if generation {generation}\nallow\n"
    assert ctrfw("check", "-", text=text) == (0, "", "")
    assert ctrfw("load", "-", text=text) == (0, "", "")
    code, _, err = ctrfw("load", "-", text=text)
    assert code == 1
    assert f"the table in force is generation {generation + 1}, not {generation}" in err
    assert control.rules() == ["allow"]


def test_whole_language() -> None:
    """Sets over lines, lists, negations and all verbs go in and come back as the module has them."""
    text = """set wan {
\teth0,
\tppp*
}
allow in lo
audit in !@wan dport { 80, 443 } log "web" every 1m
queue 7 bypass netns host dport 8080 proto tcp
reject proto tcp dport 25 comment "no mail"
default allow log
"""
    try:
        assert ctrfw("load", "-", text=text) == (0, "", "")
        assert control.rules() == [
            "set wan { eth0, ppp* }",
            "allow in lo",
            'audit dport { 80, 443 } in !@wan log "web" every 1m',
            "queue 7 bypass proto tcp dport 8080 netns host",
            'reject proto tcp dport 25 comment "no mail"',
            "default allow log",
        ]
        assert ctrfw("diff", "-", text=text) == (0, "", "")
        code, out, _ = ctrfw("list")
        assert (code, out.splitlines()[0]) == (0, "      set wan { eth0, ppp* }")
        assert "    4 reject proto tcp dport 25" in out
        code, out, _ = ctrfw("list", "--counters")
        assert 'comment "no mail"' in out
        # What is added may use the sets, and edit the rules, of the table in force.
        edit = 'deny in @wan mark 7\ndelete comment "no mail"\nmode audit\n'
        code, out, err = ctrfw("load", "--append", "-", text=edit)
        assert (code, out) == (0, "")
        assert "NOTHING IS ENFORCED" in err
        assert control.rules()[0] == "mode audit"
        assert "deny in @wan mark 0x7" in control.rules()
        code, out, _ = ctrfw("status", "--json")
        status = json.loads(out)
        assert (code, status["mode"]) == (0, "audit")
        assert "NOTHING IS ENFORCED" in status["warning"]
        assert set(status["events"]) == {"lost", "memory"}
        assert set(status["log"]) == {"printed", "left_out", "untold"}
        assert "would_drop" in status["hooks"]["forward"]
    finally:
        control.load_rules("deny from 192.0.2.1")


def test_error_in_a_set() -> None:
    """A bad member over several lines: the first error is the module's, and nothing changes."""
    control.load_rules("deny from 192.0.2.1")
    text = "set a {\n\t10.0.0.1,\n\t10.0.0.300,\n}\ndeny from @a\nbogus\n"
    code, out, err = ctrfw("load", "-", text=text)
    assert (code, out) == (1, "")
    assert '<stdin>:3:2: error: got "10.0.0.300"' in err
    assert "<stdin>:6:1: error" in err
    assert err.count("error:") == 2
    assert control.rules() == ["deny from 192.0.2.1"]


def test_packet() -> None:
    """Who would decide, by the table in force."""
    control.load_rules("deny proto udp hook forward")
    packet = "from 10.0.0.1 to 10.0.0.2 proto udp sport 1 dport 2 in a out b"
    code, out, _ = ctrfw("test", packet, "--json")
    assert code == 0
    verdicts = {hook["hook"]: hook["verdict"] for hook in json.loads(out)["hooks"]}
    assert verdicts == dict.fromkeys(control.HOOKS, "allow") | {"forward": "deny"}


def test_container() -> None:
    """Who may not is told why."""
    control.load_rules("deny from 192.0.2.1")
    with created("other") as (other,), other:
        for args in (["list"], ["load", os.devnull], ["status"]):
            code, out, err = ctrfw(*args)
            assert (code, out) == (2, "")
            assert "no container has" in err
    assert control.rules() == ["deny from 192.0.2.1"]
