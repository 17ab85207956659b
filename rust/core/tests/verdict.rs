// SPDX-License-Identifier: GPL-2.0

//! Who decides about a packet: rules, defaults, and what holds where a packet does not show what a
//! rule asks for.

mod common;

use common::clauses;
use common::oracle::{
    self, Addr, Addrs, Group, IcmpKind, Listed, Netns, Says, Seen, Shown, Tracked, Want,
    WantDefault,
};
use common::packet::{name, CONTAINER};
use common::plan::{plan, Extension, Payload, Plan};
use common::text::{append, listing, load, policy};
use ctrfw_core::addr::KernelAddr;
use ctrfw_core::family::Family;
use ctrfw_core::flags::Flag as _;
use ctrfw_core::flow::State;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IfPattern};
use ctrfw_core::matcher::{Doubt, Matches};
use ctrfw_core::memory::Heap;
use ctrfw_core::packet::{Headers, Packet, TcpFlags, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::parser::{Grammar, Trace, TraceStatement};
use ctrfw_core::policy::Policy;
use ctrfw_core::reject::{Reply, Unreachable};
use ctrfw_core::rule::{Decider, Verb};
use ctrfw_core::value::Value;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence, Index};

// Few values, so that rules and packets meet.

fn bits(v6: bool) -> impl Strategy<Value = u128> {
    let (high, low) = if v6 {
        (0x2001_0db8u128 << 96, 126)
    } else {
        (0x0a00_0000, 30)
    };
    (0..4u128, 0..4u128).prop_map(move |(first, last)| high | (first << (low - 14)) | last)
}

fn addrs(v6: bool) -> BoxedStrategy<Addrs> {
    let lens = if v6 {
        vec![0, 1, 63, 64, 112, 127, 128]
    } else {
        vec![0, 1, 14, 16, 31, 32]
    };
    let addr = move |bits| Addr { v6, bits };
    prop_oneof![
        3 => (bits(v6), select(lens)).prop_map(move |(bits, len)| Addrs::Prefix(addr(bits), len)),
        1 => (bits(v6), bits(v6)).prop_map(move |(a, b)| Addrs::Range(addr(a.min(b)), addr(a.max(b)))),
    ]
    .boxed()
}

/// Values of a word: mostly one, now and then negated, or none at all.
fn listed<T: Clone + std::fmt::Debug + 'static>(
    weight: f64,
    value: BoxedStrategy<T>,
) -> BoxedStrategy<Option<Listed<T>>> {
    let values = prop_oneof![3 => vec(value.clone(), 1), 1 => vec(value, 2..4)];
    option::weighted(weight, (values, proptest::bool::weighted(0.2)))
        .prop_map(|given| {
            given.map(|(values, negated)| Listed {
                negated,
                values,
                set: None,
            })
        })
        .boxed()
}

fn ports() -> impl Strategy<Value = (u16, u16)> {
    (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn port() -> impl Strategy<Value = u16> {
    select(vec![0, 1, 80, 81, 65534, 65535])
}

fn proto() -> impl Strategy<Value = u8> {
    select(vec![1, 6, 17, 33, 47, 58, 132, 136])
}

fn netns() -> impl Strategy<Value = Netns> {
    prop_oneof![
        Just(Netns::Host),
        Just(Netns::Container),
        (1..4u32).prop_map(Netns::Inode),
    ]
}

fn hooks() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        2 => Just(vec![]),
        2 => subsequence(vec![0, 1, 2, 3, 4], 1..=5),
    ]
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        3 => Just(Says::Allow),
        3 => Just(Says::Deny),
        1 => Just(Says::Reject),
        1 => Just(Says::RejectWith("icmp-host-prohibited", Unreachable::HostProhibited)),
        2 => Just(Says::Audit),
        1 => any::<u16>().prop_map(Says::Queue),
    ]
}

const GROUPS: &[&str] = &["/", "/a", "/a/b", "/ab", "/a/b/c"];

const PORTED: [u8; 5] = [6, 17, 33, 132, 136];

