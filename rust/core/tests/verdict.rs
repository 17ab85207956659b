// SPDX-License-Identifier: GPL-2.0

//! Who decides about a packet: rules, defaults, and what holds where a packet does not show what a
//! rule asks for.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::plan::{plan, Extension, Payload, Plan};
use common::{load, matches, name};
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IfPattern};
use ctrfw_core::matcher::Doubt;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Family, Fragment, Headers, Packet, TcpFlags, Transport};
use ctrfw_core::parser::{Grammar, Statement, Table, Trace, TraceStatement};
use ctrfw_core::proto::Protocol;
use ctrfw_core::reject::{Answer, Reply, Unreachable};
use ctrfw_core::rule::{decide, Decider, Decision, DefaultVerb, Rule, Verb};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence, Index};

/// Rules and defaults of a table.
fn table(text: &str) -> (Vec<Rule>, Vec<DefaultVerb>) {
    let (statements, result) = load::<Table>([text.as_bytes()]);
    assert_eq!(result, Ok(()), "{text}");
    let (mut rules, mut defaults) = (Vec::new(), Vec::new());
    for statement in statements {
        match statement {
            Statement::Rule(rule) => rules.push(rule),
            Statement::Default(default) => defaults.push(default),
            Statement::Mode(_) => {}
        }
    }
    (rules, defaults)
}

/// The oracle: numbers and texts, compared one after the other.
mod oracle {
    use super::*;

    pub const HOOKS: [(Hook, &str); 5] = [
        (Hook::PreRouting, "pre_routing"),
        (Hook::LocalIn, "input"),
        (Hook::Forward, "forward"),
        (Hook::PostRouting, "postrouting"),
        (Hook::LocalOut, "local_out"),
    ];

    #[derive(Clone, Copy, Debug)]
    pub struct Addr {
        pub v6: bool,
        pub bits: u128,
    }

