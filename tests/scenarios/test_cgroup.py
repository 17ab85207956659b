# SPDX-License-Identifier: GPL-2.0
"""`cgroup`: processes in one network namespace, told apart by the control group of their sockets.

    ext                        host                                   web
    eth0 192.0.2.2   ---   ext0 192.0.2.1        br0 172.17.0.1  ---  eth0 172.17.0.2
         2001:db8:2::2          2001:db8:2::1        fd00:17::1           fd00:17::2

Proven, for both families and for TCP and UDP: what a process of the host sends, and what is sent
to a socket of it, listening, connected or just about to be, is known by its group and by those that
the group is in, at each hook that it passes; what is forwarded has none; fragments are decided by
the first one; a group that is removed stays what it was, and one that takes its path is another;
a path that leads nowhere is refused; sockets are looked up in the hook's namespace; the modules
that look sockets up are held as long as they are needed.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import cgroup, control, module, talk
from lib.background import Background, Stop, running
from lib.control import Status
from lib.netns import HOST
from lib.poll import PATIENCE, until
from lib.topology import ADDRESSES, Published
from lib.trace import Tracer

PORT, OTHER_PORT = 7000, 7001
# Docker's names have blanks as little as systemd's, but others may.
WEB, WORKER, DATABASE = "/ctrfw/web", "/ctrfw/web/worker 1", "/ctrfw/database"
NAMES = ("nf_socket_ipv4", "nf_socket_ipv6")


@pytest.fixture(scope="module")
def groups() -> Iterator[None]:
    """Some groups, two of them side by side and one within another."""
    for path in (WORKER, DATABASE):
        cgroup.make(path)
    yield
    control.load_rules()
    control.trace()
    cgroup.remove("/ctrfw")


@pytest.fixture(scope="module")
def net(groups: None) -> Iterator[Published]:
    """One network for all; no rule of anybody else is in it."""
    with Published(published=False) as network:
        yield network


def counted(*indices: int) -> list[int]:
    """What these statements have counted, from 0."""
    counters = control.counters()
    return [counters[index].packets for index in indices]


def until_more(index: int, before: int, what: str) -> None:
    """Waits until this statement has counted more than that."""
    until(lambda: counted(index)[0] > before, what)


def quoted(path: str) -> str:
    """A path as it stands in a rule."""
    return f'"{path}"' if " " in path else path


@contextlib.contextmanager
def datagrams(path: str, address: str, port: int = 0) -> Iterator[socket.socket]:
    """A UDP socket of the host that was made in a group."""
    with cgroup.inside(path):
        sock = HOST.udp(address, port)
    with sock:
        yield sock


@contextlib.contextmanager
def listener(path: str, address: str, port: int = PORT) -> Iterator[socket.socket]:
    """A TCP socket of the host that was made in a group and takes connections."""
    with cgroup.inside(path):
        opened = talk.listening(HOST, address, port)
        sock = opened.__enter__()
    try:
        yield sock
    finally:
        opened.__exit__(None, None, None)


def stream(path: str, address: str) -> socket.socket:
    """A TCP socket of the host that was made in a group."""
    with cgroup.inside(path):
        sock = HOST.make_socket(talk.family_of(address), socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    return sock


def converse(sock: socket.socket, peer: socket.socket) -> None:
    """A word each way."""
    sock.sendall(b"question")
    assert peer.recv(100) == b"question"
    peer.sendall(b"answer")
    assert sock.recv(100) == b"answer"


# The groups that a rule speaks of, and whether they have the sockets of these.
SPOKEN = {
    WEB: {WEB: True, WORKER: True, DATABASE: False},
    f"!{WEB}": {WEB: False, WORKER: False, DATABASE: True},
    f"{{ {DATABASE}, {quoted(WORKER)} }}": {WEB: False, WORKER: True, DATABASE: True},
    "/": {WEB: True, WORKER: True, DATABASE: True},
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", ["local_out", "post_routing"])
@pytest.mark.parametrize("words", SPOKEN)
def test_sending(net: Published, words: str, hook: str, version: int) -> None:
    """What a process sends, from the first packet on."""
    host, ext = ADDRESSES[version]["host"], ADDRESSES[version]["ext"]
    here = f"hook {hook} netns host"
    for path, included in SPOKEN[words].items():
        control.load_rules(
            f"deny cgroup {words} dport {OTHER_PORT} {here}",
            f"allow cgroup {words} dport {PORT} {here}",
            f"deny dport {PORT} {here}",
        )
        with (
            datagrams(path, host) as sock,
            net.ext.udp(ext, PORT) as peer,
            net.ext.udp(ext, OTHER_PORT) as other,
        ):
            for port, receiver in ((PORT, peer), (OTHER_PORT, other)):
                passes = included == (port == PORT)
                with contextlib.suppress(PermissionError):
                    sock.sendto(b"x", (ext, port))
                    assert passes
                if passes:
                    assert receiver.recv(10) == b"x"
        denied, allowed, rest = counted(0, 1, 2)
        assert (denied, allowed, rest) == ((1, 1, 0) if included else (0, 0, 1))

        with talk.listening(net.ext, ext, PORT) as taking, stream(path, host) as sock:
            if included:
                sock.connect((ext, PORT))
                peer, _ = taking.accept()
                with peer:
                    peer.settimeout(PATIENCE)
                    converse(sock, peer)
                # The end of the connection is the kernel's, who closes for the process.
                assert counted(1)[0] >= 5
                assert counted(2) == [0]
            else:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect((ext, PORT))
                until(lambda: counted(2)[0] > 1, "the connection is refused")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", ["pre_routing", "local_in"])
@pytest.mark.parametrize("words", SPOKEN)
def test_receiving(net: Published, words: str, hook: str, version: int) -> None:
    """What is sent to a process: to a datagram socket, to one that listens, to a connection."""
    host, ext = ADDRESSES[version]["host"], ADDRESSES[version]["ext"]
    wildcard = "0.0.0.0" if version == 4 else "::"
    here = f"proto {{ tcp, udp }} hook {hook} netns host"
    for path, included in SPOKEN[words].items():
        for bound in (host, wildcard):
            control.load_rules(f"allow cgroup {words} {here}", f"deny {here}")
            with datagrams(path, bound, PORT) as sock, net.ext.udp(ext, PORT) as peer:
                for connected in (False, True):
                    if connected:
                        sock.connect((ext, PORT))
                    before = counted(1)[0]
                    peer.sendto(b"x", (host, PORT))
                    if included:
                        assert sock.recv(10) == b"x"
                    else:
                        until_more(1, before, "the datagram is refused")
            with listener(path, bound) as taking:
                if not included:
                    before = counted(1)[0]
                    with talk.begin_tcp(net.ext, host, PORT):
                        until_more(1, before, "the SYN is refused")
                    continue
                assert counted(1) == [0]
                with net.ext.make_socket(
                    talk.family_of(ext), socket.SOCK_STREAM
                ) as sock:
                    sock.settimeout(PATIENCE)
                    sock.connect((host, PORT))
                    peer, _ = taking.accept()
                    peer.settimeout(PATIENCE)
                    converse(sock, peer)
                    # The server closes first: what is left of it knows no group any more.
                    peer.close()
                    assert sock.recv(10) == b""
                until(lambda: not clients(net, version), "the client's end is over")
                assert counted(1) == [0]


def clients(net: Published, version: int) -> list[str]:
    """The TCP sockets of ext, as /proc/net/tcp has them, that are connected to the server's port."""
    text = net.ext.read("tcp" if version == 4 else "tcp6")
    remote = f":{PORT:04X}"
    return [line for line in text.splitlines() if line.split()[2].endswith(remote)]