fn want() -> BoxedStrategy<Want> {
    let device = || {
        let names = vec!["eth0", "eth1", "eth*", "e*", "*", "veth0", "eth01*"];
        listed(0.15, select(names).boxed())
    };
    let addrs = any::<bool>().prop_flat_map(|v6| {
        let family = option::weighted(0.1, Just(v6));
        (
            family,
            listed(0.4, addrs(v6)),
            listed(0.4, addrs(v6)),
            listed(0.2, addrs(v6)),
        )
    });
    let icmp = prop_oneof![
        Just(IcmpKind::EchoRequest),
        Just(IcmpKind::PacketTooBig),
        Just(IcmpKind::Redirect),
        select(vec![0, 8, 128]).prop_map(IcmpKind::Number),
    ];
    let transport = (
        listed(0.4, proto().boxed()),
        listed(0.2, (icmp, option::weighted(0.3, 0..2u8)).boxed()),
        listed(0.3, ports().boxed()),
        listed(0.3, ports().boxed()),
        listed(0.15, ports().boxed()),
    );
    let devices = (device(), device(), device(), device());
    // Not all three places negated: nothing would be left.
    let places = option::weighted(
        0.15,
        (
            subsequence(vec!["no", "first", "later"], 1..3),
            any::<bool>(),
        )
            .prop_map(|(values, negated)| Listed {
                negated,
                values,
                set: None,
            }),
    );
    let states = option::weighted(
        0.2,
        (subsequence(State::ALL, 1..5), any::<bool>()).prop_map(|(values, negated)| Listed {
            negated,
            values,
            set: None,
        }),
    );
    let marks = (0..4u32, select(vec![1, 2, 3, u32::MAX]));
    let rest = (
        listed(0.15, marks.boxed()),
        listed(0.15, select(GROUPS).boxed()),
        states,
        places,
        hooks(),
        listed(0.3, netns().boxed()),
    );
    (says(), addrs, transport, devices, rest)
        .prop_map(
            |(says, (v6, from, to, origdst), transport, devices, rest)| {
                let (proto, icmp, sport, dport, origdport) = transport;
                let (input, output, port_in, port_out) = devices;
                let (mark, cgroup, states, places, hooks, netns) = rest;
                // Words that cannot go together.
                let may_be = |protos: &[u8]| match &proto {
                    Some(listed) if !listed.negated => {
                        listed.values.iter().any(|proto| protos.contains(proto))
                    }
                    _ => true,
                };
                let ported = may_be(&PORTED);
                let (sport, dport) = (sport.filter(|_| ported), dport.filter(|_| ported));
                let origdport = origdport.filter(|_| ported || may_be(&[1, 58]));
                let typed = may_be(&[1, 58]) && sport.is_none() && dport.is_none();
                let netns = match says {
                    Says::Queue(_) => Some(Listed {
                        negated: false,
                        values: vec![Netns::Host],
                        set: None,
                    }),
                    _ => netns,
                };
                Want {
                    says,
                    v6,
                    from,
                    to,
                    icmp: icmp.filter(|_| typed),
                    proto,
                    sport,
                    dport,
                    input,
                    output,
                    port_in,
                    port_out,
                    origdst,
                    origdport,
                    mark,
                    cgroup,
                    states,
                    places,
                    hooks,
                    netns,
                }
            },
        )
        .boxed()
}

fn want_default() -> impl Strategy<Value = WantDefault> {
    let says = says().prop_filter("a default decides", |says| !matches!(says, Says::Audit));
    (says, hooks(), option::of(netns())).prop_map(|(says, hooks, netns)| WantDefault {
        says,
        hooks,
        netns: match says {
            Says::Queue(_) => Some(Netns::Host),
            _ => netns,
        },
    })
}

fn seen() -> BoxedStrategy<Seen> {
    let device = || select(vec!["", "eth0", "eth1", "eth01", "veth0", "lo", "e"]);
    let place = (0..5usize, 1..4u32, device(), device(), device(), device());
    let state = || select(State::ALL);
    let addrs = any::<bool>().prop_flat_map(move |v6| {
        let tracked = prop_oneof![
            1 => Just(Tracked::Unasked),
            1 => Just(Tracked::Fragment),
            3 => state().prop_map(Tracked::Alone),
            3 => (state(), bits(v6), option::of(port()), any::<bool>())
                .prop_map(|(state, to, port, reply)| Tracked::Of(state, to, port, reply)),
        ];
        let addrs = option::weighted(0.9, (bits(v6), bits(v6)));
        (Just(v6), addrs, tracked)
    });
    let group = prop_oneof![
        1 => Just(Group::Unknown),
        1 => Just(Group::Fragment),
        1 => Just(Group::NoSocket),
        4 => select(GROUPS).prop_map(Group::In),
    ];
    let icmp = (select(vec![0u8, 2, 5, 8, 128]), 0..2u8);
    (
        place,
        addrs,
        option::weighted(0.9, proto()),
        (0..8u8, proptest::bool::weighted(0.1)),
        (port(), port()),
        icmp,
        (0..4u32, group),
    )
        .prop_map(
            |(place, (v6, addrs, tracked), proto, (shown, first), (source, dest), icmp, rest)| {
                let (mark, group) = rest;
                let (hook, inode, input, output, port_in, port_out) = place;
                let shown = match (shown, proto) {
                    (0, _) => Shown::Nothing,
                    (1, _) => Shown::LaterFragment,
                    (_, Some(1 | 58)) => Shown::Icmp(icmp.0, icmp.1),
                    (_, Some(proto)) if PORTED.contains(&proto) => Shown::Ports(source, dest),
                    (_, Some(_)) => Shown::NoPorts,
                    (_, None) => Shown::Nothing,
                };
                Seen {
                    hook,
                    inode,
                    host: inode == 1,
                    input,
                    output,
                    port_in,
                    port_out,
                    mark,
                    first_fragment: first,
                    v6,
                    addrs,
                    proto,
                    shown,
                    tracked,
                    group,
                }
            },
        )
        .boxed()
}

