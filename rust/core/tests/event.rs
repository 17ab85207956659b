// SPDX-License-Identifier: GPL-2.0

//! Trace lines, word for word.

mod common;

use common::packet::{name, on_host, HOST};
use common::plan::{plan, Extension, Payload, Plan};
use ctrfw_core::event::TraceEvent;
use ctrfw_core::family::Family;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::IfName;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, TcpFlags};
use ctrfw_core::proto::Protocol;
use ctrfw_core::queue::Queue;
use ctrfw_core::reject::Answer;
use ctrfw_core::rule::{Decider, Decision, Mode, Verb};
use ctrfw_core::value::Value;
use ctrfw_core::writer::Buffer;
use proptest::prelude::*;

fn headers(plan: &Plan) -> Headers {
    Headers::parse(plan.family(), plan.bytes().as_slice())
}

fn cut(plan: &Plan, end: usize) -> Headers {
    let mut bytes = plan.bytes();
    plan.set_len(&mut bytes, end);
    bytes.truncate(end);
    Headers::parse(plan.family(), bytes.as_slice())
}

/// From `src=` on, of a packet that nobody decided about.
fn tail(headers: Headers) -> String {
    let packet = Packet {
        input: name("eth0"),
        ..Packet::new(Hook::LocalIn, HOST, Family::Ipv4, headers)
    };
    let line = TraceEvent {
        id: 0,
        packet: &packet,
        device: name("eth0"),
        decision: Decision {
            verb: Verb::Allow,
            decider: Decider::Nobody,
        },
        mode: Mode::Enforce,
    }
    .to_string();
    let front = "trace id=0 netns=4026531840(host) hook=LOCAL_IN in=eth0 out=- dev=eth0 physin=- physout=- ";
    let tail = line.strip_prefix(front).unwrap_or_else(|| panic!("{line}"));
    let end = " verdict=allow rule=default";
    tail.strip_suffix(end)
        .unwrap_or_else(|| panic!("{line}"))
        .to_owned()
}

const SYN: Payload = Payload::Tcp {
    source: 40000,
    dest: 8081,
    flags: 2,
};

#[test]
fn whole_lines() {
    let mut plan = Plan::v4(SYN);
    plan.data = 20;
    let mut packet = Packet {
        input: name("veth1"),
        ..on_host(Hook::PreRouting, headers(&plan))
    };
    let event = TraceEvent {
        id: "00000000c7a1b2d3",
        packet: &packet,
        device: name("veth1"),
        decision: Decision {
            verb: Verb::Allow,
            decider: Decider::Nobody,
        },
        mode: Mode::Enforce,
    };
    assert_eq!(
        event.to_string(),
        "trace id=00000000c7a1b2d3 netns=4026531840(host) hook=PRE_ROUTING in=veth1 out=- \
         dev=veth1 physin=- physout=- src=10.1.0.2 dst=10.1.0.1 proto=TCP spt=40000 dpt=8081 \
         flags=SYN len=60 verdict=allow rule=default"
    );

    packet.hook = Hook::Forward;
    packet.netns = NetnsId {
        inode: 4026532290,
        host: false,
    };
    packet.input = name("br-0123456789ab");
    packet.output = name("eth0");
    packet.phys_input = name("vethdef");
    packet.phys_output = name("vethghi");
    packet.headers = headers(&Plan::v6(&[], SYN));
    let event = TraceEvent {
        id: "(____ptrval____)",
        packet: &packet,
        device: name("vethabc"),
        decision: Decision {
            verb: Verb::Deny,
            decider: Decider::Rule(0),
        },
        mode: Mode::Enforce,
    };
    assert_eq!(
        event.to_string(),
        "trace id=(____ptrval____) netns=4026532290 hook=FORWARD in=br-0123456789ab out=eth0 \
         dev=vethabc physin=vethdef physout=vethghi src=2001:db8::2 dst=2001:db8::1 proto=TCP \
         spt=40000 dpt=8081 flags=SYN len=64 verdict=deny rule=1"
    );
}

