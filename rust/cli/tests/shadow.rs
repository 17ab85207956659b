// SPDX-License-Identifier: GPL-2.0

//! A rule that is warned of never decides, whatever the packet shows or hides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_command::policy::Policy;
use ctrfw_command::shadow;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IFNAMSIZ};
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Fragment, Headers, Packet, Transport};
use ctrfw_core::proto::Protocol;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn word(
    key: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Option<String>> {
    option::weighted(0.3, select(values)).prop_map(move |v| v.map(|v| format!(" {key} {v}")))
}

fn rule() -> impl Strategy<Value = String> {
    const ADDRS: &[&str] = &["10.0.0.0/8", "10.0.0.0/31", "10.0.0.1", "0.0.0.0/0", "::/0"];
    const PORTS: &[&str] = &["0-65535", "1-2", "1", "2-80"];
    const DEVICES: &[&str] = &["*", "e*", "eth0", "eth*", "lo"];
    (
        select(&["allow", "deny"][..]),
        word("from", ADDRS),
        word("proto", &["tcp", "udp", "17"]),
        word("sport", PORTS),
        word("dport", PORTS),
        word("in", DEVICES),
        word("out", DEVICES),
        word("hook", &["forward", "forward,local_in", "local_in"]),
        word("netns", &["host", "container", "1", "2"]),
    )
        .prop_map(|(verb, a, b, c, d, e, f, g, h)| {
            let words = [a, b, c, d, e, f, g, h];
            format!(
                "{verb}{}\n",
                words.into_iter().flatten().collect::<String>()
            )
        })
}

fn device() -> impl Strategy<Value = IfName> {
    select(&["", "eth0", "eth1", "lo"][..]).prop_map(|name| {
        let mut field = [0; IFNAMSIZ];
        field[..name.len()].copy_from_slice(name.as_bytes());
        IfName::from_field(field)
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let v4 = (0u32..3).prop_map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n)));
    let addr = prop_oneof![3 => v4, 1 => Just(IpAddr::from(Ipv6Addr::LOCALHOST))];
    let transport = prop_oneof![
        3 => (0..4u16, 0..4u16).prop_map(|(source, dest)| Transport::Ports {
            source,
            dest,
            flags: None
        }),
        1 => Just(Transport::Other),
        1 => Just(Transport::LaterFragment),
        1 => Just(Transport::Unreadable),
    ];
    (
        (select(&Hook::ALL[..]), 1..3u32, device(), device()),
        option::weighted(0.8, addr),
        option::weighted(0.8, select(&[6u8, 17, 1][..])),
        (transport, any::<bool>()),
    )
        .prop_map(
            |((hook, inode, input, output), addr, proto, (transport, later))| Packet {
                hook,
                netns: NetnsId {
                    inode,
                    host: inode == 1,
                },
                input,
                output,
                headers: Headers {
                    addrs: addr.map(|addr| (addr, addr)),
                    proto: proto.map(Protocol),
                    transport,
                    fragment: if later {
                        Fragment::Later(64)
                    } else {
                        Fragment::No
                    },
                    len: 100,
                    unparsed: None,
                },
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_warning_is_never_false(rules in vec(rule(), 1..20), packets in vec(packet(), 50)) {
        let (policy, problems) = Policy::parse(rules.concat().as_bytes());
        // Ports without tcp or udp are not generated.
        prop_assert!(problems.is_empty());
        let (warnings, complete) = shadow::warnings(&policy);
        prop_assert!(complete);
        for packet in &packets {
            let decides = policy.decide(packet).rule.map(|index| index + 1);
            for warning in &warnings {
                prop_assert_ne!(decides, warning.rule);
            }
        }
    }

    #[test]
    fn any_bytes(text in vec(any::<u8>(), 0..500)) {
        let (policy, _) = Policy::parse(&text);
        shadow::warnings(&policy);
    }
}