/// A packet at a hook, of which nothing but its headers matters.
fn at_forward(family: Family, headers: Headers) -> Packet {
    Packet {
        input: name("eth0"),
        output: name("eth1"),
        ..Packet::new(Hook::Forward, CONTAINER, family, headers)
    }
}

proptest! {
    #![proptest_config(common::config(6000))]

    #[test]
    fn the_first_rule_that_matches_decides(
        rules in vec(want(), 0..12),
        mut defaults in vec(want_default(), 0..8),
        packets in vec(seen(), 1..12),
    ) {
        // One for each scope.
        let mut scopes = Vec::new();
        defaults.retain(|default| {
            let scope = default.scope();
            let new = !scopes.contains(&scope);
            scopes.push(scope);
            new
        });
        // Where a default stands in the text does not matter.
        let mut text = String::new();
        for index in 0..rules.len().max(defaults.len()) {
            text.extend(defaults.get(index).map(|default| default.text() + "\n"));
            text.extend(rules.get(index).map(|rule| rule.text() + "\n"));
        }
        let policy = policy(&text);
        for seen in packets {
            let mut audited = vec![];
            let decision = policy.decide(&seen.packet(), |index| audited.push(index));
            prop_assert_eq!(
                (decision, audited),
                oracle::decide(&rules, &defaults, &seen),
                "{}{:#?}", text, seen
            );
        }
    }

    #[test]
    fn a_rule_matches_as_the_oracle_says(want in want(), seen in seen()) {
        let policy = policy(&want.text());
        prop_assert_eq!(decides(&policy, 0, &seen.packet()), want.holds(&seen), "{}", want.text());
    }

    /// A table is the same, and decides the same, however much of it was added later.
    #[test]
    fn adding_is_writing_it_at_once(
        rules in vec(want(), 0..8),
        defaults in vec(want_default(), 0..4),
        cut: Index,
        seen in seen(),
    ) {
        let mut lines: Vec<String> = rules.iter().map(Want::text).collect();
        for default in &defaults {
            let text = default.text();
            if !lines.contains(&text) {
                lines.push(text);
            }
        }
        let (front, back) = lines.split_at(cut.index(lines.len() + 1));
        let (front, back) = (front.join("\n"), back.join("\n"));
        // Of two defaults for one scope in one text the second is refused.
        let (Ok(front), Ok(_), Ok(whole)) = (
            load(&front), load(&back), load(&lines.join("\n")),
        ) else {
            return Ok(());
        };
        let both = append(&front, &back).unwrap();
        prop_assert_eq!(listing(&both), listing(&whole));
        let decide = |policy: &Policy<Heap>| {
            let mut audited = vec![];
            (policy.decide(&seen.packet(), |index| audited.push(index)), audited)
        };
        prop_assert_eq!(decide(&both), decide(&whole));
    }

    /// Who cuts a packet or damages it gains nothing by it.
    #[test]
    fn what_cannot_be_read_is_denied_and_never_allowed(
        clauses in clauses(),
        plan in plan(),
        keep in any::<[bool; 8]>(),
        cut: Index,
        told: bool,
    ) {
        let mut bytes = plan.bytes();
        let whole = Headers::parse(plan.family(), bytes.as_slice());
        // Words that fit the packet, or are not there, so that many a rule matches it; what it has
        // no word for stays away.
        let mut words: Vec<String> = clauses
            .into_iter()
            .filter(|clause| {
                let key = clause.split(' ').next().unwrap();
                match key {
                    "in" | "out" | "port-in" | "port-out" | "mark" | "netns" => keep[0] && keep[1],
                    "family" | "hook" | "fragment" => keep[0],
                    _ => false,
                }
            })
            .collect();
        let fragment = words.iter().any(|word| word.starts_with("fragment"));
        if let Some(addrs) = whole.addrs {
            let (from, to) = (addrs.source(), addrs.dest());
            let not = if keep[7] { "!" } else { "" };
            let wanted = [(keep[2], "from", from), (keep[3], "to", to)];
            let wanted = wanted.into_iter().filter(|(keep, ..)| *keep);
            words.extend(wanted.map(|(_, key, addr)| format!("{key} {not}{}", KernelAddr(addr))));
        }
        if let (Some(proto), true) = (whole.proto, keep[4]) {
            words.push(format!("proto {proto}"));
        }
        match whole.transport {
            Transport::Ports { source, dest, .. } => {
                words.extend(keep[5].then(|| format!("sport {source}")));
                words.extend(keep[6].then(|| format!("dport !{dest}")));
            }
            Transport::Icmp { kind, code } => {
                words.extend(keep[5].then(|| format!("icmp-type {kind}/{code}")));
            }
            _ => {}
        }
        let cut = cut.index(bytes.len());
        if told && cut >= plan.fixed_len() {
            plan.set_len(&mut bytes, cut);
        }
        let whole = at_forward(plan.family(), whole);
        let part = at_forward(plan.family(), Headers::parse(plan.family(), &bytes[..cut]));
        let words = words.join(" ");
        let Ok(both) = load(&format!("allow {words}\ndeny {words}\n")) else {
            // The family does not fit the addresses.
            return Ok(());
        };
        if decides(&both, 1, &whole) {
            // A fragment's place may be known though it was cut, and then it is another one.
            prop_assert!(fragment || decides(&both, 1, &part), "deny {} no longer holds", words);
        }
        if decides(&both, 0, &part) {
            prop_assert!(fragment || decides(&both, 0, &whole), "allow {} holds only now", words);
        }
        // A trace shows at least what a rule of either kind speaks of.
        for packet in [&whole, &part] {
            let rule = decides(&both, 0, packet) || decides(&both, 1, packet);
            prop_assert!(!rule || traced(&words, packet));
        }
    }
}

