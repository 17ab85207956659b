// SPDX-License-Identifier: GPL-2.0

//! A rule that is warned of never decides, whatever the packet shows or hides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_command::policy::Policy;
use ctrfw_command::shadow;
use ctrfw_core::family::Family;
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IFNAMSIZ};
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::memory::{Heap, NoMemory};
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::parser::{Statement, Table};
use ctrfw_core::policy;
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

/// Sets that the rules use.
const SETS: &str = "set net { 10.0.0.0/31, ::/0 }\nset ports { 1, 3 }\nset dev { e*, lo }\n";

fn rule() -> impl Strategy<Value = String> {
    const ADDRS: &[&str] = &[
        "10.0.0.0/8",
        "10.0.0.0/31",
        "!10.0.0.1",
        "10.0.0.1",
        "10.0.0.0-10.0.0.2",
        "!{ 10.0.0.0/31, ::/0 }",
        "@net",
        "!@net",
        "::/0",
    ];
    const PORTS: &[&str] = &[
        "0-65535",
        "1-2",
        "1",
        "!1",
        "2-80",
        "{ 1, 2-80 }",
        "@ports",
        "!@ports",
    ];
    const DEVICES: &[&str] = &[
        "*",
        "e*",
        "eth0",
        "!eth*",
        "!eth0",
        "{ lo, eth1 }",
        "@dev",
        "!@dev",
    ];
    (
        select(&["allow", "deny", "reject", "audit"][..]),
        word("from", ADDRS),
        word("proto", &["tcp", "udp", "!17", "{ tcp, udp }"]),
        prop_oneof![
            word("sport", PORTS),
            word("icmp-type", &["8", "!8", "echo-request"])
        ],
        word("dport", PORTS),
        word("in", DEVICES),
        (
            word("out", DEVICES),
            word("port-in", DEVICES),
            word("mark", &["1", "!1", "1/1"]),
        ),
        (
            word("hook", &["forward", "forward,local_in", "!local_in"]),
            word("family", &["ipv4", "!ipv4"]),
            word("fragment", &["later", "!later"]),
        ),
        (
            word("netns", &["host", "container", "1", "!2"]),
            word("priority", &["1", "-1"]),
            word("comment", &["\"from x\""]),
        ),
    )
        .prop_map(|(verb, a, b, c, d, e, (f, g, h), (i, j, k), (l, m, n))| {
            let words = [a, b, c, d, e, f, g, h, i, j, k, l, m, n];
            format!(
                "{verb}{}\n",
                words.into_iter().flatten().collect::<String>()
            )
        })
        // Not all words go together.
        .prop_filter("no rule", |line| {
            Policy::parse(format!("{SETS}{line}").as_bytes())
                .1
                .is_empty()
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
        1 => (7..9u8).prop_map(|kind| Transport::Icmp { kind, code: 0 }),
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
                phys_input: input,
                phys_output: output,
                mark: inode,
                family: match addr {
                    Some(IpAddr::V6(_)) => Family::Ipv6,
                    _ => Family::Ipv4,
                },
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
        let text = format!("{SETS}{}", rules.concat());
        let (policy, problems) = Policy::parse(text.as_bytes());
        prop_assert!(problems.is_empty());
        let (warnings, complete) = shadow::warnings(&policy);
        prop_assert!(complete);
        for packet in &packets {
            let verdict = policy.decide(packet);
            for index in verdict.audited.into_iter().chain(verdict.rule) {
                for warning in &warnings {
                    prop_assert_ne!(Some(index + 1), warning.rule);
                }
            }
        }
    }

    #[test]
    fn any_bytes(text in vec(any::<u8>(), 0..500)) {
        let (policy, _) = Policy::parse(&text);
        shadow::warnings(&policy);
    }

    #[test]
    fn the_first_error_is_the_modules(lines in vec(line(), 0..12)) {
        let text = lines.join("\n");
        let (_, problems) = Policy::parse(text.as_bytes());
        let mut loader = Loader::<Table>::new();
        let mut sink = Whole::default();
        let taken = loader.feed(text.as_bytes(), &mut sink).and_then(|()| loader.finish(&mut sink));
        let theirs = match taken {
            Err(LoadError::Language(error)) => Some(error.to_string()),
            _ => None,
        };
        let ours = problems.first().map(|problem| {
            format!("line {} column {}: {}", problem.line, problem.column, problem.message)
        });
        prop_assert_eq!(ours, theirs);
    }
}

/// Takes a text as the module does.
#[derive(Default)]
struct Whole(policy::Policy<Heap>);

impl Sink<Table> for Whole {
    type Error = NoMemory;

    fn accept(&mut self, item: Statement<'_>) -> Result<(), Refusal<NoMemory>> {
        self.0.add(item, None)
    }
}

fn line() -> impl Strategy<Value = String> {
    let known = &[
        "set a {",
        "set a { 1, 2",
        "set b { lo }",
        "set c {}",
        "set 1 {",
        "}",
        "1,",
        "10.0.0.1",
        "eth0, }",
        "allow",
        "deny dport @a",
        "deny in @b comment \"x\"",
        "mode audit",
        "default deny",
        "delete 1",
        "add deny",
        "failsafe { tcp 22 }",
        "bogus }",
        "deny # }",
        "",
    ][..];
    prop_oneof![
        6 => select(known).prop_map(str::to_owned),
        1 => "[ -~]{0,20}",
        1 => (1000..1100usize).prop_map(|len| "deny in {".to_owned() + &" ".repeat(len)),
    ]
}