@pytest.mark.parametrize("version", [4, 6])
def test_connection_of_a_process(net: Published, version: int) -> None:
    """A process that asks, and gets its answers at both of the hooks that they pass."""
    host, ext = ADDRESSES[version]["host"], ADDRESSES[version]["ext"]
    hooks = ("pre_routing", "local_in")
    control.load_rules(
        *(f"allow cgroup {DATABASE} from {ext} hook {hook}" for hook in hooks),
        f"deny from {ext} proto {{ tcp, udp }} netns host",
    )
    with talk.listening(net.ext, ext, PORT) as taking, stream(DATABASE, host) as sock:
        sock.connect((ext, PORT))
        peer, _ = taking.accept()
        with peer:
            peer.settimeout(PATIENCE)
            converse(sock, peer)
    with datagrams(DATABASE, host) as sock, net.ext.udp(ext, PORT) as peer:
        sock.connect((ext, PORT))
        sock.send(b"question")
        data, source = peer.recvfrom(100)
        peer.sendto(data, source)
        assert sock.recv(100) == b"question"
    assert min(counted(0, 1)) >= 4
    assert counted(2) == [0]


@pytest.mark.parametrize("version", [4, 6])
def test_errors(net: Published, version: int) -> None:
    """An ICMP error is for the socket whose packet it is about."""
    host, ext = ADDRESSES[version]["host"], ADDRESSES[version]["ext"]
    here = f"icmp-type destination-unreachable from {ext} netns host"
    for hook in ("pre_routing", "local_in"):
        control.load_rules(
            f"audit cgroup {WEB} {here} hook {hook}",
            f"audit cgroup !{WEB} {here} hook {hook}",
        )
        for path in (WEB, DATABASE):
            with datagrams(path, host) as sock:
                sock.connect((ext, OTHER_PORT))
                sock.send(b"x")
                with pytest.raises(ConnectionRefusedError):
                    sock.recv(10)
        assert counted(0, 1) == [1, 1]