/// Whether rule `index` speaks of `packet`.
fn decides(policy: &Policy<Heap>, index: usize, packet: &Packet) -> bool {
    policy.speaks_of(index, packet)
}

/// Whether the expression `words` is for `packet`.
fn traced(words: &str, packet: &Packet) -> bool {
    let expression = if words.is_empty() { "all" } else { words };
    let parsed = Trace::parse(expression.as_bytes(), &mut ());
    let Ok(Some(TraceStatement::Expression(text))) = parsed else {
        panic!("{expression}");
    };
    let mut matches = Matches::<Heap>::default();
    let m = matches.add_expression(&text).unwrap();
    matches.expression_matches(&m, packet, Doubt::TRACE)
}

fn tcp(dest: u16) -> Payload {
    Payload::Tcp {
        source: 40000,
        dest,
        flags: 2,
    }
}

/// The packets of the table below; IPv4 ones go from 10.1.0.2 to 10.1.0.1, IPv6 ones from
/// 2001:db8::2 to 2001:db8::1, ports are 40000 and 80.
fn packet(kind: &str) -> Packet {
    let fragment = |offset, more| Extension::Fragment { offset, more };
    let cut = |plan: Plan, end: usize| {
        let mut bytes = plan.bytes();
        plan.set_len(&mut bytes, end);
        bytes.truncate(end);
        Headers::parse(plan.family(), bytes.as_slice())
    };
    let whole = |plan: Plan| cut(plan.clone(), plan.bytes().len());
    let headers = match kind {
        "whole" => whole(Plan::v4(tcp(80))),
        "whole v6" => whole(Plan::v6(&[], tcp(80))),
        "icmp" => whole(Plan::v4(Payload::Icmpv4 { kind: 8, code: 0 })),
        "gre" => whole(Plan::v4(Payload::Other { proto: 47 })),
        "first" => whole(Plan::v4_fragment(tcp(80), 0, true)),
        "first v6" => whole(Plan::v6(&[fragment(0, true)], tcp(80))),
        "later" => whole(Plan::v4_fragment(tcp(80), 100, true)),
        "last" => whole(Plan::v4_fragment(tcp(80), 100, false)),
        "later v6" => whole(Plan::v6(&[fragment(100, true)], tcp(80))),
        "later icmp" => whole(Plan::v4_fragment(
            Payload::Icmpv4 { kind: 8, code: 0 },
            100,
            true,
        )),
        // It does not even tell its protocol.
        "later, behind a header" => whole(Plan::v6(
            &[fragment(100, true), Extension::Destination(0)],
            tcp(80),
        )),
        "tiny" => whole(Plan::v4_fragment(tcp(80), 1, true)),
        "tiny v6" => whole(Plan::v6(&[fragment(1, true)], tcp(80))),
        // Addresses and protocol are known.
        "no ports" => cut(Plan::v4(tcp(80)), 23),
        "no ports v6" => cut(Plan::v6(&[], tcp(80)), 43),
        "no icmp" => cut(Plan::v4(Payload::Icmpv4 { kind: 8, code: 0 }), 21),
        // The addresses are known.
        "no protocol" => cut(Plan::v6(&[Extension::Destination(0)], tcp(80)), 41),
        "headers" => whole(Plan::v6(&[Extension::Destination(0); 17], tcp(80))),
        "length" => {
            let mut bytes = Plan::v4(tcp(80)).bytes();
            bytes[3] += 1;
            Headers::parse(Family::Ipv4, bytes.as_slice())
        }
        // Nothing is known.
        "nothing" => Headers::parse(Family::Ipv4, [].as_slice()),
        "version" => Headers::parse(Family::Ipv6, Plan::v4(tcp(80)).bytes().as_slice()),
        other => panic!("unknown packet {other}"),
    };
    let v6 = kind.ends_with("v6") || matches!(headers.addrs, Some(AddrPair::V6(..)));
    at_forward(if v6 { Family::Ipv6 } else { Family::Ipv4 }, headers)
}

