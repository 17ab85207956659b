// SPDX-License-Identifier: GPL-2.0

//! What several of the tests share: random statements and text, a sink that collects, and the
//! tables' format.
//!
//! The larger strategies are boxed: by value they overflow a test's stack without optimization.

// Each test is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod plan;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_core::addr::Prefix;
use ctrfw_core::hook::{Hook, HookSet};
use ctrfw_core::iface::{IfName, IfPattern, IFNAMSIZ};
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::matcher::Match;
use ctrfw_core::netns::NetnsMatch;
use ctrfw_core::parser::{Grammar, Statement};
use ctrfw_core::port::PortRange;
use ctrfw_core::proto::Protocol;
use ctrfw_core::reject::{Answer, Unreachable};
use ctrfw_core::rule::{DefaultVerb, Mode, Rule, Scope, Verb};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::FileFailurePersistence;

/// `cases` random cases, or as many as `PROPTEST_CASES` says. What failed once is kept beside the
/// test and tried again first.
pub fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if given { default.cases } else { cases },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..default
    }
}

/// Takes everything, up to a limit.
#[derive(Debug)]
pub struct Collector<Item> {
    pub items: Vec<Item>,
    pub room: usize,
}

/// The error of a [`Collector`] that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<Item> Default for Collector<Item> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            room: usize::MAX,
        }
    }
}

impl<Item> Sink<Item> for Collector<Item> {
    type Error = Full;

    fn accept(&mut self, item: Item) -> Result<(), Refusal<Full>> {
        if self.items.len() == self.room {
            return Err(Refusal::Sink(Full));
        }
        self.items.push(item);
        Ok(())
    }
}

/// Loads `pieces` one after the other and ends the text.
pub fn load<'a, G: Grammar>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<G::Item>, Result<(), LoadError<Full>>) {
    let mut sink = Collector::default();
    let mut loader = Loader::<G>::new();
    let result = pieces
        .into_iter()
        .try_for_each(|piece| loader.feed(piece, &mut sink))
        .and_then(|()| loader.finish(&mut sink));
    (sink.items, result)
}

/// The rows of a table with `;` between the columns; `#` begins a comment line.
pub fn rows<const N: usize>(table: &str) -> impl Iterator<Item = (usize, [&str; N])> {
    table
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let columns: Vec<&str> = line.split(';').collect();
            let columns = columns
                .try_into()
                .unwrap_or_else(|_| panic!("row {}: not {N} columns: {line}", index + 1));
            (index + 1, columns)
        })
}

/// The bytes that a column of a table stands for.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.bytes();
    while let Some(byte) = chars.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match chars.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [chars.next().unwrap(), chars.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("{text}: unknown escape {other:?}"),
        });
    }
    bytes
}

/// The name of an interface.
pub fn name(text: &str) -> IfName {
    let mut field = [0; IFNAMSIZ];
    field[..text.len()].copy_from_slice(text.as_bytes());
    IfName::from_field(field)
}

/// A set of hooks.
pub fn hooks(hooks: &[Hook]) -> HookSet {
    hooks
        .iter()
        .fold(HookSet::EMPTY, |set, hook| set.with(*hook))
}

/// An IPv6 address, more likely than not one that is printed in a special way.
pub fn ipv6() -> BoxedStrategy<Ipv6Addr> {
    let word = prop_oneof![
        4 => Just(0u16),
        2 => any::<u16>(),
        1 => select(vec![1, 0xf, 0x10, 0xff, 0x100, 0x0200, 0x5efe, 0xffff]),
    ];
    prop_oneof![
        6 => proptest::array::uniform8(word).prop_map(Ipv6Addr::from),
        1 => any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped()),
        1 => (any::<u64>(), any::<bool>(), any::<u32>()).prop_map(|(front, global, tail)| {
            let global = u128::from(global) << 57;
            Ipv6Addr::from_bits((u128::from(front) << 64) | global | (0x5efe << 32) | u128::from(tail))
        }),
        1 => any::<u128>().prop_map(Ipv6Addr::from_bits),
    ].boxed()
}