#[test]
fn every_protocol() {
    let port = |proto| Payload::Ports {
        proto,
        source: 1,
        dest: 65535,
    };
    for (payload, expected) in [
        (SYN, "proto=TCP spt=40000 dpt=8081 flags=SYN len=44"),
        (
            Payload::Udp {
                source: 53,
                dest: 40000,
            },
            "proto=UDP spt=53 dpt=40000 len=32",
        ),
        (
            Payload::Icmpv4 { kind: 8, code: 0 },
            "proto=ICMP type=8 code=0 len=32",
        ),
        (
            Payload::Icmpv4 { kind: 3, code: 13 },
            "proto=ICMP type=3 code=13 len=32",
        ),
        (
            Payload::Icmpv6 { kind: 135, code: 0 },
            "proto=ICMPv6 type=135 code=0 len=32",
        ),
        (port(132), "proto=SCTP spt=1 dpt=65535 len=32"),
        (port(33), "proto=DCCP spt=1 dpt=65535 len=32"),
        (port(136), "proto=UDPLITE spt=1 dpt=65535 len=32"),
        (Payload::Other { proto: 0 }, "proto=0 len=24"),
        (Payload::Other { proto: 2 }, "proto=IGMP len=24"),
        (Payload::Other { proto: 4 }, "proto=IPIP len=24"),
        (Payload::Other { proto: 41 }, "proto=IPV6 len=24"),
        (Payload::Other { proto: 46 }, "proto=RSVP len=24"),
        (Payload::Other { proto: 47 }, "proto=GRE len=24"),
        (Payload::Other { proto: 50 }, "proto=ESP len=24"),
        (Payload::Other { proto: 51 }, "proto=AH len=24"),
        (Payload::Other { proto: 89 }, "proto=OSPF len=24"),
        (Payload::Other { proto: 103 }, "proto=PIM len=24"),
        (Payload::Other { proto: 112 }, "proto=VRRP len=24"),
        (Payload::Other { proto: 255 }, "proto=255 len=24"),
    ] {
        let expected = format!("src=10.1.0.2 dst=10.1.0.1 {expected}");
        assert_eq!(tail(headers(&Plan::v4(payload))), expected);
    }
    assert_eq!(
        tail(headers(&Plan::v6(
            &[],
            Payload::Icmpv6 { kind: 128, code: 0 }
        ))),
        "src=2001:db8::2 dst=2001:db8::1 proto=ICMPv6 type=128 code=0 len=52"
    );
    // What a name does not cover is a number, in the same way for rules and traces.
    for number in 0..=255 {
        let trace = Protocol(number).trace_name().to_string();
        let rule = Protocol(number).to_string();
        assert_eq!(rule, trace.to_lowercase());
        assert_eq!(Protocol::parse(rule.as_bytes()), Some(Protocol(number)));
    }
}

#[test]
fn every_flag() {
    const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    for flags in 0..=255u8 {
        let names: Vec<&str> = (0..8)
            .filter(|bit| (flags >> bit) & 1 == 1)
            .map(|bit| NAMES[bit])
            .collect();
        let expected = if flags == 0 {
            "-".to_owned()
        } else {
            names.join(",")
        };
        assert_eq!(TcpFlags(flags).to_string(), expected);
    }
    let flags = |flags| {
        tail(headers(&Plan::v4(Payload::Tcp {
            source: 1,
            dest: 2,
            flags,
        })))
    };
    let front = "src=10.1.0.2 dst=10.1.0.1 proto=TCP spt=1 dpt=2";
    assert_eq!(flags(0x12), format!("{front} flags=SYN,ACK len=44"));
    assert_eq!(flags(0), format!("{front} flags=- len=44"));
    // Where the packet ends before the flags.
    let short = cut(&Plan::v4(SYN), 33);
    assert_eq!(
        tail(short),
        "src=10.1.0.2 dst=10.1.0.1 proto=TCP spt=40000 dpt=8081 flags=- len=33"
    );
}

#[test]
fn fragments() {
    let fragment = |offset, more| Extension::Fragment { offset, more };
    let udp = Payload::Udp {
        source: 53,
        dest: 40000,
    };
    for (plan, expected) in [
        (
            Plan::v4_fragment(udp, 0, true),
            "proto=UDP frag=first spt=53 dpt=40000 len=32",
        ),
        (
            Plan::v4_fragment(udp, 185, true),
            "proto=UDP frag=1480 len=32",
        ),
        (
            Plan::v4_fragment(udp, 185, false),
            "proto=UDP frag=1480 len=32",
        ),
        (
            Plan::v4_fragment(SYN, 0, true),
            "proto=TCP frag=first spt=40000 dpt=8081 flags=SYN len=44",
        ),
        (
            Plan::v4_fragment(SYN, 8191, false),
            "proto=TCP frag=65528 len=44",
        ),
        (
            Plan::v4_fragment(Payload::Icmpv4 { kind: 8, code: 0 }, 0, true),
            "proto=ICMP frag=first type=8 code=0 len=32",
        ),
        (
            Plan::v4_fragment(Payload::Other { proto: 47 }, 0, true),
            "proto=GRE frag=first len=24",
        ),
        (
            Plan::v4_fragment(SYN, 1, false),
            "proto=TCP frag=8 len=44 unparsed=tiny-offset",
        ),
    ] {
        assert_eq!(
            tail(headers(&plan)),
            format!("src=10.1.0.2 dst=10.1.0.1 {expected}")
        );
    }
    for (extensions, expected) in [
        (
            vec![fragment(0, false)],
            "proto=UDP spt=53 dpt=40000 len=60",
        ),
        (
            vec![fragment(0, true)],
            "proto=UDP frag=first spt=53 dpt=40000 len=60",
        ),
        (vec![fragment(181, false)], "proto=UDP frag=1448 len=60"),
        (
            vec![fragment(181, true), Extension::Destination(0)],
            "proto=- frag=1448 len=68",
        ),
    ] {
        let expected = format!("src=2001:db8::2 dst=2001:db8::1 {expected}");
        assert_eq!(tail(headers(&Plan::v6(&extensions, udp))), expected);
    }
}