/// Words, then the packets that match them for a rule that allows (`a`), for one that denies (`d`)
/// and for a trace (`t`).
const DOUBT: &[(&str, &[(&str, &str)])] = &[
    (
        "",
        &[
            ("whole", "adt"),
            ("later", "adt"),
            ("tiny", "adt"),
            ("no ports", "adt"),
            ("length", "adt"),
            ("nothing", "adt"),
        ],
    ),
    (
        "dport 80",
        &[
            ("whole", "adt"),
            ("whole v6", "adt"),
            ("first", "adt"),
            ("first v6", "adt"),
            ("icmp", ""),
            ("gre", ""),
            ("later", "at"),
            ("last", "at"),
            ("later v6", "at"),
            ("later icmp", ""),
            ("later, behind a header", "at"),
            ("tiny", "dt"),
            ("tiny v6", "dt"),
            ("no ports", "dt"),
            ("no ports v6", "dt"),
            ("no icmp", ""),
            ("no protocol", "dt"),
            ("headers", "dt"),
            ("length", "dt"),
            ("nothing", "dt"),
            ("version", "dt"),
        ],
    ),
    (
        "dport 81",
        &[
            ("whole", ""),
            ("first", ""),
            ("later", "at"),
            ("tiny", "dt"),
            ("no ports", "dt"),
            ("length", "dt"),
            ("nothing", "dt"),
        ],
    ),
    (
        "sport 40000",
        &[
            ("whole", "adt"),
            ("later", "at"),
            ("last", "at"),
            ("tiny", "dt"),
            ("no ports", "dt"),
            ("later icmp", ""),
            ("nothing", "dt"),
        ],
    ),
    (
        "sport 40000 dport 81",
        &[
            ("whole", ""),
            ("later", "at"),
            ("no ports", "dt"),
            ("nothing", "dt"),
        ],
    ),
    (
        "proto tcp",
        &[
            ("whole", "adt"),
            ("icmp", ""),
            ("first", "adt"),
            ("later", "adt"),
            ("later v6", "adt"),
            ("later icmp", ""),
            ("later, behind a header", "at"),
            ("tiny", "adt"),
            ("no ports", "adt"),
            ("no ports v6", "adt"),
            ("no protocol", "dt"),
            ("headers", "dt"),
            ("length", "dt"),
            ("nothing", "dt"),
            ("version", "dt"),
        ],
    ),
    (
        "proto udp",
        &[
            ("whole", ""),
            ("later", ""),
            ("later, behind a header", "at"),
            ("tiny", ""),
            ("no ports", ""),
            ("no protocol", "dt"),
            ("length", "dt"),
            ("nothing", "dt"),
        ],
    ),
    (
        "proto icmp",
        &[
            ("icmp", "adt"),
            ("later icmp", "adt"),
            ("no icmp", "adt"),
            ("no ports", ""),
            ("later", ""),
            ("length", "dt"),
        ],
    ),
    (
        "proto tcp dport 80",
        &[
            ("whole", "adt"),
            ("later", "at"),
            ("tiny", "dt"),
            ("no ports", "dt"),
            ("later, behind a header", "at"),
            ("no protocol", "dt"),
            ("length", "dt"),
            ("nothing", "dt"),
        ],
    ),
    (
        "proto udp dport 80",
        &[
            ("whole", ""),
            ("later", ""),
            ("tiny", ""),
            ("no ports", ""),
            ("later, behind a header", "at"),
            ("no protocol", "dt"),
            ("length", "dt"),
        ],
    ),
    (
        "from 10.1.0.0/16",
        &[
            ("whole", "adt"),
            ("whole v6", ""),
            ("later", "adt"),
            ("tiny", "adt"),
            ("no ports", "adt"),
            ("no protocol", ""),
            ("headers", ""),
            ("length", "adt"),
            ("nothing", "dt"),
            ("version", "dt"),
        ],
    ),
    (
        "to 10.2.0.0/16",
        &[
            ("whole", ""),
            ("later", ""),
            ("tiny", ""),
            ("no ports", ""),
            ("length", ""),
            ("nothing", "dt"),
        ],
    ),
    (
        "from 10.1.0.0/16 to 10.2.0.0/16",
        &[("whole", ""), ("length", ""), ("nothing", "dt")],
    ),
    (
        "from 10.1.0.0/16 dport 80",
        &[
            ("whole", "adt"),
            ("later", "at"),
            ("no ports", "dt"),
            ("length", "dt"),
            ("no protocol", ""),
            ("nothing", "dt"),
        ],
    ),
    (
        "from 10.2.0.0/16 dport 80",
        &[
            ("whole", ""),
            ("later", ""),
            ("no ports", ""),
            ("length", ""),
            ("nothing", "dt"),
        ],
    ),
    (
        "in eth0 out eth1 hook forward netns container",
        &[("whole", "adt"), ("later", "adt"), ("nothing", "adt")],
    ),
    // What the packet's place tells is never in doubt.
    ("in eth1", &[("whole", ""), ("later", ""), ("nothing", "")]),
    ("out eth0", &[("whole", ""), ("later", ""), ("nothing", "")]),
    (
        "hook input",
        &[("whole", ""), ("later", ""), ("nothing", "")],
    ),
    (
        "netns host",
        &[("whole", ""), ("later", ""), ("nothing", "")],
    ),
    (
        "netns 3 dport 80",
        &[("whole", ""), ("later", ""), ("nothing", "")],
    ),
];

