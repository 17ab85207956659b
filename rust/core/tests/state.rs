// SPDX-License-Identifier: GPL-2.0

//! `state`: how it is written and read back, what it makes of packets, and what is known of them
//! before connection tracking has seen them.

mod common;

use common::packet::{on_host, ported, CONTAINER, HOST};
use common::text::{append, lines, policy};
use ctrfw_core::family::Family;
use ctrfw_core::flow::{Connection, Finding, Flow, Search, State};
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::{Hook, HookSet};
use ctrfw_core::memory::Heap;
use ctrfw_core::netns::{NetnsId, NetnsMatch, NetnsScope};
use ctrfw_core::packet::{Headers, Packet, Reason, TcpFlags, Transport};
use ctrfw_core::policy::Policy;
use ctrfw_core::proto::Protocol;
use ctrfw_core::rule::{Decider, Verb};

fn load(text: &str) -> Result<Policy<Heap>, String> {
    common::text::load(text).map_err(|error| format!("{error:?}"))
}

fn tcp(flags: u8) -> Headers {
    Headers {
        transport: Transport::Ports {
            source: 40000,
            dest: 80,
            flags: Some(TcpFlags(flags)),
        },
        ..ported(Protocol::TCP, ("192.0.2.1", 40000), ("192.0.2.2", 80))
    }
}

fn udp() -> Headers {
    ported(Protocol::UDP, ("192.0.2.1", 40000), ("192.0.2.2", 80))
}

fn icmp(family: Family, kind: u8) -> Headers {
    Headers {
        proto: Some(match family {
            Family::Ipv4 => Protocol::ICMP,
            Family::Ipv6 => Protocol::ICMPV6,
        }),
        transport: Transport::Icmp { kind, code: 0 },
        ..tcp(0)
    }
}

fn later() -> Headers {
    Headers {
        transport: Transport::LaterFragment,
        fragment: Fragment::Later(1480),
        ..udp()
    }
}

fn broken() -> Headers {
    Headers {
        transport: Transport::Unreadable,
        unparsed: Some(Reason::ShortTransport),
        ..udp()
    }
}

fn packet(flow: Flow) -> Packet {
    Packet {
        flow,
        ..on_host(Hook::Forward, udp())
    }
}

fn decides(policy: &Policy<Heap>, packet: &Packet) -> Verb {
    policy.decide(packet, |_| {}).verb
}

const STATES: [State; 5] = [
    State::New,
    State::Established,
    State::Related,
    State::Invalid,
    State::Untracked,
];

fn connection(state: State) -> Connection {
    Connection {
        state,
        reply: false,
        over: false,
        to: "198.51.100.7".parse().unwrap(),
        port: Some(8080),
    }
}

#[test]
fn canonical() {
    for (text, canonical) in [
        ("allow state new", "allow state new"),
        (
            "allow state {related,established}",
            "allow state { established, related }",
        ),
        ("allow state new,invalid", "allow state { new, invalid }"),
        (
            "deny state !new",
            "deny state { established, related, invalid, untracked }",
        ),
        (
            "deny state ! { established, related, untracked }",
            "deny state { new, invalid }",
        ),
        (
            "allow state { new, established, related, invalid, untracked }",
            "allow",
        ),
        (
            "deny netns host hook forward state new fragment no to 10.0.0.1 proto tcp",
            "deny to 10.0.0.1 proto tcp fragment no state new hook forward netns host",
        ),
    ] {
        let policy = policy(&format!("{text}\n"));
        assert_eq!(lines(&policy), [canonical], "{text}");
        let again = self::policy(&format!("{canonical}\n"));
        assert_eq!(lines(&again), [canonical]);
    }
}

#[test]
fn refused() {
    for text in [
        "allow state",
        "allow state open",
        "allow state NEW",
        "allow state new established",
        "allow state new state new",
        "allow state { new",
        "allow state @set",
        "allow state ! { new, established, related, invalid, untracked }",
        "default deny state new",
    ] {
        assert!(load(&format!("{text}\n")).is_err(), "{text}");
    }
}

#[test]
fn each_state_is_itself_alone() {
    for wanted in STATES {
        for state in STATES {
            let shown = packet(Flow::Known(state, None));
            let positive = policy(&format!("deny state {wanted}\n"));
            let negative = policy(&format!("deny state ! {wanted}\n"));
            let denied = |policy| decides(policy, &shown) == Verb::Deny;
            assert_eq!(denied(&positive), state == wanted);
            assert_eq!(denied(&negative), state != wanted);
        }
    }
}