#[test]
fn unparsed() {
    let (v4, v6) = (Plan::v4(SYN), Plan::v6(&[Extension::Destination(0)], SYN));
    let bytes = |plan: &Plan, at: usize, byte: u8| {
        let mut bytes = plan.bytes();
        bytes[at] = byte;
        Headers::parse(plan.family(), bytes.as_slice())
    };
    let (four, six) = (
        "src=10.1.0.2 dst=10.1.0.1",
        "src=2001:db8::2 dst=2001:db8::1",
    );
    for (headers, expected) in [
        (
            Headers::parse(v4.family(), &v4.bytes()[..19]),
            "src=- dst=- proto=- len=19 unparsed=short-header".to_owned(),
        ),
        (
            Headers::parse(v6.family(), v4.bytes().as_slice()),
            "src=- dst=- proto=- len=44 unparsed=version".to_owned(),
        ),
        (
            bytes(&v4, 0, 0x44),
            format!("{four} proto=- len=44 unparsed=header-length"),
        ),
        (
            bytes(&v4, 3, 45),
            format!("{four} proto=- len=44 unparsed=total-length"),
        ),
        (
            bytes(&v6, 5, 200),
            format!("{six} proto=- len=72 unparsed=total-length"),
        ),
        (
            cut(&v6, 47),
            format!("{six} proto=- len=47 unparsed=short-extension"),
        ),
        (
            cut(&v6, 51),
            format!("{six} proto=TCP len=51 unparsed=short-transport"),
        ),
        (
            cut(&v4, 23),
            format!("{four} proto=TCP len=23 unparsed=short-transport"),
        ),
        (
            headers(&Plan::v6(&[Extension::Destination(0); 17], SYN)),
            format!("{six} proto=- len=200 unparsed=many-extensions"),
        ),
        (
            cut(&Plan::v4_fragment(SYN, 0, true), 23),
            format!("{four} proto=TCP frag=first len=23 unparsed=short-transport"),
        ),
    ] {
        assert_eq!(tail(headers), expected);
    }
}

#[test]
fn hooks_verdicts_and_deciders() {
    let mut packet = Packet {
        netns: NetnsId {
            inode: 1,
            host: false,
        },
        ..on_host(Hook::PreRouting, headers(&Plan::v4(SYN)))
    };
    for (mode, hook, verb, decider, hook_text, end) in [
        (
            Mode::Enforce,
            Hook::PreRouting,
            Verb::Allow,
            Decider::Rule(9),
            "PRE_ROUTING",
            "allow rule=10",
        ),
        (
            Mode::Enforce,
            Hook::LocalIn,
            Verb::Deny,
            Decider::Rule(0),
            "LOCAL_IN",
            "deny rule=1",
        ),
        (
            Mode::Enforce,
            Hook::Forward,
            Verb::Deny,
            Decider::Default(3),
            "FORWARD",
            "deny rule=default",
        ),
        (
            Mode::Enforce,
            Hook::Forward,
            Verb::Reject(Answer::TcpReset),
            Decider::Rule(1),
            "FORWARD",
            "reject rule=2",
        ),
        (
            Mode::Enforce,
            Hook::PostRouting,
            Verb::Allow,
            Decider::Default(0),
            "POST_ROUTING",
            "allow rule=default",
        ),
        (
            Mode::Enforce,
            Hook::LocalOut,
            Verb::Allow,
            Decider::Nobody,
            "LOCAL_OUT",
            "allow rule=default",
        ),
        (
            Mode::Audit,
            Hook::Forward,
            Verb::Allow,
            Decider::Rule(0),
            "FORWARD",
            "allow rule=1",
        ),
        (
            Mode::Audit,
            Hook::Forward,
            Verb::Deny,
            Decider::Rule(0),
            "FORWARD",
            "would-deny rule=1",
        ),
        (
            Mode::Audit,
            Hook::Forward,
            Verb::Reject(Answer::ByProtocol),
            Decider::Rule(0),
            "FORWARD",
            "would-reject rule=1",
        ),
        (
            Mode::Enforce,
            Hook::PreRouting,
            Verb::Queue(Queue::default()),
            Decider::Rule(0),
            "PRE_ROUTING",
            "queue rule=1",
        ),
        (
            Mode::Audit,
            Hook::LocalIn,
            Verb::Queue(Queue::default()),
            Decider::Default(0),
            "LOCAL_IN",
            "would-queue rule=default",
        ),
    ] {
        packet.hook = hook;
        let event = TraceEvent {
            id: 0,
            packet: &packet,
            device: IfName::default(),
            decision: Decision { verb, decider },
            mode,
        };
        let line = event.to_string();
        assert!(
            line.contains(&format!(" hook={hook_text} in=- out=- dev=- ")),
            "{line}"
        );
        assert!(line.ends_with(&format!(" verdict={end}")), "{line}");
    }
}