#[test]
fn doubt() {
    for (words, packets) in DOUBT {
        let both = policy(&format!(
            "allow {words}\ndeny {words}\nreject {words}\naudit {words}\n"
        ));
        for (kind, expected) in *packets {
            let packet = packet(kind);
            let mut found = String::new();
            if decides(&both, 0, &packet) {
                found.push('a');
            }
            if decides(&both, 1, &packet) {
                found.push('d');
            }
            assert_eq!(decides(&both, 2, &packet), decides(&both, 1, &packet));
            assert_eq!(decides(&both, 3, &packet), decides(&both, 1, &packet));
            if traced(words, &packet) {
                found.push('t');
            }
            assert_eq!(
                &found, expected,
                "`{words}` and a packet of kind \"{kind}\""
            );
        }
    }
}

/// Tables, and who decides about packets under them: a rule's number, `d` and a default's (both
/// from 1), or `-`; then `a` and the number of each rule that audits them.
#[test]
fn policies() {
    #[rustfmt::skip]
    let policies: &[(&str, &[(&str, &str)])] = &[
        ("", &[("whole", "allow -"), ("nothing", "allow -")]),
        // A published port: the first fragment decides, the others pass.
        (
            "allow proto tcp dport 80\ndefault deny",
            &[("whole", "allow 1"), ("first", "allow 1"), ("later", "allow 1"), ("last", "allow 1"),
                ("icmp", "deny d1"), ("later icmp", "deny d1"), ("tiny", "deny d1"),
                ("no ports", "deny d1"), ("length", "deny d1"), ("nothing", "deny d1")],
        ),
        // A forbidden port: later fragments pass, what cannot be read does not.
        (
            "deny dport 80",
            &[("whole", "deny 1"), ("first", "deny 1"), ("later", "allow -"), ("last", "allow -"),
                ("icmp", "allow -"), ("tiny", "deny 1"), ("no ports", "deny 1"),
                ("headers", "deny 1"), ("length", "deny 1"), ("nothing", "deny 1"),
                ("version", "deny 1"), ("no icmp", "allow -")],
        ),
        (
            "deny dport 22\nallow proto tcp\ndeny",
            &[("whole", "allow 2"), ("later", "allow 2"), ("tiny", "deny 1"), ("icmp", "deny 3"),
                ("length", "deny 1")],
        ),
        // All that is no fragment and can be read goes to the first rule, either way round.
        (
            "allow from 10.1.0.2\ndeny from 10.1.0.2",
            &[("whole", "allow 1"), ("nothing", "deny 2"), ("whole v6", "allow -")],
        ),
        (
            "deny from 10.1.0.2\nallow from 10.1.0.2",
            &[("whole", "deny 1"), ("nothing", "deny 1"), ("whole v6", "allow -")],
        ),
        // Defaults: the narrower scope decides, wherever it stands.
        (
            "default deny\ndefault allow netns container",
            &[("whole", "allow d2")],
        ),
        (
            "default allow netns container\ndefault deny",
            &[("whole", "allow d1")],
        ),
        (
            "default allow hook forward\ndefault deny netns container",
            &[("whole", "deny d2")],
        ),
        (
            "default deny netns container\ndefault allow netns container hook forward",
            &[("whole", "allow d2")],
        ),
        (
            "default deny netns 4026532183\ndefault allow netns container hook forward",
            &[("whole", "deny d1")],
        ),
        (
            "default deny hook forward,input\ndefault allow hook forward",
            &[("whole", "deny d1")],
        ),
        (
            "default deny hook input\ndefault deny netns host\ndefault deny netns 3",
            &[("whole", "allow -")],
        ),
        // To reject is to deny, and to say so.
        (
            "reject dport 80",
            &[("whole", "reject 1"), ("first", "reject 1"), ("later", "allow -"),
                ("tiny", "reject 1"), ("no ports", "reject 1"), ("nothing", "reject 1")],
        ),
        (
            "allow proto tcp dport 22\nreject with tcp-reset proto tcp\ndefault reject with icmp-host-prohibited",
            &[("whole", "reject with tcp-reset 2"), ("later", "allow 1"),
                ("icmp", "reject with icmp-host-prohibited d1"), ("tiny", "reject with tcp-reset 2")],
        ),
        // What is audited goes on to the next rule, in doubt as what is denied.
        (
            "audit dport 80\naudit\nallow proto tcp\naudit\ndefault deny",
            &[("whole", "allow 3 a1 a2"), ("later", "allow 3 a2"), ("icmp", "deny d1 a2 a4"),
                ("no ports", "allow 3 a1 a2"), ("nothing", "deny d1 a1 a2 a4")],
        ),
        (
            "audit from 10.1.0.0/16\ndeny dport 80\naudit",
            &[("whole", "deny 2 a1"), ("icmp", "allow - a1 a3"), ("whole v6", "deny 2")],
        ),
        // A default is not asked where a rule has spoken.
        ("default deny netns 4026532183 hook forward\nallow", &[("whole", "allow 1")]),
    ];
    for (text, packets) in policies {
        let policy = policy(text);
        for (kind, expected) in *packets {
            let mut audited = String::new();
            let decision = policy.decide(&packet(kind), |index| {
                audited += &format!(" a{}", index + 1);
            });
            let decider = match decision.decider {
                Decider::Rule(index) => format!("{}", index + 1),
                Decider::Default(index) => format!("d{}", index + 1),
                Decider::Nobody => "-".to_owned(),
                Decider::Failsafe => "f".to_owned(),
            };
            let found = format!("{} {decider}{audited}", decision.verb);
            assert_eq!(&found, expected, "`{text}` and a packet of kind \"{kind}\"");
        }
    }
}

