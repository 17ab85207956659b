// SPDX-License-Identifier: GPL-2.0

//! `origdst` and `origdport`: where the first packet of a packet's connection was sent to.

mod common;

use std::net::IpAddr;

use common::packet::{on_host, ported};
use common::text::{append, policy};
use ctrfw_core::flow::{Connection, Flow, Origin, State};
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::{Hook, HookSet};
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Reason, Transport};
use ctrfw_core::proto::Protocol;
use ctrfw_core::rule::Verb;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const SOURCE: u16 = 40000;
const DEST: u16 = 8080;
const PUBLISHED: u16 = 8081;

/// A datagram to the port of a container.
fn udp() -> Headers {
    let (from, to) = (("192.0.2.2", SOURCE), ("172.17.0.2", DEST));
    ported(Protocol::UDP, from, to)
}

fn of(proto: Protocol, transport: Transport) -> Headers {
    Headers {
        proto: Some(proto),
        transport,
        ..udp()
    }
}

fn later(proto: Protocol) -> Headers {
    Headers {
        fragment: Fragment::Later(1480),
        ..of(proto, Transport::LaterFragment)
    }
}

fn error() -> Headers {
    of(Protocol::ICMP, Transport::Icmp { kind: 3, code: 3 })
}

/// A connection to a published port.
fn connection(state: State) -> Connection {
    Connection {
        state,
        reply: false,
        over: false,
        to: ip("203.0.113.1"),
        port: Some(PUBLISHED),
    }
}

fn published(state: State) -> Flow {
    Flow::Known(state, Some(connection(state)))
}

fn packet(flow: Flow, headers: Headers) -> Packet {
    Packet {
        flow,
        ..on_host(Hook::Forward, headers)
    }
}

/// Whether an `allow` rule and a `deny` rule of these words match.
fn matches(words: &str, flow: Flow, headers: Headers) -> (bool, bool) {
    let packet = packet(flow, headers);
    let verb = |text: String| policy(&text).decide(&packet, |_| {}).verb;
    (
        verb(format!("allow {words}\ndeny\n")) == Verb::Allow,
        verb(format!("deny {words}\n")) == Verb::Deny,
    )
}

const YES: (bool, bool) = (true, true);
const NO: (bool, bool) = (false, false);
/// As what is in another fragment
const FRAGMENT: (bool, bool) = (true, false);
/// As what cannot be read
const UNKNOWN: (bool, bool) = (false, true);

#[test]
fn of_a_known_connection() {
    for state in [State::New, State::Established, State::Related] {
        for reply in [false, true] {
            let flow = Flow::Known(
                state,
                Some(Connection {
                    reply,
                    ..connection(state)
                }),
            );
            for headers in [udp(), error()] {
                for (words, expected) in [
                    ("origdst 203.0.113.0/24", YES),
                    ("origdst !203.0.113.0/24", NO),
                    ("origdst 172.17.0.2", NO),
                    ("origdst !{ 172.17.0.2, ::/0 }", YES),
                    ("origdport 8081", YES),
                    ("origdport !8000-8999", NO),
                    ("origdport { 1, 8080 }", NO),
                    ("origdport !8080 origdst 203.0.113.1", YES),
                    ("origdport 8081 origdst 203.0.113.2", NO),
                ] {
                    assert_eq!(matches(words, flow, headers), expected, "{words}");
                }
            }
        }
    }
}

/// What is in no connection is its own first packet.
#[test]
fn of_a_packet_that_nobody_translates() {
    for state in [State::New, State::Untracked] {
        let flow = Flow::Known(state, None);
        for (words, expected) in [
            ("origdst 172.17.0.2", YES),
            ("origdst !172.17.0.2", NO),
            ("origdport 8080", YES),
            ("origdport !8080", NO),
            ("origdport 40000", NO),
        ] {
            assert_eq!(matches(words, flow, udp()), expected, "{words}");
        }
    }
    // A fragment that somebody keeps from being put together
    let flow = Flow::Known(State::Untracked, None);
    assert_eq!(
        matches("origdst 172.17.0.2", flow, later(Protocol::UDP)),
        YES
    );
    assert_eq!(
        matches("origdport !1", flow, later(Protocol::UDP)),
        FRAGMENT
    );
}

