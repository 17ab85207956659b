// SPDX-License-Identifier: GPL-2.0

//! The `failsafe` statement: what is accepted, how it is read back, what is refused, which packets it
//! lets pass.

mod common;

use std::net::IpAddr;

use common::packet::{on_host, ported};
use common::text::{append, definite, lines, load, refused};
use ctrfw_core::hook::Hook;
use ctrfw_core::packet::{Packet, Transport};
use ctrfw_core::proto::Protocol;

#[test]
fn read_back_first() {
    for (written, read) in [
        ("failsafe { tcp 22 }", "failsafe { tcp 22 }"),
        (
            "failsafe{tcp 22,udp 67-68}",
            "failsafe { tcp 22, udp 67-68 }",
        ),
        (
            "failsafe { 6 22, 17 9-9, } # c",
            "failsafe { tcp 22, udp 9 }",
        ),
        ("failsafe { sctp 0-65535 }", "failsafe { sctp 0-65535 }"),
    ] {
        assert_eq!(lines(&load(written).unwrap()), [read], "{written}");
        assert_eq!(lines(&load(read).unwrap()), [read], "{read}");
    }
    assert!(lines(&load("failsafe { }").unwrap()).is_empty());
    let all = [
        "failsafe { tcp 22 }",
        "set a { 1 }",
        "deny dport @a",
        "default deny",
    ];
    let mixed = "default deny\nset a { 1 }\ndeny dport @a\nfailsafe { tcp 22 }";
    assert_eq!(lines(&load(mixed).unwrap()), all);
    // The longest can be read back.
    let ways = vec!["udplite 10000-65535"; 32].join(", ");
    let longest = format!("failsafe {{ {ways} }}");
    assert_eq!(lines(&load(&longest).unwrap()), [longest]);
}

#[test]
fn wrong_ones_are_refused() {
    for (line, column) in [
        ("failsafe", 9),
        ("failsafe tcp 22", 10),
        ("failsafe {", 11),
        ("failsafe { tcp", 15),
        ("failsafe { tcp }", 16),
        ("failsafe { 22 }", 12),
        ("failsafe { icmp 8 }", 12),
        ("failsafe { tcp 22 udp 1 }", 19),
        ("failsafe { tcp 22,, }", 19),
        ("failsafe { tcp 65536 }", 16),
        ("failsafe { tcp \"22\" }", 16),
        ("failsafe { tcp @set }", 16),
        ("failsafe { tcp 2-1 }", 16),
        ("failsafe { tcp 22 } log", 21),
        ("deny\nfailsafe { }\nfailsafe { tcp 1 }", 1),
    ] {
        assert_eq!(refused(line).column as usize, column, "{line}");
    }
    let ways = vec!["tcp 1"; 33].join(", ");
    assert!(refused(&format!("failsafe {{ {ways} }}"))
        .expected
        .contains("32"));
    assert!(definite(b"failsafe { icmp 8") && definite(b"failsafe { tcp 65536"));
    let line = b"failsafe { tcp 22, udp 67-68 }";
    assert!((0..line.len()).all(|len| !definite(&line[..len])));
}

#[test]
fn the_later_one_takes_its_place() {
    let mut policy = load("failsafe { tcp 22 }\ndeny").unwrap();
    policy = append(&policy, "allow").unwrap();
    assert_eq!(lines(&policy), ["failsafe { tcp 22 }", "deny", "allow"]);
    policy = append(&policy, "failsafe { udp 1 }").unwrap();
    assert_eq!(lines(&policy), ["failsafe { udp 1 }", "deny", "allow"]);
    policy = append(&policy, "failsafe { }").unwrap();
    assert_eq!(lines(&policy), ["deny", "allow"]);
    assert!(!load("failsafe { tcp 22 }").unwrap().is_empty());
    assert!(load("failsafe { }").unwrap().is_empty());
}

const OWN: &str = "10.0.0.1";
const OTHER: &str = "10.0.0.2";

fn packet(hook: Hook, from: (&str, u16), to: (&str, u16)) -> Packet {
    on_host(hook, ported(Protocol::TCP, from, to))
}

#[test]
fn which_packets() {
    let policy = load("failsafe { tcp 22, udp 67-68 }\ndeny").unwrap();
    let own = |addr: IpAddr| addr.to_string() == OWN;
    let passes = |packet: &Packet| policy.is_failsafe(packet, own);
    for hook in Hook::ALL {
        let inward = |addr, port| passes(&packet(hook, (OTHER, 5000), (addr, port)));
        let outward = |addr, port| passes(&packet(hook, (addr, port), (OTHER, 5000)));
        let (before, at) = (hook == Hook::PreRouting, hook == Hook::LocalIn);
        assert_eq!(inward(OWN, 22), before || at, "{hook}");
        // Whatever comes to LOCAL_IN is for the host.
        assert_eq!(inward("10.0.0.3", 22), at, "{hook}");
        assert!(!inward(OWN, 23), "{hook}");
        assert!(!inward(OWN, 67), "{hook}");
        let (from, after) = (hook == Hook::LocalOut, hook == Hook::PostRouting);
        assert_eq!(outward(OWN, 22), from || after, "{hook}");
        assert_eq!(outward("10.0.0.3", 22), from, "{hook}");
        assert!(!outward(OWN, 23), "{hook}");
    }

    let request = packet(Hook::PreRouting, (OTHER, 5000), (OWN, 22));
    let changed = |change: fn(&mut Packet)| {
        let mut packet = request;
        change(&mut packet);
        passes(&packet)
    };
    assert!(!changed(|packet| packet.netns.host = false));
    assert!(!changed(|packet| packet.headers.proto = Some(Protocol::UDP)));
    assert!(!changed(|packet| packet.headers.proto = None));
    assert!(!changed(|packet| packet.headers.addrs = None));
    assert!(!changed(
        |packet| packet.headers.transport = Transport::Unreadable
    ));
    assert!(!changed(
        |packet| packet.headers.transport = Transport::Other
    ));
    assert!(changed(
        |packet| packet.headers.transport = Transport::LaterFragment
    ));
    assert!(!changed(|packet| {
        packet.headers.transport = Transport::LaterFragment;
        packet.headers.proto = Some(Protocol::SCTP);
    }));
    assert!(!load("deny").unwrap().is_failsafe(&request, |_| true));
}