@pytest.mark.parametrize("version", [4, 6])
def test_without_a_socket(net: Published, version: int) -> None:
    """What no socket has matches neither the word nor its negation: what is forwarded, above all,
    also if somebody here listens at that port for all addresses."""
    host, ext, web = (ADDRESSES[version][name] for name in ("host", "ext", "web"))
    wildcard = "0.0.0.0" if version == 4 else "::"
    words = ("cgroup /", "cgroup !/", f"cgroup !{WEB}")
    control.load_rules(*(f"deny {word} netns host" for word in words))
    with datagrams(WEB, wildcard, PORT):
        talk.udp(net.ext, net.web, web, PORT)
    talk.ping(net.ext, web)
    talk.tcp(net.ext, net.web, web, PORT)
    assert counted(0, 1, 2) == [0, 0, 0]
    # Where nobody listens, the kernel itself answers.
    talk.ping(net.ext, host)
    with net.ext.udp(ext) as sock:
        sock.connect((host, OTHER_PORT))
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(10)
    with net.ext.make_socket(talk.family_of(ext), socket.SOCK_STREAM) as sock:
        with pytest.raises(ConnectionRefusedError):
            sock.connect((host, OTHER_PORT))
    assert counted(0, 1, 2) == [0, 0, 0]


@pytest.mark.parametrize("version", [4, 6])
def test_fragments(net: Published, version: int) -> None:
    """Later fragments do not show what socket they are for: the first one decides."""
    host, ext = ADDRESSES[version]["host"], ADDRESSES[version]["ext"]
    large = bytes(4000)
    here = "proto udp hook pre_routing netns host"
    for path, table in {
        WEB: [f"allow cgroup {WEB} {here}", f"deny {here}"],
        DATABASE: [f"deny cgroup {WEB} {here}", f"deny cgroup !{DATABASE} {here}"],
    }.items():
        control.load_rules(*table)
        with datagrams(path, host, PORT) as sock, net.ext.udp(ext) as peer:
            peer.sendto(large, (host, PORT))
            assert sock.recv(5000) == large
    with datagrams(WEB, host, PORT) as sock, net.ext.udp(ext) as peer:
        peer.sendto(large, (host, PORT))
        until(lambda: counted(0) == [1], "the first fragment is refused")
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(5000)