/// A container may call its interfaces what it likes.
#[test]
fn hostile_interface_names() {
    for (bytes, expected) in [
        (b"".as_slice(), "-"),
        (b"-", "\\x2d"),
        (b"--", "--"),
        (b"a\nctrfw: trace", "a\\x0actrfw:\\x20trace"),
        (b"x verdict=deny", "x\\x20verdict=deny"),
        (b"\x1b[31m", "\\x1b[31m"),
        (b"tab\there", "tab\\x09here"),
        (b"back\\x2d", "back\\x5cx2d"),
        (b"del\x7f", "del\\x7f"),
        (b"caf\xc3\xa9", "caf\\xc3\\xa9"),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff",
        ),
        (b"%s%n%p", "%s%n%p"),
        (b"a\"b'c", "a\"b'c"),
        (b"eth0\0hidden", "eth0"),
    ] {
        let mut field = [0; 16];
        field[..bytes.len()].copy_from_slice(bytes);
        assert_eq!(IfName::from_field(field).to_string(), expected);
    }
}

proptest! {
    #![proptest_config(common::config(2000))]

    /// However strange the packet and the names: one line, the same words in the same order.
    #[test]
    fn a_line_can_be_taken_apart(plan in plan(), names in any::<[[u8; 16]; 5]>(), cut: u8) {
        let bytes = plan.bytes();
        let bytes = &bytes[..bytes.len().saturating_sub(usize::from(cut & (cut >> 4)))];
        let [input, output, device, phys_input, phys_output] = names.map(IfName::from_field);
        let packet = Packet {
            input,
            output,
            phys_input,
            phys_output,
            ..on_host(Hook::PostRouting, Headers::parse(plan.family(), bytes))
        };
        let decision = Decision { verb: Verb::Deny, decider: Decider::Rule(6) };
        let mode = Mode::Audit;
        let event = TraceEvent { id: 1, packet: &packet, device, decision, mode };
        let line = event.to_string();
        // A buffer takes it in another way.
        let mut buffer = Buffer::new(vec![0; 1024]);
        event.write(&mut buffer).unwrap();
        prop_assert_eq!(buffer.text(), line.as_bytes());
        prop_assert!(line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{}", line);
        // It must fit one record of the kernel's log.
        prop_assert!(line.len() < 900);
        let mut keys: Vec<&str> = Vec::new();
        for word in line.strip_prefix("trace ").unwrap().split(' ') {
            let (key, value) = word.split_once('=').unwrap();
            prop_assert!(!value.is_empty(), "{}", line);
            keys.push(key);
        }
        const ALL: [&str; 20] = [
            "id", "netns", "hook", "in", "out", "dev", "physin", "physout", "src", "dst", "proto",
            "frag", "spt", "dpt", "flags", "type", "code", "len", "unparsed", "verdict",
        ];
        let mut order = ALL.iter();
        let last = keys.pop();
        prop_assert_eq!(last, Some("rule"));
        for key in &keys {
            prop_assert!(order.any(|other| other == key), "{} in {}", key, line);
        }
        prop_assert_eq!(&keys[..11], &ALL[..11]);
    }
}