    impl Addr {
        pub fn ip(self) -> IpAddr {
            if self.v6 {
                Ipv6Addr::from(self.bits).into()
            } else {
                Ipv4Addr::from(self.bits as u32).into()
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    pub enum Netns {
        Host,
        Container,
        Inode(u32),
    }

    impl Netns {
        fn text(self) -> String {
            match self {
                Self::Host => "host".to_owned(),
                Self::Container => "container".to_owned(),
                Self::Inode(inode) => inode.to_string(),
            }
        }

        fn holds(self, seen: &Seen) -> bool {
            match self {
                Self::Host => seen.host,
                Self::Container => !seen.host,
                Self::Inode(inode) => seen.inode == inode,
            }
        }
    }

    /// The verb of a rule.
    #[derive(Clone, Copy, Debug)]
    pub enum Says {
        Allow,
        Deny,
        Reject,
        RejectWith(&'static str, Unreachable),
        Audit,
    }

    impl Says {
        fn text(self) -> String {
            match self {
                Self::Allow => "allow".to_owned(),
                Self::Deny => "deny".to_owned(),
                Self::Reject => "reject".to_owned(),
                Self::Audit => "audit".to_owned(),
                Self::RejectWith(word, _) => format!("reject with {word}"),
            }
        }

        fn allows(self) -> bool {
            matches!(self, Self::Allow)
        }

        fn verb(self) -> Verb {
            match self {
                Self::Allow => Verb::Allow,
                Self::Deny => Verb::Deny,
                Self::Reject => Verb::Reject(Answer::ByProtocol),
                Self::Audit => Verb::Audit,
                Self::RejectWith(_, error) => Verb::Reject(Answer::Icmp(error)),
            }
        }
    }

    #[derive(Clone, Debug)]
    pub struct Want {
        pub says: Says,
        pub from: Option<(Addr, u32)>,
        pub to: Option<(Addr, u32)>,
        pub proto: Option<u8>,
        pub sport: Option<(u16, u16)>,
        pub dport: Option<(u16, u16)>,
        pub input: Option<&'static str>,
        pub output: Option<&'static str>,
        pub hooks: Vec<usize>,
        pub netns: Option<Netns>,
    }

    #[derive(Clone, Debug)]
    pub struct WantDefault {
        pub says: Says,
        pub hooks: Vec<usize>,
        pub netns: Option<Netns>,
    }

    #[derive(Clone, Copy, Debug)]
    pub enum Shown {
        Ports(u16, u16),
        NoPorts,
        LaterFragment,
        Nothing,
    }

    #[derive(Clone, Debug)]
    pub struct Seen {
        pub hook: usize,
        pub inode: u32,
        pub host: bool,
        pub input: &'static str,
        pub output: &'static str,
        pub v6: bool,
        pub addrs: Option<(u128, u128)>,
        pub proto: Option<u8>,
        pub shown: Shown,
    }

    fn scope(hooks: &[usize], netns: Option<Netns>) -> String {
        let mut text = String::new();
        if !hooks.is_empty() {
            let names: Vec<&str> = hooks.iter().map(|hook| HOOKS[*hook].1).collect();
            text += &format!(" hook {}", names.join(","));
        }
        if let Some(netns) = netns {
            text += &format!(" netns {}", netns.text());
        }
        text
    }

    impl Want {
        pub fn text(&self) -> String {
            let mut text = self.says.text();
            for (key, addr) in [("from", self.from), ("to", self.to)] {
                if let Some((addr, len)) = addr {
                    text += &format!(" {key} {}/{len}", addr.ip());
                }
            }
            if let Some(proto) = self.proto {
                text += &format!(" proto {proto}");
            }
            for (key, ports) in [("sport", self.sport), ("dport", self.dport)] {
                if let Some((first, last)) = ports {
                    text += &format!(" {key} {first}-{last}");
                }
            }
            for (key, device) in [("in", self.input), ("out", self.output)] {
                if let Some(device) = device {
                    text += &format!(" {key} {device}");
                }
            }
            text + &scope(&self.hooks, self.netns)
        }

        pub fn holds(&self, seen: &Seen) -> bool {
            // A field that could not be read: a rule that refuses takes it for what it asks for.
            let unknown = !self.says.allows();

            let addr = |wanted: Option<(Addr, u32)>, shown: Option<u128>| match (wanted, shown) {
                (None, _) => true,
                (Some(_), None) => unknown,
                (Some((wanted, len)), Some(shown)) => {
                    let rest = if wanted.v6 { 128 - len } else { 32 - len };
                    let net = |bits: u128| if rest == 128 { 0 } else { bits >> rest };
                    wanted.v6 == seen.v6 && net(wanted.bits) == net(shown)
                }
            };
            let proto = match (self.proto, seen.proto, seen.shown) {
                (None, ..) => true,
                (Some(wanted), Some(shown), _) => wanted == shown,
                (Some(_), None, Shown::LaterFragment) => self.says.allows(),
                (Some(_), None, _) => unknown,
            };
            let may_have_ports =
                seen.proto.is_none() || [6, 17, 33, 132, 136].contains(&seen.proto.unwrap());
            let port =
                |wanted: Option<(u16, u16)>, shown: fn(u16, u16) -> u16| match (wanted, seen.shown)
                {
                    (None, _) => true,
                    (Some((first, last)), Shown::Ports(source, dest)) => {
                        (first..=last).contains(&shown(source, dest))
                    }
                    (Some(_), Shown::NoPorts) => false,
                    (Some(_), Shown::LaterFragment) => self.says.allows() && may_have_ports,
                    (Some(_), Shown::Nothing) => unknown && may_have_ports,
                };
            let device = |wanted: Option<&str>, shown: &str| match wanted {
                None => true,
                Some(wanted) => match wanted.strip_suffix('*') {
                    Some(front) => !shown.is_empty() && shown.starts_with(front),
                    None => shown == wanted,
                },
            };
            addr(self.from, seen.addrs.map(|addrs| addrs.0))
                && addr(self.to, seen.addrs.map(|addrs| addrs.1))
                && proto
                && port(self.sport, |source, _| source)
                && port(self.dport, |_, dest| dest)
                && device(self.input, seen.input)
                && device(self.output, seen.output)
                && (self.hooks.is_empty() || self.hooks.contains(&seen.hook))
                && self.netns.is_none_or(|netns| netns.holds(seen))
        }
    }

    impl WantDefault {
        pub fn text(&self) -> String {
            format!(
                "default {}{}",
                self.says.text(),
                scope(&self.hooks, self.netns)
            )
        }

        fn holds(&self, seen: &Seen) -> bool {
            (self.hooks.is_empty() || self.hooks.contains(&seen.hook))
                && self.netns.is_none_or(|netns| netns.holds(seen))
        }

        /// How narrow it is: the namespace first, then whether a hook is given. All five hooks are
        /// none given.
        fn narrowness(&self) -> (u8, bool) {
            let netns = match self.netns {
                None => 0,
                Some(Netns::Host | Netns::Container) => 1,
                Some(Netns::Inode(_)) => 2,
            };
            (netns, (1..5).contains(&self.hooks.len()))
        }
    }

    /// The decision, and the rules that audit the packet on the way to it.
    pub fn decide(rules: &[Want], defaults: &[WantDefault], seen: &Seen) -> (Decision, Vec<usize>) {
        let (audits, others): (Vec<_>, Vec<_>) = (0..rules.len())
            .filter(|index| rules[*index].holds(seen))
            .partition(|index| matches!(rules[*index].says, Says::Audit));
        let end = others.first().copied();
        let before_end = |index: &usize| end.is_none_or(|end| *index < end);
        let audited = audits.into_iter().filter(before_end).collect();
        let decision = match end {
            Some(index) => Decision {
                verb: rules[index].says.verb(),
                decider: Decider::Rule(index),
            },
            None => by_default(defaults, seen),
        };
        (decision, audited)
    }

    fn by_default(defaults: &[WantDefault], seen: &Seen) -> Decision {
        let mut fitting: Vec<(usize, &WantDefault)> = defaults
            .iter()
            .enumerate()
            .filter(|(_, default)| default.holds(seen))
            .collect();
        // The sort is stable: of equals the first stays first.
        fitting.sort_by_key(|(_, default)| std::cmp::Reverse(default.narrowness()));
        match fitting.first() {
            Some((index, default)) => Decision {
                verb: default.says.verb(),
                decider: Decider::Default(*index),
            },
            None => Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            },
        }
    }

    impl Seen {
        pub fn packet(&self) -> Packet {
            let ip = |bits| Addr { v6: self.v6, bits }.ip();
            let proto = self.proto.map(Protocol);
            Packet {
                hook: HOOKS[self.hook].0,
                netns: NetnsId {
                    inode: self.inode,
                    host: self.host,
                },
                input: name(self.input),
                output: name(self.output),
                headers: Headers {
                    addrs: self.addrs.map(|(from, to)| (ip(from), ip(to))),
                    proto,
                    transport: match self.shown {
                        Shown::Ports(source, dest) => Transport::Ports {
                            source,
                            dest,
                            flags: None,
                        },
                        Shown::NoPorts if proto == Some(Protocol::ICMP) => {
                            Transport::Icmp { kind: 8, code: 0 }
                        }
                        Shown::NoPorts => Transport::Other,
                        Shown::LaterFragment => Transport::LaterFragment,
                        Shown::Nothing => Transport::Unreadable,
                    },
                    fragment: match self.shown {
                        Shown::LaterFragment => Fragment::Later(64),
                        _ => Fragment::No,
                    },
                    len: 100,
                    unparsed: None,
                },
            }
        }
    }
}

use oracle::{Addr, Netns, Says, Seen, Shown, Want, WantDefault};

// Few values, so that rules and packets meet.

fn bits(v6: bool) -> impl Strategy<Value = u128> {
    let (high, low) = if v6 {
        (0x2001_0db8u128 << 96, 126)
    } else {
        (0x0a00_0000, 30)
    };
    (0..4u128, 0..4u128).prop_map(move |(first, last)| high | (first << (low - 14)) | last)
}

fn prefix(v6: bool) -> impl Strategy<Value = (Addr, u32)> {
    let lens = if v6 {
        vec![0, 1, 63, 64, 112, 127, 128]
    } else {
        vec![0, 1, 14, 16, 31, 32]
    };
    (bits(v6), select(lens)).prop_map(move |(bits, len)| (Addr { v6, bits }, len))
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
    ]
}

fn want() -> BoxedStrategy<Want> {
    let device = || {
        option::weighted(
            0.2,
            select(vec!["eth0", "eth1", "eth*", "e*", "*", "veth0", "eth01*"]),
        )
    };
    let addrs = any::<bool>().prop_flat_map(|v6| {
        (
            option::weighted(0.4, prefix(v6)),
            option::weighted(0.4, prefix(v6)),
        )
    });
    let rest = (
        option::weighted(0.4, ports()),
        option::weighted(0.4, ports()),
        hooks(),
    );
    (
        says(),
        addrs,
        option::weighted(0.4, proto()),
        rest,
        (device(), device()),
        option::weighted(0.3, netns()),
    )
        .prop_map(
            |(says, (from, to), proto, (sport, dport, hooks), (input, output), netns)| {
                let ported = proto.is_none_or(|proto| [6, 17, 33, 132, 136].contains(&proto));
                Want {
                    says,
                    from,
                    to,
                    proto,
                    sport: sport.filter(|_| ported),
                    dport: dport.filter(|_| ported),
                    input,
                    output,
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
        netns,
    })
}

fn seen() -> BoxedStrategy<Seen> {
    let device = || select(vec!["", "eth0", "eth1", "eth01", "veth0", "lo", "e"]);
    let place = (0..5usize, 1..4u32, device(), device());
    let addrs =
        any::<bool>().prop_flat_map(|v6| (Just(v6), option::weighted(0.9, (bits(v6), bits(v6)))));
    (
        place,
        addrs,
        option::weighted(0.9, proto()),
        0..8u8,
        port(),
        port(),
    )
        .prop_map(
            |((hook, inode, input, output), (v6, addrs), proto, shown, source, dest)| {
                let ported = proto.is_some_and(|proto| [6, 17, 33, 132, 136].contains(&proto));
                let shown = match shown {
                    0 => Shown::Nothing,
                    1 => Shown::LaterFragment,
                    _ if ported => Shown::Ports(source, dest),
                    _ if proto.is_some() => Shown::NoPorts,
                    _ => Shown::Nothing,
                };
                let host = inode == 1;
                Seen {
                    hook,
                    inode,
                    host,
                    input,
                    output,
                    v6,
                    addrs,
                    proto,
                    shown,
                }
            },
        )
        .boxed()
}

/// A packet at a hook, of which nothing but its headers matters.
fn at_forward(headers: Headers) -> Packet {
    Packet {
        hook: Hook::Forward,
        netns: NetnsId {
            inode: 2,
            host: false,
        },
        input: name("eth0"),
        output: name("eth1"),
        headers,
    }
}

proptest! {
    #![proptest_config(common::config(6000))]

    #[test]
    fn the_first_rule_that_matches_decides(
        rules in vec(want(), 0..12),
        defaults in vec(want_default(), 0..8),
        packets in vec(seen(), 1..12),
    ) {
        // Where a default stands in the text does not matter.
        let mut text = String::new();
        for index in 0..rules.len().max(defaults.len()) {
            text.extend(defaults.get(index).map(|default| default.text() + "\n"));
            text.extend(rules.get(index).map(|rule| rule.text() + "\n"));
        }
        let (parsed, parsed_defaults) = table(&text);
        for seen in packets {
            let mut audited = vec![];
            let decision = decide(&parsed, &parsed_defaults, &seen.packet(), |index| {
                audited.push(index);
            });
            prop_assert_eq!(
                (decision, audited),
                oracle::decide(&rules, &defaults, &seen),
                "{}{:#?}", text, seen
            );
        }
    }

    #[test]
    fn a_rule_matches_as_the_oracle_says(want in want(), seen in seen()) {
        let (rules, _) = table(&want.text());
        prop_assert_eq!(rules[0].decides(&seen.packet()), want.holds(&seen), "{}", want.text());
    }

    /// Who cuts a packet or damages it gains nothing by it.
    #[test]
    fn what_cannot_be_read_is_denied_and_never_allowed(
        mut m in matches(),
        plan in plan(),
        keep in any::<[bool; 7]>(),
        cut: Index,
        told: bool,
    ) {
        let mut bytes = plan.bytes();
        let whole = Headers::parse(plan.family(), bytes.as_slice());
        // Words that fit the packet, or are not there, so that many a rule matches it.
        if let Some((from, to)) = whole.addrs {
            m.from = keep[0].then(|| ctrfw_core::addr::Prefix::new(from, 20)).flatten();
            m.to = keep[1].then(|| ctrfw_core::addr::Prefix::new(to, 32)).flatten();
        }
        m.proto = m.proto.filter(|_| keep[2]).and(whole.proto);
        if let Transport::Ports { source, dest, .. } = whole.transport {
            let port = |port: u16| {
                ctrfw_core::port::PortRange::parse(port.to_string().as_bytes())
            };
            m.sport = keep[3].then(|| port(source)).flatten();
            m.dport = keep[4].then(|| port(dest)).flatten();
        }
        m.input = m.input.filter(|_| keep[5] && keep[6]);
        m.output = m.output.filter(|_| keep[5] && keep[6]);
        let cut = cut.index(bytes.len());
        if told && cut >= plan.fixed_len() {
            plan.set_len(&mut bytes, cut);
        }
        let whole = at_forward(whole);
        let part = at_forward(Headers::parse(plan.family(), &bytes[..cut]));
        if m.matches(&whole, Doubt::DENY) {
            prop_assert!(m.matches(&part, Doubt::DENY), "deny{} no longer holds", m);
        }
        if m.matches(&part, Doubt::ALLOW) {
            prop_assert!(m.matches(&whole, Doubt::ALLOW), "allow{} holds only now", m);
        }
        // A trace shows at least what a rule of either kind speaks of.
        for packet in [&whole, &part] {
            let rule = m.matches(packet, Doubt::DENY) || m.matches(packet, Doubt::ALLOW);
            prop_assert!(!rule || m.matches(packet, Doubt::TRACE));
        }
    }
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
    at_forward(headers)
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
        let (rules, _) = table(&format!(
            "allow {words}\ndeny {words}\nreject {words}\naudit {words}\n"
        ));
        let expression = if words.is_empty() { "all" } else { words };
        let Ok(Some(TraceStatement::Expression(trace))) = Trace::parse(expression.as_bytes())
        else {
            panic!("{expression}");
        };
        for (kind, expected) in *packets {
            let packet = packet(kind);
            let mut found = String::new();
            if rules[0].decides(&packet) {
                found.push('a');
            }
            if rules[1].decides(&packet) {
                found.push('d');
            }
            assert_eq!(rules[2].decides(&packet), rules[1].decides(&packet));
            assert_eq!(rules[3].decides(&packet), rules[1].decides(&packet));
            if trace.matches(&packet, Doubt::TRACE) {
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
            "default deny netns 2\ndefault allow netns container hook forward",
            &[("whole", "deny d1")],
        ),
        (
            "default deny hook forward,input\ndefault allow hook forward",
            &[("whole", "deny d1")],
        ),
        (
            "default allow\ndefault deny hook input,forward,output,prerouting,postrouting",
            &[("whole", "allow d1")],
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
        ("default deny netns 2 hook forward\nallow", &[("whole", "allow 1")]),
    ];
    for (text, packets) in policies {
        let (rules, defaults) = table(text);
        for (kind, expected) in *packets {
            let mut audited = String::new();
            let decision = decide(&rules, &defaults, &packet(kind), |index| {
                audited += &format!(" a{}", index + 1);
            });
            let decider = match decision.decider {
                Decider::Rule(index) => format!("{}", index + 1),
                Decider::Default(index) => format!("d{}", index + 1),
                Decider::Nobody => "-".to_owned(),
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
        let (rules, _) = table(text);
        let packet = packet(kind);
        let family = match packet.headers.addrs {
            Some((IpAddr::V6(_), _)) => Family::Ipv6,
            _ => Family::Ipv4,
        };
        let Verb::Reject(answer) = rules[0].verb else {
            panic!("{text}");
        };
        answer.reply(family, &packet.headers)
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
