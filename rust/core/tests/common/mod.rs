// SPDX-License-Identifier: GPL-2.0

//! What several of the tests share: random statements and text, a sink that collects, and the
//! tables' format.
//!
//! The larger strategies are boxed: by value they overflow a test's stack without optimization.

// Each test is a crate of its own and uses a part of this.
#![allow(dead_code)]

// Where there is no kernel to ask the command has each path stand for a cgroup.
#[path = "../../../cli/src/cgroup.rs"]
pub mod cgroups;
pub mod oracle;
pub mod packet;
pub mod plan;
pub mod text;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_core::addr::{KernelAddr, Prefix};
use ctrfw_core::edit::Addition;
use ctrfw_core::error::Fault;
use ctrfw_core::iface::IFNAMSIZ;
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::matcher::Matches;
use ctrfw_core::memory::{Heap, NoMemory};
use ctrfw_core::parser::{Counters, Grammar, Reset, Statement, Table, Trace, TraceStatement};
use ctrfw_core::policy::NO_EDIT;
use ctrfw_core::reject::{Answer, Unreachable};
use ctrfw_core::rule::Mode;
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

/// A language whose statements can be told from one another by their text.
pub trait Language: Grammar {
    /// A statement in its canonical form, which may not fit what came before.
    fn print(item: Self::Item<'_>) -> Result<String, Refusal<NoMemory>>;

    /// A line in its canonical form, on its own.
    fn parse_line(line: &[u8]) -> Result<Option<String>, Fault> {
        match Self::parse(line, &mut Self::State::default())?.map(Self::print) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(Refusal::Fault(fault))) => Err(fault),
            Some(Err(other)) => panic!("{other:?}"),
        }
    }
}

impl Language for Table {
    fn print(item: Statement<'_>) -> Result<String, Refusal<NoMemory>> {
        if let Statement::Members(kind, words) = item {
            let members: Vec<String> = words
                .values()
                .map(|word| String::from_utf8_lossy(word.raw).into_owned())
                .collect();
            return Ok(format!("{kind:?} {}", members.join(" ")));
        }
        if let Statement::Mode(mode) = item {
            // A policy says it only where it is not the usual one.
            return Ok(format!("mode {mode}"));
        }
        if let Statement::Edit(_) = item {
            return Err(Refusal::Expected(NO_EDIT));
        }
        let mut addition = Addition::<Heap>::default();
        if let Statement::If(..) = item {
            // It is wherever something stands before it.
            addition.accept(Statement::Mode(Mode::Audit), None)?;
        }
        addition.accept(item, None)?;
        let policy = addition.policy();
        let lines = (0..policy.lines()).map(|index| policy.line(index).unwrap().to_string());
        Ok(lines.collect::<Vec<String>>().join("\n"))
    }
}

impl Language for Trace {
    fn print(item: TraceStatement<'_>) -> Result<String, Refusal<NoMemory>> {
        match item {
            TraceStatement::Off => Ok("off".to_owned()),
            TraceStatement::Expression(text) => {
                let mut matches = Matches::<Heap>::default();
                let m = matches.add_expression(&text)?;
                let line = matches.line_of(&m).to_string();
                Ok(line)
            }
        }
    }
}

impl Language for Counters {
    fn print(_item: Reset) -> Result<String, Refusal<NoMemory>> {
        Ok("reset".to_owned())
    }
}

/// Takes everything, up to a limit.
#[derive(Debug)]
pub struct Collector {
    pub items: Vec<String>,
    pub room: usize,
}

/// The error of a [`Collector`] that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Default for Collector {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            room: usize::MAX,
        }
    }
}

impl<G: Language> Sink<G> for Collector {
    type Error = Full;

    fn accept(&mut self, item: G::Item<'_>) -> Result<(), Refusal<Full>> {
        if self.items.len() == self.room {
            return Err(Refusal::Sink(Full));
        }
        let text = G::print(item).map_err(|refusal| refusal.map(|_| Full))?;
        self.items.push(text);
        Ok(())
    }
}