/// What is not shown is decided by the rule's verb, negated or not.
#[test]
fn doubt() {
    for words in ["state established", "state ! established"] {
        let allow = policy(&format!("allow {words}\ndeny\n"));
        let deny = policy(&format!("deny {words}\n"));
        let fragment = packet(Flow::Fragment);
        assert_eq!(decides(&allow, &fragment), Verb::Allow);
        assert_eq!(decides(&deny, &fragment), Verb::Allow);
        let unasked = packet(Flow::Unasked);
        assert_eq!(decides(&allow, &unasked), Verb::Deny);
        assert_eq!(decides(&deny, &unasked), Verb::Deny);
    }
}

#[test]
fn needs() {
    let flows = |text: &str| policy(text).needs().flows;
    assert!(flows("allow dport 80\ndefault deny\n").is_empty());
    assert_eq!(flows("allow state new\n"), HookSet::all());
    assert_eq!(
        flows("allow state new hook forward\ndeny state invalid hook pre_routing\ndeny\n"),
        HookSet::of(Hook::Forward).with(Hook::PreRouting)
    );
    // The same where policies are put behind each other.
    let one = policy("allow state new hook forward\n");
    let both = append(&one, "deny dport 1\ndeny state new hook local_in\n").unwrap();
    assert_eq!(
        both.needs().flows,
        HookSet::of(Hook::Forward).with(Hook::LocalIn)
    );
}

#[test]
fn scope() {
    let other = NetnsId {
        inode: 4026532999,
        host: false,
    };
    for (text, host, container, others) in [
        ("allow dport 80\n", false, false, false),
        ("allow state new\n", true, true, true),
        (
            "allow dport 80 netns host\nallow state new netns host\n",
            true,
            false,
            false,
        ),
        ("allow state new netns container\n", false, true, true),
        ("allow state new netns ! host\n", false, true, true),
        ("allow state new netns ! container\n", true, false, false),
        ("allow state new netns 4026532183\n", false, true, false),
        ("allow state new netns 4026531840\n", true, false, false),
        (
            "allow state new netns { host, 4026532183 }\n",
            true,
            true,
            false,
        ),
        (
            "allow state new netns 4026532183\ndeny state new netns host\n",
            true,
            true,
            false,
        ),
        ("allow state new netns ! 4026532183\n", true, true, true),
    ] {
        let scope = *policy(text).flow_scope();
        let found = [HOST, CONTAINER, other].map(|netns| scope.contains(netns));
        assert_eq!(found, [host, container, others], "{text}");
        assert_eq!(scope.is_empty(), found == [false; 3], "{text}");
    }
}

/// No namespace that was added is forgotten, however many there are.
#[test]
fn scope_of_many() {
    let mut scope = NetnsScope::default();
    for inode in 1..100 {
        scope.add(NetnsMatch::Inode(inode));
        scope.add(NetnsMatch::Inode(inode));
        for known in 1..=inode {
            let netns = NetnsId {
                inode: known,
                host: false,
            };
            assert!(scope.contains(netns));
        }
        if inode <= 8 {
            assert!(!scope.contains(CONTAINER));
            assert!(!scope.contains(HOST));
        }
    }
}

fn search(family: Family, headers: &Headers, finding: Finding) -> Flow {
    Search::of(family, headers).found(family, headers, finding)
}