#[test]
fn of_what_nobody_can_tell() {
    let broken = Headers {
        unparsed: Some(Reason::ShortTransport),
        ..of(Protocol::UDP, Transport::Unreadable)
    };
    for (flow, headers) in [
        (Flow::Unasked, udp()),
        (Flow::Known(State::Invalid, None), udp()),
        (Flow::Known(State::Invalid, None), error()),
        (Flow::Known(State::Invalid, None), broken),
    ] {
        for words in ["origdst 172.17.0.2", "origdst !172.17.0.2"] {
            assert_eq!(matches(words, flow, headers), UNKNOWN, "{flow:?}");
        }
        for words in ["origdport 8080", "origdport !8080"] {
            assert_eq!(matches(words, flow, headers), UNKNOWN, "{flow:?}");
        }
    }
    let fragment = later(Protocol::UDP);
    for words in ["origdst 1.1.1.1", "origdst !1.1.1.1", "origdport 1"] {
        assert_eq!(matches(words, Flow::Fragment, fragment), FRAGMENT);
    }
}

#[test]
fn ports_of_other_protocols() {
    let esp = Protocol(50);
    let unknown = Connection {
        port: None,
        ..connection(State::Established)
    };
    for words in ["origdport 1", "origdport !1"] {
        // Nothing that has none has one, whatever else is known.
        for flow in [
            Flow::Known(State::Established, Some(unknown)),
            Flow::Known(State::New, None),
            Flow::Known(State::Invalid, None),
            Flow::Unasked,
        ] {
            assert_eq!(matches(words, flow, of(esp, Transport::Other)), NO);
        }
        assert_eq!(matches(words, Flow::Fragment, later(esp)), NO);
        let echo = of(Protocol::ICMP, Transport::Icmp { kind: 8, code: 0 });
        assert_eq!(matches(words, Flow::Known(State::New, None), echo), NO);
        // An error about a connection without
        let about = Flow::Known(State::Related, Some(unknown));
        assert_eq!(matches(words, about, error()), NO);
    }
    // Those that connection tracking does not know are the packet's own, by its direction.
    for (reply, own) in [(false, DEST), (true, SOURCE)] {
        let flow = Flow::Known(State::Established, Some(Connection { reply, ..unknown }));
        let headers = of(Protocol::UDPLITE, udp().transport);
        let expected = Origin::Known(ip("203.0.113.1"), Some(own));
        assert_eq!(Origin::of(flow, &headers), expected);
    }
}

#[test]
fn with_sets() {
    let text = "set a { 203.0.113.1, ::1 }\nset p { 1, 8081 }\n\
                deny origdst @a origdport !@p\nallow origdport @p\ndeny\n";
    let table = policy(text);
    let decided = table.decide(&packet(published(State::New), udp()), |_| {});
    assert_eq!(decided.verb, Verb::Allow);
    // Put behind another policy, whose set it is
    let base = policy("set q { 8081 }\nallow dport 1\n");
    let both = append(&base, "deny origdport @q\n").unwrap();
    let decided = both.decide(&packet(published(State::New), udp()), |_| {});
    assert_eq!(decided.verb, Verb::Deny);
    assert_eq!(both.needs().flows, HookSet::all());
}

/// They need connection tracking as `state` does: at their hooks, in their namespaces.
#[test]
fn needs() {
    let text = "allow origdst 10.0.0.1 hook forward netns host\nallow origdport 1 hook local_in \
                netns 7\ndeny to 10.0.0.1 dport 1\n";
    let table = policy(text);
    let flows = table.needs().flows;
    assert_eq!(flows, HookSet::of(Hook::Forward).with(Hook::LocalIn));
    let scope = table.flow_scope();
    let contains = |inode, host| scope.contains(NetnsId { inode, host });
    assert!(contains(1, true) && contains(7, false) && !contains(8, false));
}