@pytest.mark.parametrize("version", [4, 6])
def test_multipath_tcp(net: Published, version: int) -> None:
    """The sockets that the kernel makes for a process's connections are the process's."""
    host, ext = ADDRESSES[version]["host"], ADDRESSES[version]["ext"]
    family = talk.family_of(host)
    with cgroup.inside(WEB):
        try:
            sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        except OSError as error:
            assert error.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT)
            pytest.skip("no MPTCP in this kernel")
    words = f"cgroup {WEB} netns host"
    control.load_rules(
        f"allow {words} hook local_out",
        f"allow {words} hook local_in",
        "deny proto tcp hook local_out,local_in netns host",
    )
    with sock, talk.listening(net.ext, ext, PORT) as taking:
        sock.settimeout(PATIENCE)
        sock.connect((ext, PORT))
        peer, _ = taking.accept()
        with peer:
            peer.settimeout(PATIENCE)
            converse(sock, peer)
    assert min(counted(0, 1)) >= 3
    assert counted(2) == [0]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_over_loopback(net: Published, address: str) -> None:
    """Two processes of the host: the sender's hooks have its group, the receiver's the other."""
    port = f"dport {PORT} proto udp netns host"
    control.load_rules(
        *(
            f"allow cgroup {WEB} {port} hook {hook}"
            for hook in ("local_out", "post_routing")
        ),
        *(
            f"allow cgroup {DATABASE} {port} hook {hook}"
            for hook in ("pre_routing", "local_in")
        ),
        f"deny {port}",
    )
    with datagrams(WEB, address) as sock, datagrams(DATABASE, address, PORT) as peer:
        sock.sendto(b"x", (address, PORT))
        assert peer.recv(10) == b"x"
    assert counted(0, 1, 2, 3, 4) == [1, 1, 1, 1, 0]


def test_namespaces(net: Published) -> None:
    """Each hook has the sockets of its own namespace: a container's socket is not the host's."""
    web = ADDRESSES[4]["web"]
    with cgroup.inside(WEB):
        sock = net.web.udp(web, PORT)
    with sock, datagrams(DATABASE, "0.0.0.0", PORT):
        control.load_rules(
            f"audit cgroup {WEB} netns host",
            f"audit cgroup {DATABASE} netns host",
            f"audit cgroup {WEB} netns {net.web.inode}",
            f"audit cgroup {DATABASE} netns {net.web.inode}",
        )
        with net.ext.udp() as peer:
            peer.sendto(b"x", (web, PORT))
            _, source = sock.recvfrom(10)
            sock.sendto(b"y", source)
            assert peer.recv(10) == b"y"
        assert counted(0, 1, 2, 3) == [0, 0, 4, 0]


def test_removed(net: Published) -> None:
    """A group that is removed keeps its sockets; one that takes its path is another one."""
    path = "/ctrfw/passing"
    ext = ADDRESSES[4]["ext"]
    rule = f"deny dport {PORT} cgroup {path} hook local_out netns host"
    cgroup.make(path)
    with datagrams(path, "192.0.2.1") as old, net.ext.udp(ext, PORT) as peer:
        control.load_rules(rule)
        for step in (
            lambda: None,
            lambda: cgroup.remove(path),
            lambda: cgroup.make(path),
        ):
            step()
            with pytest.raises(PermissionError):
                old.sendto(b"x", (ext, PORT))
        with datagrams(path, "192.0.2.1") as new:
            new.sendto(b"x", (ext, PORT))
            assert peer.recv(10) == b"x"
            # The table reads as it did, and means the new one when it is written again.
            assert control.rules() == [rule]
            control.write(control.RULES, control.RULES.read_bytes())
            with pytest.raises(PermissionError):
                new.sendto(b"x", (ext, PORT))
            old.sendto(b"y", (ext, PORT))
            assert peer.recv(10) == b"y"
    cgroup.remove(path)
    # What is in force can be added to, though its path leads nowhere any more.
    control.load_rules("deny dport 1", append=True)
    assert control.rules() == [rule, "deny dport 1"]
    control.write(control.RULES, "delete 2\n", append=True)
    assert control.rules() == [rule]
    assert refused("deny dport 1", rule) == f'rules line 2: there is no cgroup "{path}"'