/// What a rule says behind `reject`, and the codes of the two families: what the kernel's headers
/// call ICMP_..._UNREACH and ICMP_..._ANO, ICMPV6_NOROUTE, ICMPV6_ADM_PROHIBITED and so on.
const CODES: [(&str, u8, u8); 7] = [
    ("icmp-net-unreachable", 0, 0),
    ("icmp-host-unreachable", 1, 3),
    ("icmp-proto-unreachable", 2, 4),
    ("icmp-port-unreachable", 3, 4),
    ("icmp-net-prohibited", 9, 1),
    ("icmp-host-prohibited", 10, 1),
    ("icmp-admin-prohibited", 13, 1),
];

#[test]
fn replies() {
    let reply = |text: &str, kind: &str| {
        let policy = policy(text);
        let packet = packet(kind);
        let Verb::Reject(answer) = policy.rules().get(0).unwrap().verb else {
            panic!("{text}");
        };
        answer.reply(packet.family, &packet.headers)
    };
    // By the protocol, if the rule does not say.
    for (kind, expected) in [
        ("whole", Some(Reply::Reset)),
        ("whole v6", Some(Reply::Reset)),
        ("first", Some(Reply::Reset)),
        ("icmp", Some(Reply::Unreachable(3))),
        ("gre", Some(Reply::Unreachable(3))),
        ("later", None),
        ("last", None),
        ("later v6", None),
        ("later icmp", None),
        ("later, behind a header", None),
        ("tiny", None),
        ("no ports", None),
        ("no icmp", None),
        ("no protocol", None),
        ("headers", None),
        ("length", None),
        ("nothing", None),
        ("version", None),
    ] {
        assert_eq!(reply("reject", kind), expected, "{kind}");
        if kind != "icmp" && kind != "gre" {
            let reset = reply("reject with tcp-reset proto tcp", kind);
            assert_eq!(reset, expected, "{kind}");
        }
    }
    assert_eq!(reply("reject with tcp-reset proto tcp", "icmp"), None);
    for (word, ipv4, ipv6) in CODES {
        let text = format!("reject with {word}");
        assert_eq!(reply(&text, "whole"), Some(Reply::Unreachable(ipv4)));
        assert_eq!(reply(&text, "gre"), Some(Reply::Unreachable(ipv4)));
        assert_eq!(reply(&text, "whole v6"), Some(Reply::Unreachable(ipv6)));
        assert_eq!(reply(&text, "later"), None);
        assert_eq!(reply(&text, "nothing"), None);
    }
    // No reset is answered, whatever else it carries, nor what might be one.
    let mut headers = packet("whole").headers;
    for flags in (0..=255).map(|flags| Some(TcpFlags(flags))).chain([None]) {
        if let Transport::Ports { flags: slot, .. } = &mut headers.transport {
            *slot = flags;
        }
        let silent = flags.is_none_or(|flags| flags.to_string().contains("RST"));
        for answer in common::ANSWERS {
            let reply = answer.reply(Family::Ipv4, &headers);
            assert_eq!(reply.is_none(), silent, "{answer:?} {flags:?}");
        }
    }
}

