# SPDX-License-Identifier: GPL-2.0
"""Real connections, and what the policy has to make of each."""

import subprocess
import time
import urllib.parse
from dataclasses import dataclass

import ctrfw_paths

ANSWERED, SILENT = "answered", "no answer"
# Seconds to wait for what is to stay unanswered, and for the rest.
SHORT, LONG = 2, 30


@dataclass(frozen=True)
class Connection:
    place: str
    url: str
    page: str
    expected: str
    about: str

    @property
    def refused(self):
        return self.expected != ANSWERED

    @property
    def target(self):
        """Where the request goes, as the trace prints it."""
        parts = urllib.parse.urlsplit(self.url)
        return ctrfw_paths.Endpoint(parts.hostname, parts.port or 80)


def read(text):
    for line in text.strip().splitlines():
        words, _, about = line.partition("#")
        place, url, page, verdict, *where = words.split()
        if verdict == "refused":
            namespace, hook, rule = where
            expected = f"{SILENT}, rule {rule} in {namespace} at {hook}"
        else:
            expected = ANSWERED
        yield Connection(place, url, page, expected, about.strip())


# From, to, whose page it is; where policy.rules refuses it, and by which rule.
TABLE = list(
    read("""
host    http://127.0.0.1:9000/        host  allowed                     # its own admin page
ext     http://[2001:db8:8::1]:9000/  host  refused host   LOCAL_IN 2   # the same from outside, IPv6
client  http://172.17.0.1:9000/       host  refused host   LOCAL_IN 2   # the same from a container
ext     http://203.0.113.1:8081/      web   allowed                     # the published port
ext     http://[2001:db8:8::1]:8081/  web   allowed                     # the same by IPv6
lan     http://192.168.50.1:8081/     web   refused host PRE_ROUTING 4  # the same from the LAN
client  http://203.0.113.1:8081/      web   refused host PRE_ROUTING 4  # the same from a neighbour
client  http://172.17.0.2:8080/       web   refused client LOCAL_OUT 7  # a neighbour container
host    http://172.17.0.2:8080/       web   allowed                     # the host itself
web     http://203.0.113.2/           ext   refused web LOCAL_OUT 10    # a server that calls home
client  http://203.0.113.2/           ext   allowed                     # a container to the internet
client  http://192.168.50.2/          lan   refused host FORWARD 11     # a container to the LAN
""")
)


def try_all(table, places, short=SHORT, idle=lambda: None):
    """Makes all connections at once: {connection: ANSWERED, SILENT or what else}.

    short: seconds to wait for an answer where the policy refuses the connection;
    idle is called again and again meanwhile.
    """
    running = {
        c: start(c, places[c.place], short if c.refused else LONG) for c in table
    }
    while any(process.poll() is None for process in running.values()):
        idle()
        time.sleep(0.1)
    return {c: result(c, process) for c, process in running.items()}


def start(connection, place, seconds):
    # Under emulation busybox, a static program, starts much faster than curl.
    words = place.command("busybox", "wget", "-qO-", "-T", str(seconds), connection.url)
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def result(connection, process):
    output = process.communicate()[0].strip()
    # Nobody answers, and nobody says no either.
    if process.returncode and output == "wget: download timed out":
        return SILENT
    if process.returncode == 0 and output == f"hello from {connection.page}":
        return ANSWERED
    return f"wget: exit {process.returncode} {output}"