fn prefix(v6: bool) -> BoxedStrategy<Prefix> {
    if v6 {
        (ipv6(), 0..=128u8)
            .prop_map(|(addr, len)| Prefix::new(IpAddr::V6(addr), len).unwrap())
            .boxed()
    } else {
        (any::<u32>(), 0..=32u8)
            .prop_map(|(bits, len)| {
                Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), len).unwrap()
            })
            .boxed()
    }
}

fn port_range() -> impl Strategy<Value = PortRange> {
    (any::<u16>(), any::<u16>(), any::<bool>()).prop_map(|(a, b, single)| {
        let (first, last) = (a.min(b), if single { a.min(b) } else { a.max(b) });
        PortRange::parse(format!("{first}-{last}").as_bytes()).unwrap()
    })
}

fn if_pattern() -> impl Strategy<Value = IfPattern> {
    // All that can stand in a name; `#` begins a comment only where it begins a word.
    let legal: Vec<u8> = (b'!'..=b'~')
        .filter(|byte| !b"/:*".contains(byte))
        .collect();
    (vec(select(legal), 0..IFNAMSIZ), any::<bool>()).prop_map(|(mut text, prefix)| {
        if let Some(first @ b'#') = text.first_mut() {
            *first = b'-';
        }
        if prefix {
            text.push(b'*');
        }
        // No name, `.` and `..` are left.
        IfPattern::parse(&text).unwrap_or_else(|| IfPattern::parse(b"x").unwrap())
    })
}

fn hook_set() -> impl Strategy<Value = HookSet> {
    subsequence(Hook::ALL.to_vec(), 1..=Hook::COUNT).prop_map(|list| hooks(&list))
}

fn netns_match() -> impl Strategy<Value = NetnsMatch> {
    prop_oneof![
        Just(NetnsMatch::Any),
        Just(NetnsMatch::Host),
        Just(NetnsMatch::Container),
        any::<u32>().prop_map(NetnsMatch::Inode),
    ]
}

/// All that a rule may answer.
pub const ANSWERS: [Answer; 9] = [
    Answer::ByProtocol,
    Answer::TcpReset,
    Answer::Icmp(Unreachable::Net),
    Answer::Icmp(Unreachable::Host),
    Answer::Icmp(Unreachable::Proto),
    Answer::Icmp(Unreachable::Port),
    Answer::Icmp(Unreachable::NetProhibited),
    Answer::Icmp(Unreachable::HostProhibited),
    Answer::Icmp(Unreachable::AdminProhibited),
];

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        Just(Verb::Allow),
        Just(Verb::Deny),
        select(ANSWERS.to_vec()).prop_map(Verb::Reject),
        Just(Verb::Audit),
    ]
}

