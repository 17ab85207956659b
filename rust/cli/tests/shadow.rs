// SPDX-License-Identifier: GPL-2.0

//! A rule that is warned of never decides, whatever the packet shows or hides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_command::policy::Policy;
use ctrfw_command::problem::Problem;
use ctrfw_command::{cgroup, shadow};
use ctrfw_core::cgroup::SocketCgroup;
use ctrfw_core::edit::Addition;
use ctrfw_core::family::Family;
use ctrfw_core::flags::Flag as _;
use ctrfw_core::flow::{Connection, Flow, State};
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IFNAMSIZ};
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::memory::{Heap, NoMemory};
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::parser::{Statement, Table};
use ctrfw_core::policy::NO_EDIT;
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
    const CGROUPS: &[&str] = &["/", "/a", "!/a", "/a/b", "!{ /a/b, /c }", "\"/a\""];
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
        select(
            &[
                "allow",
                "deny",
                "reject",
                "audit",
                "queue 7",
                "queue 7 bypass",
            ][..],
        ),
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
            word("origdst", ADDRS),
            word("origdport", PORTS),
            word("cgroup", CGROUPS),
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
        .prop_map(
            |(verb, a, b, c, d, e, (f, g, h, o, p, q), (i, j, k), (l, m, n))| {
                let words = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q];
                format!(
                    "{verb}{}\n",
                    words.into_iter().flatten().collect::<String>()
                )
            },
        )
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

fn flow() -> impl Strategy<Value = Flow> {
    let state = || select(State::ALL);
    let connection = (state(), any::<bool>(), 0..3u32, option::of(0..4u16)).prop_map(
        |(state, reply, to, port)| Connection {
            state,
            reply,
            over: false,
            to: IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + to)),
            port,
        },
    );
    prop_oneof![
        1 => Just(Flow::Unasked),
        1 => Just(Flow::Fragment),
        1 => state().prop_map(|state| Flow::Known(state, None)),
        3 => connection.prop_map(|known| Flow::Known(known.state, Some(known))),
    ]
}

fn socket() -> impl Strategy<Value = SocketCgroup> {
    let path = select(&["/", "/a", "/a/b", "/a/bb", "/c"][..]);
    prop_oneof![
        1 => Just(SocketCgroup::Unknown),
        1 => Just(SocketCgroup::Fragment),
        1 => Just(SocketCgroup::NoSocket),
        3 => path.prop_map(|path| SocketCgroup::In(cgroup::lineage(path.as_bytes()).unwrap())),
    ]
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
        (transport, any::<bool>(), flow(), socket()),
    )
        .prop_map(
            |((hook, inode, input, output), addr, proto, (transport, later, flow, cgroup))| {
                Packet {
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
                        addrs: addr.and_then(|addr| AddrPair::new(addr, addr)),
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
                    flow,
                    cgroup,
                }
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
    fn none_is_overlooked_among_others(rules in vec(rule(), 2..12)) {
        let (policy, _) = Policy::parse(format!("{SETS}{}", rules.concat()).as_bytes());
        let (warnings, _) = shadow::warnings(&policy);
        // In the order in which they are judged.
        let rules = policy.rules();
        for (index, later) in rules.iter().enumerate() {
            let covers = |earlier: &String| {
                let text = format!("{SETS}{earlier}\n{later}\n");
                let (two, _) = Policy::parse(text.as_bytes());
                !shadow::warnings(&two).0.is_empty()
            };
            let first = rules[..index].iter().position(covers);
            let told = warnings.iter().find(|warning| warning.rule == Some(index + 1));
            let told = told.and_then(|warning| warning.shadowed_by).map(|place| place.rule - 1);
            prop_assert_eq!(told, first, "{}", later);
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

/// The numbers of the rules that are warned of, and by which rule each is covered.
fn covered(text: &str) -> Vec<(usize, usize)> {
    let (policy, problems) = Policy::parse(text.as_bytes());
    assert_eq!(problems, []);
    let (warnings, complete) = shadow::warnings(&policy);
    assert!(complete);
    let pair = |warning: &Problem| Some((warning.rule?, warning.shadowed_by?.rule));
    warnings.iter().filter_map(pair).collect()
}

#[test]
fn whatever_the_rule_is_found_by() {
    for (wide, narrow) in [
        ("from 10.0.0.0/8", "from 10.1.0.0/16"),
        ("from 0.0.0.0/0", "from { 10.1.2.3, 192.0.2.1 }"),
        (
            "from { 10.0.0.0/8, fe80::/10 }",
            "from { fe80::1, 10.1.2.3 }",
        ),
        ("to 10.0.0.1-10.0.0.9", "to 10.0.0.1-10.0.0.9 in lo"),
        ("dport 80", "dport 80 in lo"),
        ("dport 1-100", "dport 5"),
        ("dport 1-100", "dport 5-100"),
        ("dport { 80, 443 }", "dport { 443, 80 }"),
        ("in *", "in eth0"),
        ("in eth*", "in eth1*"),
        ("in { lo, eth* }", "in eth*"),
        ("hook forward,local_in", "hook local_in"),
        ("mark 1/3", "mark 1/3 family ipv4"),
        ("dport !80", "dport !{ 443, 80 }"),
        ("", "icmp-type 8"),
    ] {
        // Others, before, between and behind, that have little in common with them.
        let other = |n: u32| format!("deny from 192.0.2.{n} dport 7{n} out br{n}\n");
        let text = format!(
            "{}deny {wide}\n{}deny {narrow}\n{}",
            other(1),
            other(2),
            other(3)
        );
        let found = covered(&text);
        assert!(found.contains(&(4, 2)), "{wide}: {narrow}: {found:?}");
    }
}

#[test]
fn all_of_a_large_table_are_compared() {
    let rule = |n: u32| {
        format!(
            "deny from 10.{}.{}.0/24 proto tcp dport 443\n",
            n / 256,
            n % 256
        )
    };
    let mut text: String = (0..50_000).map(rule).collect();
    assert_eq!(covered(&text), []);
    text += "deny from 10.99.7.7 proto tcp dport 443\n";
    assert_eq!(covered(&text), [(50_001, 99 * 256 + 7 + 1)]);
}

/// Takes a text as the module does.
#[derive(Default)]
struct Whole(Addition<Heap>);

impl Sink<Table> for Whole {
    type Error = NoMemory;

    fn accept(&mut self, item: Statement<'_>) -> Result<(), Refusal<NoMemory>> {
        match item {
            Statement::Edit(_) => Err(Refusal::Expected(NO_EDIT)),
            item => self.0.accept(item, None),
        }
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