#[test]
fn interfaces() {
    let field = |text: &[u8]| {
        let mut field = [0; 16];
        field[..text.len()].copy_from_slice(text);
        IfName::from_field(field)
    };
    for (pattern, device, expected) in [
        ("eth0", "eth0", true),
        ("eth0", "eth", false),
        ("eth0", "eth00", false),
        ("eth0", "Eth0", false),
        ("eth0", "", false),
        ("eth*", "eth", true),
        ("eth*", "eth0", true),
        ("eth*", "eth0.100", true),
        ("eth*", "veth0", false),
        ("eth*", "et", false),
        ("eth*", "", false),
        ("*", "x", true),
        ("*", "", false),
        (".*", ".x", true),
        ("abcdefghijklmno", "abcdefghijklmno", true),
        ("abcdefghijklmno*", "abcdefghijklmno", true),
        ("abcdefghijklmno*", "abcdefghijklmn", false),
    ] {
        let pattern = IfPattern::parse(pattern.as_bytes()).unwrap();
        assert_eq!(
            pattern.matches(&field(device.as_bytes())),
            expected,
            "{pattern} {device}"
        );
    }
    // What stands behind the first NUL of the kernel's field is no part of the name.
    let pattern = IfPattern::parse(b"eth0").unwrap();
    assert!(pattern.matches(&field(b"eth0\0x")));
    assert_eq!(field(b"eth0\0x"), field(b"eth0"));
    assert_eq!(field(b"eth0\0x").as_bytes(), b"eth0");
    assert_eq!(field(b"\0eth0").as_bytes(), b"");
    assert_eq!(field(b"0123456789abcdef").as_bytes(), b"0123456789abcdef");
}

#[test]
fn hooks_have_the_kernel_s_numbers() {
    // enum nf_inet_hooks
    let numbers = [
        (0, Hook::PreRouting),
        (1, Hook::LocalIn),
        (2, Hook::Forward),
        (3, Hook::LocalOut),
        (4, Hook::PostRouting),
    ];
    for (number, hook) in numbers {
        assert_eq!(Hook::from_number(number), Some(hook));
        assert_eq!(hook as u8, number);
    }
    for number in 5..=255 {
        assert_eq!(Hook::from_number(number), None);
    }
}