def refused(*lines: str) -> str:
    """What the status file says of a table that a path in it keeps from being taken."""
    before = control.rules(), Status.read().generation
    text = "".join(f"{line}\n" for line in lines)
    fd = os.open(control.RULES, os.O_WRONLY | os.O_TRUNC)
    try:
        # It is write(2) that fails.
        with pytest.raises(FileNotFoundError):
            os.write(fd, text.encode())
    finally:
        os.close(fd)
    status = Status.read()
    assert (control.rules(), status.generation) == before
    return status.last_error


def test_not_found(groups: None, tracer: Tracer) -> None:
    """A path that leads nowhere, or to something else, is refused where it stands."""
    control.load_rules("deny dport 1")
    nowhere = "/ctrfw/nowhere"
    told = f'rules line 2: there is no cgroup "{nowhere}"'
    assert (
        refused("deny dport 2", f"deny cgroup {{ {WEB}, {nowhere} }}", "deny") == told
    )
    assert "there is no cgroup" in refused(f"allow cgroup {WEB}/cgroup.procs")
    with pytest.raises(FileNotFoundError):
        control.write(control.RULES, f"replace 1 deny cgroup {nowhere}\n", append=True)
    assert control.rules() == ["deny dport 1"]
    control.trace("dport 2")
    with pytest.raises(FileNotFoundError):
        control.trace(f"cgroup {nowhere}")
    assert Status.read().last_error == f'trace line 1: there is no cgroup "{nowhere}"'
    assert control.TRACE.read_text() == "dport 2\n"


def test_deep(groups: None) -> None:
    """Sixteen levels are told apart; what is below the last of them belongs to it."""
    path = "/ctrfw" + "/x" * 15
    cgroup.make(f"{path}/y/z")
    try:
        control.load_rules(
            f"audit cgroup {path} dport {PORT} hook local_out",
            f"audit cgroup !{path} dport {PORT} hook local_out",
        )
        assert f" cgroup {path} " in control.rules()[0]
        with datagrams(f"{path}/y/z", "127.0.0.1") as sock:
            sock.sendto(b"x", ("127.0.0.1", PORT))
        assert counted(0, 1) == [1, 0]
    finally:
        control.load_rules()
        cgroup.remove("/ctrfw/x")


def test_namespaces_of_groups(groups: None) -> None:
    """Paths are seen from the cgroup namespace of who writes them; so one may be too deep."""
    root = "/ctrfw" + "/x" * 15
    cgroup.make(f"{root}/y")

    def work(stop: Stop) -> int:
        with cgroup.inside(root):
            os.unshare(os.CLONE_NEWCGROUP)
        control.load_rules(f"audit dport {PORT} cgroup / hook local_out")
        try:
            control.load_rules("deny cgroup /y")
        except OSError as error:
            return error.errno
        return 0

    try:
        assert Background(work).result() == errno.EOPNOTSUPP
        assert (
            Status.read().last_error
            == "rules line 1: a cgroup is more than 16 levels below the root"
        )
        for path in (WEB, f"{root}/y"):
            with datagrams(path, "127.0.0.1") as sock:
                sock.sendto(b"x", ("127.0.0.1", PORT))
        assert counted(0) == [1]
    finally:
        control.load_rules()
        cgroup.remove("/ctrfw/x")


def test_trace(net: Published, tracer: Tracer) -> None:
    """The trace takes the word, too, with nothing in the table."""
    host, ext = ADDRESSES[4]["host"], ADDRESSES[4]["ext"]
    control.trace(f"cgroup {WEB}")
    assert control.TRACE.read_text() == f"cgroup {WEB}\n"
    control.trace(f"cgroup {WEB}", f"cgroup {quoted(WORKER)} dport {PORT}")
    for path in (WEB, DATABASE):
        with datagrams(path, host, PORT) as sock, net.ext.udp(ext, PORT) as peer:
            sock.sendto(b"x", (ext, PORT))
            assert peer.recv(10) == b"x"
            peer.sendto(b"y", (host, PORT))
            assert sock.recv(10) == b"y"
    lines = [(line.src, line.hook) for line in tracer.lines() if line.host]
    assert lines == [
        (host, "LOCAL_OUT"),
        (host, "POST_ROUTING"),
        (ext, "PRE_ROUTING"),
        (ext, "LOCAL_IN"),
    ]