/// Loads `pieces` one after the other and ends the text.
pub fn load<'a, G: Language>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, Result<(), LoadError<Full>>) {
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

/// An address, a prefix or a range in its canonical form.
fn addr(v6: bool) -> BoxedStrategy<String> {
    let ip = move || {
        if v6 {
            ipv6().prop_map(IpAddr::V6).boxed()
        } else {
            any::<u32>()
                .prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                .boxed()
        }
    };
    let len = if v6 { 0..=128u8 } else { 0..=32u8 };
    prop_oneof![
        3 => (ip(), len).prop_map(|(addr, len)| Prefix::new(addr, len).unwrap().to_string()),
        1 => (ip(), ip()).prop_filter_map("is a prefix", |(a, b)| {
            // Differing in the last bit on one side only, they are no prefix.
            let (first, last) = (a.min(b), a.max(b));
            let odd = |addr: IpAddr| match addr {
                IpAddr::V4(addr) => addr.to_bits() & 1 == 1,
                IpAddr::V6(addr) => addr.to_bits() & 1 == 1,
            };
            (odd(first) && first != last)
                .then(|| format!("{}-{}", KernelAddr(first), KernelAddr(last)))
        }),
    ]
    .boxed()
}

fn port_range() -> BoxedStrategy<String> {
    prop_oneof![
        any::<u16>().prop_map(|port| port.to_string()),
        (any::<u16>(), any::<u16>())
            .prop_filter("one port", |(a, b)| a != b)
            .prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
    ]
    .boxed()
}

fn if_pattern() -> BoxedStrategy<String> {
    // All that can stand in a name.
    let legal: Vec<u8> = (b'!'..=b'~')
        .filter(|byte| !b"/:*".contains(byte))
        .collect();
    (vec(select(legal), 0..IFNAMSIZ), any::<bool>())
        .prop_map(|(text, prefix)| {
            let mut text = String::from_utf8(text).unwrap();
            let special = |text: &str| {
                text.starts_with(['"', '!', '@', '#']) || text.contains(['{', '}', ','])
            };
            if special(&text) {
                text = text.replace('"', "-");
            }
            let special = special(&text);
            if prefix {
                text.push('*');
            }
            match text.as_str() {
                "" | "." | ".." => "x".to_owned(),
                name if special => format!("\"{name}\""),
                name => name.to_owned(),
            }
        })
        .boxed()
}

fn proto() -> BoxedStrategy<String> {
    prop_oneof![
        select(vec!["tcp", "udp", "sctp", "dccp", "udplite"]).prop_map(str::to_owned),
        select(vec!["icmp", "icmpv6", "esp", "gre", "0", "200", "255"]).prop_map(str::to_owned),
    ]
    .boxed()
}

fn icmp_type() -> BoxedStrategy<String> {
    let kind = prop_oneof![
        select(vec![
            "echo-request",
            "packet-too-big",
            "redirect",
            "nd-neighbor-solicit"
        ])
        .prop_map(str::to_owned),
        any::<u8>().prop_map(|number| number.to_string()),
    ];
    (kind, option::of(any::<u8>()))
        .prop_map(|(kind, code)| match code {
            Some(code) => format!("{kind}/{code}"),
            None => kind,
        })
        .boxed()
}

fn mark() -> BoxedStrategy<String> {
    (any::<u32>(), any::<u32>())
        .prop_map(|(value, mask)| match mask {
            u32::MAX => format!("{value:#x}"),
            mask => format!("{:#x}/{mask:#x}", value & mask),
        })
        .boxed()
}

fn cgroup() -> BoxedStrategy<String> {
    let name = "[a-z0-9.@\\\\_-]{0,3}[a-z]";
    prop_oneof![
        1 => Just("/".to_owned()),
        4 => vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/"))),
        1 => vec("[a-z]{1,2}[,{}]x", 1..3).prop_map(|names| format!("\"/{}\"", names.join("/"))),
    ]
    .boxed()
}