/// Match words, every combination that the language has.
pub fn matches() -> BoxedStrategy<Match> {
    let addrs = any::<bool>().prop_flat_map(|v6| (option::of(prefix(v6)), option::of(prefix(v6))));
    let ports = (option::of(port_range()), option::of(port_range()));
    let proto = option::of(prop_oneof![
        any::<u8>(),
        select(vec![1, 6, 17, 33, 58, 132, 136])
    ]);
    let devices = (option::of(if_pattern()), option::of(if_pattern()));
    (addrs, proto, ports, devices, hook_set(), netns_match())
        .prop_map(
            |((from, to), proto, (sport, dport), (input, output), hooks, netns)| {
                let proto = proto.map(Protocol);
                let ported = proto.is_none_or(Protocol::has_ports);
                Match {
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

/// Statements of a table, everything that the language has.
pub fn statement() -> BoxedStrategy<Statement> {
    prop_oneof![
        4 => (verb(), matches()).prop_map(|(verb, mut matches)| {
            // Nothing but TCP has resets.
            if verb == Verb::Reject(Answer::TcpReset) {
                matches.proto = Some(Protocol::TCP);
            }
            Statement::Rule(Rule { verb, matches })
        }),
        1 => (verb(), hook_set(), netns_match()).prop_map(|(verb, hooks, netns)| {
            let verb = match verb {
                Verb::Reject(Answer::TcpReset) => Verb::Reject(Answer::ByProtocol),
                Verb::Audit => Verb::Deny,
                other => other,
            };
            Statement::Default(DefaultVerb { verb, scope: Scope { hooks, netns } })
        }),
        1 => select(vec![Mode::Enforce, Mode::Audit]).prop_map(Statement::Mode),
    ]
    .boxed()
}

/// A statement in its canonical form.
pub fn canonical(statement: &Statement) -> String {
    match statement {
        Statement::Rule(rule) => rule.to_string(),
        Statement::Default(default) => default.to_string(),
        Statement::Mode(mode) => format!("mode {mode}"),
    }
}

/// What stands between words.
fn blanks() -> impl Strategy<Value = &'static str> {
    select(vec![" ", " ", " ", "  ", "\t", "\r", " \t "])
}

/// A statement's text with other blanks, and perhaps a comment: it says the same.
pub fn spaced(text: String) -> BoxedStrategy<Vec<u8>> {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let count = words.len();
    (
        vec(blanks(), count),
        select(vec!["", "", " ", "\t\r"]),
        select(vec!["", "", "", " #", " # deny ", "\t#x"]),
    )
        .prop_map(move |(blanks, first, last)| {
            let mut line = first.to_owned();
            for (index, word) in words.iter().enumerate() {
                if index > 0 {
                    line.push_str(blanks[index]);
                }
                line.push_str(word);
            }
            line.push_str(last);
            line.into_bytes()
        })
        .boxed()
}

/// Any byte that a line may hold.
pub fn byte() -> impl Strategy<Value = u8> {
    any::<u8>().prop_map(|byte| if byte == b'\n' { 0 } else { byte })
}

/// Text that looks like the language: right and wrong words, cut words, comments, odd bytes.
pub fn scrap() -> BoxedStrategy<Vec<u8>> {
    const WORDS: [&str; 57] = [
        "mode",
        "mode audit",
        "enforce",
        "audit",
        "allow",
        "deny",
        "reject",
        "with",
        "with tcp-reset",
        "with icmp-host-prohibited",
        "with icmp",
        "default",
        "off",
        "all",
        "from",
        "to",
        "proto",
        "sport",
        "dport",
        "in",
        "out",
        "hook",
        "netns",
        "from 10.0.0.1",
        "to 10.0.0.0/8",
        "from ::1",
        "to fe80::/64",
        "from 10.0.0.300",
        "to 1::2::3",
        "from ::/129",
        "proto tcp",
        "proto icmp",
        "proto icmpv6",
        "proto 300",
        "proto 1",
        "proto 17",
        "sport 80",
        "dport 80-90",
        "dport 90-80",
        "dport 65536",
        "in eth0",
        "in veth*",
        "out *",
        "out a/b",
        "in abcdefghijklmnop",
        "hook forward",
        "hook input,output",
        "hook forward,",
        "hook ingress",
        "netns host",
        "netns container",
        "netns 4026531840",
        "netns 4294967296",
        "netns x",
        "#",
        "# from",
        "fr",
    ];
    let word = prop_oneof![
        12 => select(WORDS.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => "[ -~]{1,6}".prop_map(String::into_bytes),
        1 => vec(byte(), 1..4),
    ];
    vec((word, blanks(), 0..8u8), 0..8)
        .prop_map(|words| {
            let mut text = Vec::new();
            for (word, blank, glue) in words {
                text.extend_from_slice(&word);
                // Now and then two words become one.
                if glue != 0 {
                    text.extend_from_slice(blank.as_bytes());
                }
            }
            text
        })
        .boxed()
}

/// A line without its newline: mostly one that begins as a statement does.
pub fn line() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        3 => (select(vec!["allow ", "deny ", "reject ", "audit ", "default deny ", "default reject "]), scrap())
            .prop_map(|(verb, rest)| [verb.as_bytes(), &rest].concat()),
        2 => statement().prop_flat_map(|statement| spaced(canonical(&statement))),
        1 => scrap(),
    ]
    .boxed()
}