def references(name: str) -> int:
    """How many hold a module, -1 if it is not loaded."""
    for line in Path("/proc/modules").read_text().splitlines():
        found, _, count, *_ = line.split()
        if found == name:
            return int(count)
    return -1


def test_modules_are_held_and_released(groups: None) -> None:
    """Sockets are looked up by modules of the kernel, loaded and held while it is asked for."""
    rule = f"deny cgroup {WEB} dport 1"
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            module.remove(name)
    # What a process sends shows its socket.
    control.load_rules(f"{rule} hook local_out", f"{rule} hook post_routing,forward")
    assert [references(name) for name in NAMES] == [-1, -1]
    for last in (control.load_rules, module.unload):
        for _ in range(3):
            control.load_rules(f"{rule} hook local_in")
            control.load_rules("deny dport 2", append=True)
            control.load_rules(f"insert 1 {rule}", append=True)
            with pytest.raises(OSError):
                control.load_rules(rule, "deny dport x")
        assert [references(name) for name in NAMES] == [1, 1]
        control.load_rules(f"{rule} hook local_out")
        assert [references(name) for name in NAMES] == [0, 0]
        control.trace(f"cgroup {WEB}")
        assert [references(name) for name in NAMES] == [1, 1]
        control.trace()
        assert [references(name) for name in NAMES] == [0, 0]
        control.load_rules(rule)
        last()
        assert [references(name) for name in NAMES] == [0, 0]
    module.ensure()


def test_refused_without_the_modules(groups: None, no_modprobe: None) -> None:
    """Where packets that come in cannot be looked up, rules that ask for that are refused."""
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            module.remove(name)
    with pytest.raises(OSError) as caught:
        control.load_rules("deny dport 2", f"deny cgroup {WEB}")
    assert caught.value.errno == errno.EOPNOTSUPP
    assert Status.read().last_error.startswith(
        "rules line 2: cgroup at pre_routing and local_in needs the kernel's modules"
    )
    control.load_rules(f"deny cgroup {WEB} hook local_out")


def test_tables_and_groups_come_and_go(net: Published) -> None:
    """Under traffic from and to sockets in groups that do not last."""
    host, ext = ADDRESSES[4]["host"], ADDRESSES[4]["ext"]

    def traffic(stop: Stop) -> int:
        with net.ext.udp(ext, PORT) as peer:
            peer.setblocking(False)
            while not stop:
                with HOST.udp(host, PORT) as sock, talk.begin_tcp(net.ext, host, PORT):
                    for sender, target in ((sock, ext), (peer, host)):
                        with contextlib.suppress(OSError):
                            sender.sendto(b"x", (target, PORT))
                stop.progress += 1
        return stop.progress

    path = "/ctrfw/short"
    with running(traffic) as sending:
        until(lambda: sending.stop_flag.progress, "packets flow")
        for number in range(40):
            cgroup.make(f"{path}/{number}")
            with cgroup.inside(f"{path}/{number}", sending.pid):
                control.load_rules(
                    f"allow cgroup {path}",
                    f"deny cgroup {path}/{number} dport {PORT}",
                    "deny cgroup !/ hook local_in",
                )
                before = sending.stop_flag.progress
                until(lambda: sending.stop_flag.progress > before, "more flows")  # noqa: B023
            cgroup.remove(f"{path}/{number}")
            if number % 3 == 0:
                control.load_rules()
        sending.finish()
    control.load_rules()
    cgroup.remove(path)
    assert [references(name) for name in NAMES] == [0, 0]