fn netns() -> BoxedStrategy<String> {
    prop_oneof![
        Just("host".to_owned()),
        Just("container".to_owned()),
        any::<u32>().prop_map(|inode| inode.to_string()),
    ]
    .boxed()
}

/// `KEY VALUES` in canonical form: one value or several, perhaps negated, or nothing at all.
fn clause(key: &'static str, value: BoxedStrategy<String>) -> BoxedStrategy<Option<String>> {
    let values = prop_oneof![4 => vec(value.clone(), 1), 1 => vec(value, 2..5)];
    option::weighted(0.35, (values, proptest::bool::weighted(0.2)))
        .prop_map(move |given| {
            let (values, negated) = given?;
            let not = if negated { "!" } else { "" };
            Some(format!("{key} {not}{}", listed(&values)))
        })
        .boxed()
}

/// Values as they stand behind a word.
pub fn listed(values: &[String]) -> String {
    match values {
        [value] => value.clone(),
        values => format!("{{ {} }}", values.join(", ")),
    }
}

/// `KEY NAMES` in canonical form: some of `names`, but not all.
fn flags(key: &'static str, names: &'static [&'static str]) -> BoxedStrategy<Option<String>> {
    option::weighted(0.3, subsequence(names.to_vec(), 1..names.len()))
        .prop_map(move |given| {
            let names: Vec<String> = given?.into_iter().map(str::to_owned).collect();
            Some(format!("{key} {}", listed(&names)))
        })
        .boxed()
}

fn hook_clause() -> BoxedStrategy<Option<String>> {
    const NAMES: &[&str] = &[
        "pre_routing",
        "local_in",
        "forward",
        "post_routing",
        "local_out",
    ];
    flags("hook", NAMES)
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

/// Verbs of rules in canonical form.
fn verb() -> BoxedStrategy<&'static str> {
    prop_oneof![
        4 => select(vec!["allow", "deny"]),
        1 => Just("audit"),
        1 => select(vec![
            "reject",
            "reject with icmp-net-unreachable",
            "reject with icmp-host-unreachable",
            "reject with icmp-proto-unreachable",
            "reject with icmp-port-unreachable",
            "reject with icmp-net-prohibited",
            "reject with icmp-host-prohibited",
            "reject with icmp-admin-prohibited",
        ]),
    ]
    .boxed()
}

/// Match words in canonical form, every combination that the language has.
pub fn clauses() -> BoxedStrategy<Vec<String>> {
    let front = any::<bool>().prop_flat_map(|v6| {
        let family = if v6 { "family ipv6" } else { "family ipv4" };
        (
            option::weighted(0.2, Just(family.to_owned())),
            clause("from", addr(v6)),
            clause("to", addr(v6)),
            clause("origdst", addr(v6)),
        )
    });
    let transport = (
        clause("proto", proto()),
        clause("icmp-type", icmp_type()),
        clause("sport", port_range()),
        clause("dport", port_range()),
        clause("origdport", port_range()),
    );
    let devices = (
        clause("in", if_pattern()),
        clause("out", if_pattern()),
        clause("port-in", if_pattern()),
        clause("port-out", if_pattern()),
    );
    let rest = (
        clause("mark", mark()),
        clause("cgroup", cgroup()),
        flags("fragment", &["no", "first", "later"]),
        hook_clause(),
        clause("netns", netns()),
    );
    (front, transport, devices, rest)
        .prop_map(|(front, transport, devices, rest)| {
            let (family, from, to, origdst) = front;
            let (proto, mut icmp, mut sport, mut dport, mut origdport) = transport;
            // Words that cannot go together.
            const PORTED: [&str; 5] = ["tcp", "udp", "sctp", "dccp", "udplite"];
            let listed = proto.as_deref().filter(|proto| !proto.contains('!'));
            let has = |names: &[&str]| {
                listed.is_none_or(|proto| {
                    let words: Vec<&str> = proto.split([' ', ',']).collect();
                    names.iter().any(|name| words.contains(name))
                })
            };
            if !has(&PORTED) {
                (sport, dport) = (None, None);
            }
            if !has(&["icmp", "icmpv6"]) || sport.is_some() || dport.is_some() {
                icmp = None;
            }
            if !has(&PORTED) && !has(&["icmp", "icmpv6"]) {
                origdport = None;
            }
            let (input, output, port_in, port_out) = devices;
            let (mark, cgroup, fragment, hook, netns) = rest;
            [
                family, from, to, proto, icmp, sport, dport, origdst, origdport, input, output,
                port_in, port_out, mark, cgroup, fragment, hook, netns,
            ]
            .into_iter()
            .flatten()
            .collect()
        })
        .boxed()
}

/// A statement in its canonical form: what it begins with, and the words that may stand in any order.
pub fn words() -> BoxedStrategy<(String, Vec<String>)> {
    let default_verb = verb().prop_filter("a default decides", |verb| *verb != "audit");
    prop_oneof![
        8 => (verb(), clauses()).prop_map(|(verb, clauses)| (verb.to_owned(), clauses)),
        // Nothing but TCP has resets.
        1 => (clause("from", addr(true)), hook_clause()).prop_map(|(from, hook)| {
            let words = [from, Some("proto tcp".to_owned()), hook];
            ("reject with tcp-reset".to_owned(), words.into_iter().flatten().collect())
        }),
        // Nobody but the host has listeners.
        1 => (any::<u16>(), any::<bool>(), clause("from", addr(true)), hook_clause()).prop_map(
            |(number, bypass, from, hook)| {
                let words = [from, hook, Some("netns host".to_owned())];
                let bypass = if bypass { " bypass" } else { "" };
                let front = format!("queue {number}{bypass}");
                (front, words.into_iter().flatten().collect())
            },
        ),
        1 => Just(("mode audit".to_owned(), vec![])),
        2 => (default_verb, hook_clause(), option::of(netns())).prop_map(|(verb, hook, netns)| {
            let netns = netns.map(|netns| format!("netns {netns}"));
            (format!("default {verb}"), hook.into_iter().chain(netns).collect())
        }),
    ]
    .boxed()
}

/// Statements of a table in canonical form, everything that the language has but sets.
pub fn statement() -> BoxedStrategy<String> {
    words()
        .prop_map(|(front, words)| {
            words
                .into_iter()
                .fold(front, |text, word| text + " " + &word)
        })
        .boxed()
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
    const WORDS: [&str; 103] = [
        "allow",
        "deny",
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
        "set",
        "set x {",
        "set 9x {",
        "from @x",
        "sport @",
        "in @a!",
        "from !",
        "from !10.0.0.1",
        "to { 10.0.0.1, ::1 }",
        "to !{ 10.0.0.0/8,",
        "to 10.0.0.1-10.0.0.9",
        "from ::1-::f",
        "from 10.0.0.9-10.0.0.1",
        "proto { tcp, icmp }",
        "proto !tcp",
        "dport { 80,443, }",
        "dport 80,443",
        "sport ,",
        "icmp-type echo-request",
        "icmp-type 8/0",
        "origdst !10.0.0.0/8",
        "origdport { 80, 443 }",
        "origdport x",
        "cgroup /a/b,/c",
        "cgroup \"/a b\"",
        "cgroup /a//",
        "icmp-type 300",
        "port-in veth*",
        "port-out \"a,b\"",
        "in \"eth0",
        "mark 1/0xf",
        "mark 0x",
        "fragment { no, later }",
        "fragment !no",
        "family ipv4",
        "family !{ ip, ip6 }",
        "hook !forward",
        "{",
        "}",
        ",",
        "!",
        "\"",
        "#",
        "# from",
        "fr",
        "mode",
        "mode audit",
        "enforce",
        "audit",
        "queue",
        "queue 7",
        "bypass",
        "netns host",
        "reject",
        "with",
        "with tcp-reset",
        "with icmp-host-prohibited",
        "with icmp",
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
        2 => statement().prop_flat_map(spaced),
        1 => scrap(),
    ]
    .boxed()
}