fn unknown(family: Family, headers: &Headers) -> State {
    match search(family, headers, Finding::Nothing) {
        Flow::Known(state, None) => state,
        other => panic!("{other:?}"),
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

/// What `nf_conntrack_tcp_packet()` of Linux 7.3 makes of the first segment that it sees, with
/// `nf_conntrack_tcp_loose` on, as it is by default.
fn conntrack(flags: u8) -> State {
    let valid = [
        SYN,
        SYN | URG,
        SYN | ACK,
        RST,
        RST | ACK,
        FIN | ACK,
        FIN | ACK | URG,
        ACK,
        ACK | URG,
    ];
    if !valid.contains(&(flags & (FIN | SYN | RST | ACK | URG))) {
        return State::Invalid;
    }
    // get_conntrack_index(), and the column sNO of tcp_conntracks[0]
    if flags & RST != 0 {
        State::Invalid
    } else if flags & SYN != 0 {
        if flags & ACK != 0 {
            State::Invalid
        } else {
            State::New
        }
    } else if flags & FIN != 0 {
        State::Invalid
    } else {
        State::New
    }
}

#[test]
fn tcp_of_no_connection() {
    for flags in 0..=u8::MAX {
        let state = unknown(Family::Ipv4, &tcp(flags));
        assert_eq!(state, conntrack(flags), "{}", TcpFlags(flags));
    }
    // Too short for flags
    let mut short = tcp(0);
    if let Transport::Ports { flags, .. } = &mut short.transport {
        *flags = None;
    }
    assert_eq!(unknown(Family::Ipv4, &short), State::Invalid);
}

#[test]
fn icmp_of_no_connection() {
    for kind in 0..=u8::MAX {
        let expected = match kind {
            8 | 13 | 15 | 17 => State::New,
            _ => State::Invalid,
        };
        let headers = icmp(Family::Ipv4, kind);
        assert_eq!(unknown(Family::Ipv4, &headers), expected, "icmp {kind}");
        let quotes = matches!(Search::of(Family::Ipv4, &headers), Search::Quoted(8));
        assert_eq!(quotes, matches!(kind, 3 | 4 | 5 | 11 | 12), "icmp {kind}");

        let expected = match kind {
            128 | 139 => State::New,
            130..=136 | 143 | 151 | 152 => State::Untracked,
            _ => State::Invalid,
        };
        let headers = icmp(Family::Ipv6, kind);
        assert_eq!(unknown(Family::Ipv6, &headers), expected, "icmpv6 {kind}");
        let quotes = matches!(Search::of(Family::Ipv6, &headers), Search::Quoted(_));
        assert_eq!(quotes, kind < 128 || kind == 137, "icmpv6 {kind}");
    }
    // The other family's
    assert_eq!(
        unknown(Family::Ipv6, &icmp(Family::Ipv4, 8)),
        State::Invalid
    );
    assert_eq!(
        unknown(Family::Ipv4, &icmp(Family::Ipv6, 128)),
        State::Invalid
    );
}

#[test]
fn others_of_no_connection() {
    let other = Headers {
        proto: Some(Protocol(253)),
        transport: Transport::Other,
        ..udp()
    };
    assert_eq!(unknown(Family::Ipv4, &udp()), State::New);
    assert_eq!(unknown(Family::Ipv4, &other), State::New);
    assert_eq!(unknown(Family::Ipv4, &broken()), State::Invalid);
    assert_eq!(
        search(Family::Ipv4, &later(), Finding::Nothing),
        Flow::Fragment
    );
}

#[test]
fn known_connections() {
    for state in [State::New, State::Established, State::Related] {
        let connection = connection(state);
        let found = search(Family::Ipv4, &udp(), Finding::Connection(connection));
        assert_eq!(found, Flow::Known(state, Some(connection)));
        // An error about any of them
        let error = icmp(Family::Ipv4, 3);
        let related = Connection {
            state: State::Related,
            ..connection
        };
        assert_eq!(
            search(Family::Ipv4, &error, Finding::Connection(related)),
            Flow::Known(State::Related, Some(related))
        );
    }
    // What cannot be found out is not made up.
    assert_eq!(
        search(Family::Ipv4, &udp(), Finding::Invalid),
        Flow::Known(State::Invalid, None)
    );
    for (headers, flow) in [
        (later(), Flow::Fragment),
        (broken(), Flow::Known(State::Invalid, None)),
    ] {
        let finding = Finding::Connection(connection(State::Established));
        assert_eq!(search(Family::Ipv4, &headers, finding), flow);
    }
}

/// Of a TCP connection that is over, only a SYN begins another.
#[test]
fn the_same_ports_again() {
    let over = Connection {
        over: true,
        ..connection(State::Established)
    };
    for flags in [SYN, SYN | URG, ACK, FIN | ACK, RST, SYN | ACK, ACK | PSH] {
        let flow = search(Family::Ipv4, &tcp(flags), Finding::Connection(over));
        let expected = if flags & (SYN | ACK) == SYN {
            Flow::Known(State::New, None)
        } else {
            Flow::Known(State::Established, Some(over))
        };
        assert_eq!(flow, expected, "{}", TcpFlags(flags));
        // Not so while it lasts.
        let alive = connection(State::Established);
        let flow = search(Family::Ipv4, &tcp(flags), Finding::Connection(alive));
        assert_eq!(flow, Flow::Known(State::Established, Some(alive)));
    }
}

/// Behind connection tracking its word is taken.
#[test]
fn behind_connection_tracking() {
    let known = connection(State::Established);
    for (finding, flow) in [
        (Finding::Nothing, Flow::Known(State::Invalid, None)),
        (Finding::Invalid, Flow::Known(State::Invalid, None)),
        (Finding::Untracked, Flow::Known(State::Untracked, None)),
        (
            Finding::Connection(known),
            Flow::Known(State::Established, Some(known)),
        ),
    ] {
        assert_eq!(Flow::from(finding), flow);
    }
}

#[test]
fn first_match_decides() {
    let policy = policy(
        "allow state { established, related }\nallow state new dport 80\ndeny state invalid\ndeny\n",
    );
    for (state, dport, rule) in [
        (State::Established, 1, 0),
        (State::Related, 1, 0),
        (State::New, 80, 1),
        (State::New, 81, 3),
        (State::Invalid, 80, 2),
        (State::Untracked, 80, 3),
    ] {
        let mut packet = packet(Flow::Known(state, None));
        if let Transport::Ports { dest, .. } = &mut packet.headers.transport {
            *dest = dport;
        }
        let decided = policy.decide(&packet, |_| {});
        assert_eq!(decided.decider, Decider::Rule(rule), "{state} {dport}");
    }
}
