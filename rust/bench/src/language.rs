// SPDX-License-Identifier: GPL-2.0

//! Random tables of the whole language, and random packets for them: few values, so that they meet.

use std::sync::OnceLock;

use ctrfw_core::flags::Flag as _;
use ctrfw_core::flow::State;
use ctrfw_core::proto::Protocol;
use ctrfw_core::reject::Unreachable;
use rand::Rng as _;

use crate::common::oracle::{
    Addr, Addrs, Group, IcmpKind, Listed, Netns, Says, Seen, Shown, Tracked, Want, WantDefault,
};
use crate::model::Words;
use crate::{pick, weighted, Rng};

/// What the rules of a table speak of, as probabilities of words.
pub struct Flavour {
    /// The name in tables
    pub name: &'static str,
    addrs: f64,
    transport: f64,
    devices: f64,
    netns: f64,
    tracking: f64,
    rest: f64,
    /// How likely a word names a set.
    sets: f64,
    /// How many interfaces there are besides those with odd names.
    interfaces: usize,
    /// How many namespaces there are.
    namespaces: u32,
}

/// All of them.
pub static FLAVOURS: [Flavour; 6] = [
    Flavour {
        name: "language",
        addrs: 0.3,
        transport: 0.3,
        devices: 0.12,
        netns: 0.25,
        tracking: 0.15,
        rest: 0.12,
        sets: 0.2,
        interfaces: 0,
        namespaces: 3,
    },
    // Few words, so that the first rules do not decide everything.
    Flavour {
        name: "addresses",
        addrs: 0.9,
        transport: 0.6,
        devices: 0.0,
        netns: 0.0,
        tracking: 0.0,
        rest: 0.03,
        sets: 0.0,
        interfaces: 0,
        namespaces: 1,
    },
    Flavour {
        name: "interfaces",
        addrs: 0.1,
        transport: 0.2,
        devices: 0.5,
        netns: 0.05,
        tracking: 0.02,
        rest: 0.05,
        sets: 0.1,
        interfaces: 40,
        namespaces: 3,
    },
    Flavour {
        name: "namespaces",
        addrs: 0.2,
        transport: 0.3,
        devices: 0.05,
        netns: 0.9,
        tracking: 0.02,
        rest: 0.05,
        sets: 0.0,
        interfaces: 0,
        namespaces: 40,
    },
    Flavour {
        name: "states",
        addrs: 0.15,
        transport: 0.2,
        devices: 0.02,
        netns: 0.1,
        tracking: 0.6,
        rest: 0.2,
        sets: 0.0,
        interfaces: 0,
        namespaces: 3,
    },
    Flavour {
        name: "sets",
        addrs: 0.2,
        transport: 0.2,
        devices: 0.05,
        netns: 0.05,
        tracking: 0.05,
        rest: 0.02,
        sets: 0.8,
        interfaces: 4,
        namespaces: 3,
    },
];

const ODD_NAMES: [&str; 7] = ["eth0", "eth1", "eth*", "e*", "*", "veth0", "eth01*"];
const ODD_DEVICES: [&str; 7] = ["", "eth0", "eth1", "eth01", "veth0", "lo", "e"];
const GROUPS: [&str; 5] = ["/", "/a", "/a/b", "/ab", "/a/b/c"];
const PROTOS: [u8; 8] = [1, 6, 17, 33, 47, 58, 132, 136];
const PORTS: [u16; 8] = [0, 1, 80, 81, 443, 1024, 65534, 65535];
const PLACES: [&str; 3] = ["no", "first", "later"];

fn word(rng: &mut Rng, words: &[&'static str]) -> &'static str {
    words[rng.random_range(0..words.len())]
}

/// Names of interfaces that are all of one kind.
fn interface(rng: &mut Rng, count: usize) -> &'static str {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| (0..64).map(|index| format!("veth{index}a")).collect());
    &names[rng.random_range(0..count)]
}

/// The members of a named set.
#[derive(Clone, Debug)]
enum Members {
    Addrs(bool, Vec<Addrs>),
    Ports(Vec<(u16, u16)>),
    Names(Vec<&'static str>),
}

impl Members {
    fn text(&self) -> String {
        let words: Vec<String> = match self {
            Self::Addrs(_, addrs) => addrs.iter().map(Addrs::text).collect(),
            Self::Ports(ports) => ports.iter().map(|(a, b)| format!("{a}-{b}")).collect(),
            Self::Names(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        };
        format!("{{ {} }}", words.join(", "))
    }
}

/// The named sets of a table, and what its rules are to speak of.
pub struct Speaker {
    flavour: &'static Flavour,
    sets: Vec<Members>,
}

impl Speaker {
    /// One with some sets.
    pub fn new(flavour: &'static Flavour, rng: &mut Rng) -> Self {
        let mut speaker = Self {
            flavour,
            sets: Vec::new(),
        };
        let sets = if flavour.sets > 0.0 {
            rng.random_range(1..6)
        } else {
            0
        };
        for _ in 0..sets {
            let kind = rng.random_range(0..4);
            let members = speaker.members(kind, 1, rng);
            speaker.sets.push(members);
        }
        speaker
    }

    /// The sets in the language.
    pub fn sets(&self) -> String {
        let sets = self.sets.iter().enumerate();
        let lines = sets.map(|(index, set)| format!("set s{index} {}\n", set.text()));
        lines.collect::<Vec<String>>().concat()
    }

    fn members(&self, kind: u8, fewest: usize, rng: &mut Rng) -> Members {
        let count = rng.random_range(fewest..8);
        match kind {
            0 | 1 => Members::Addrs(
                kind == 1,
                (0..count).map(|_| addrs(kind == 1, rng)).collect(),
            ),
            2 => Members::Ports((0..count).map(|_| ports(rng)).collect()),
            _ => Members::Names((0..count).map(|_| self.pattern(rng)).collect()),
        }
    }

    /// Gives a set other members, in all rules that name it, and says so in the language; without a set
    /// nothing.
    pub fn replace_set(&mut self, rules: &mut [Want], rng: &mut Rng) -> String {
        if self.sets.is_empty() {
            return String::new();
        }
        let number = rng.random_range(0..self.sets.len());
        let kind = match &self.sets[number] {
            Members::Addrs(v6, _) => u8::from(*v6),
            Members::Ports(_) => 2,
            Members::Names(_) => 3,
        };
        let members = self.members(kind, 0, rng);
        for want in rules {
            match &members {
                Members::Addrs(_, values) => {
                    for word in [&mut want.from, &mut want.to, &mut want.origdst] {
                        refill(word, number, values);
                    }
                }
                Members::Ports(values) => {
                    for word in [&mut want.sport, &mut want.dport, &mut want.origdport] {
                        refill(word, number, values);
                    }
                }
                Members::Names(values) => {
                    for word in [
                        &mut want.input,
                        &mut want.output,
                        &mut want.port_in,
                        &mut want.port_out,
                    ] {
                        refill(word, number, values);
                    }
                }
            }
        }
        let line = format!("replace set s{number} {}\n", members.text());
        self.sets[number] = members;
        line
    }

    fn pattern(&self, rng: &mut Rng) -> &'static str {
        if self.flavour.interfaces > 0 && rng.random_bool(0.8) {
            interface(rng, self.flavour.interfaces)
        } else {
            word(rng, &ODD_NAMES)
        }
    }

    fn device(&self, rng: &mut Rng) -> &'static str {
        if self.flavour.interfaces > 0 && rng.random_bool(0.8) {
            interface(rng, self.flavour.interfaces)
        } else {
            word(rng, &ODD_DEVICES)
        }
    }

    fn netns(&self, rng: &mut Rng) -> Netns {
        match rng.random_range(0..6) {
            0 => Netns::Host,
            1 => Netns::Container,
            _ => Netns::Inode(rng.random_range(1..=self.flavour.namespaces)),
        }
    }

    /// A rule.
    pub fn want(&self, rng: &mut Rng) -> Want {
        let flavour = self.flavour;
        let says = says(rng);
        let v6 = rng.random();
        let device = |rng: &mut Rng| listed(flavour.devices, rng, |rng| self.pattern(rng));
        let (input, output) = (device(rng), device(rng));
        let (port_in, port_out) = (device(rng), device(rng));
        let mut want = Want {
            says,
            v6: rng.random_bool(0.1).then_some(v6),
            from: listed(flavour.addrs, rng, |rng| addrs(v6, rng)),
            to: listed(flavour.addrs, rng, |rng| addrs(v6, rng)),
            origdst: listed(flavour.tracking / 2.0, rng, |rng| addrs(v6, rng)),
            proto: listed(flavour.transport, rng, |rng| *pick(rng, &PROTOS)),
            icmp: listed(flavour.rest, rng, icmp),
            sport: listed(flavour.transport / 2.0, rng, ports),
            dport: listed(flavour.transport, rng, ports),
            origdport: listed(flavour.tracking / 2.0, rng, ports),
            input,
            output,
            port_in,
            port_out,
            mark: listed(flavour.rest, rng, |rng| {
                (rng.random_range(0..4), *pick(rng, &[1, 2, 3, u32::MAX]))
            }),
            cgroup: listed(flavour.rest, rng, |rng| word(rng, &GROUPS)),
            states: some_of(flavour.tracking, rng, State::ALL),
            places: some_of(flavour.rest, rng, &PLACES),
            hooks: hooks(rng),
            netns: listed(flavour.netns, rng, |rng| self.netns(rng)),
        };
        while !self.sets.is_empty() && rng.random_bool(flavour.sets) {
            self.name_set(&mut want, v6, rng);
            if rng.random() {
                break;
            }
        }
        fit(&mut want);
        want
    }

    /// Has a word name one of the sets.
    fn name_set(&self, want: &mut Want, v6: bool, rng: &mut Rng) {
        let number = rng.random_range(0..self.sets.len());
        let negated = rng.random_bool(0.2);
        match &self.sets[number] {
            Members::Addrs(set_v6, values) if *set_v6 == v6 => {
                let word = match rng.random_range(0..5) {
                    0 | 1 => &mut want.from,
                    2 | 3 => &mut want.to,
                    _ => &mut want.origdst,
                };
                *word = Some(named(negated, number, values));
            }
            Members::Addrs(..) => {}
            Members::Ports(values) => {
                let word = match rng.random_range(0..5) {
                    0 | 1 => &mut want.sport,
                    2 | 3 => &mut want.dport,
                    _ => &mut want.origdport,
                };
                *word = Some(named(negated, number, values));
            }
            Members::Names(values) => {
                let word = match rng.random_range(0..4) {
                    0 => &mut want.input,
                    1 => &mut want.output,
                    2 => &mut want.port_in,
                    _ => &mut want.port_out,
                };
                *word = Some(named(negated, number, values));
            }
        }
    }

    /// Some defaults, one for each scope.
    pub fn defaults(&self, rng: &mut Rng) -> Vec<WantDefault> {
        let mut scopes = Vec::new();
        let mut defaults: Vec<WantDefault> = (0..rng.random_range(0..6))
            .map(|_| {
                let says = loop {
                    let says = says(rng);
                    if !matches!(says, Says::Audit) {
                        break says;
                    }
                };
                WantDefault {
                    says,
                    hooks: hooks(rng),
                    netns: match says {
                        Says::Queue(_) => Some(Netns::Host),
                        _ => rng.random_bool(0.5).then(|| self.netns(rng)),
                    },
                }
            })
            .collect();
        defaults.retain(|default| {
            let scope = default.scope();
            let new = !scopes.contains(&scope);
            scopes.push(scope);
            new
        });
        defaults
    }

    /// A packet, and what is known of it.
    pub fn seen(&self, rng: &mut Rng) -> Seen {
        let v6 = rng.random();
        let inode = rng.random_range(1..=self.flavour.namespaces.max(2));
        let proto = rng.random_bool(0.9).then(|| *pick(rng, &PROTOS));
        let shown = match (rng.random_range(0..12), proto) {
            (0, _) => Shown::Nothing,
            (1, _) => Shown::LaterFragment,
            (_, Some(1 | 58)) => {
                Shown::Icmp(*pick(rng, &[0, 2, 5, 8, 128]), rng.random_range(0..2))
            }
            (_, Some(proto)) if Protocol(proto).has_ports() => {
                Shown::Ports(*pick(rng, &PORTS), *pick(rng, &PORTS))
            }
            (_, Some(_)) => Shown::NoPorts,
            (_, None) => Shown::Nothing,
        };
        let state = *pick(rng, State::ALL);
        Seen {
            hook: rng.random_range(0..5),
            inode,
            host: inode == 1,
            input: self.device(rng),
            output: self.device(rng),
            port_in: self.device(rng),
            port_out: self.device(rng),
            mark: rng.random_range(0..4),
            first_fragment: rng.random_bool(0.1),
            v6,
            addrs: rng
                .random_bool(0.95)
                .then(|| (bits(v6, rng), bits(v6, rng))),
            proto,
            shown,
            tracked: match rng.random_range(0..8) {
                0 => Tracked::Unasked,
                1 => Tracked::Fragment,
                2..5 => Tracked::Alone(state),
                _ => {
                    let port = rng.random_bool(0.5).then(|| *pick(rng, &PORTS));
                    Tracked::Of(state, bits(v6, rng), port, rng.random())
                }
            },
            group: match rng.random_range(0..7) {
                0 => Group::Unknown,
                1 => Group::Fragment,
                2 => Group::NoSocket,
                _ => Group::In(word(rng, &GROUPS)),
            },
        }
    }
}

impl Words for Want {
    fn words(&self) -> String {
        self.text()
    }
}

/// Leaves out words that cannot go together.
fn fit(want: &mut Want) {
    let proto = want.proto.clone();
    let may_be = |fits: fn(u8) -> bool| match &proto {
        Some(listed) if !listed.negated => listed.values.iter().any(|proto| fits(*proto)),
        _ => true,
    };
    let icmp = may_be(|proto| matches!(proto, 1 | 58));
    let ported = may_be(|proto| Protocol(proto).has_ports());
    if !ported {
        (want.sport, want.dport) = (None, None);
    }
    if !ported && !icmp {
        want.origdport = None;
    }
    if !icmp || want.sport.is_some() || want.dport.is_some() {
        want.icmp = None;
    }
    if matches!(want.says, Says::Queue(_)) {
        want.netns = Some(Listed {
            negated: false,
            values: vec![Netns::Host],
            set: None,
        });
    }
}

fn named<T: Clone>(negated: bool, number: usize, values: &[T]) -> Listed<T> {
    Listed {
        negated,
        values: values.to_vec(),
        set: Some(number),
    }
}

fn refill<T: Clone>(word: &mut Option<Listed<T>>, number: usize, values: &[T]) {
    if let Some(listed) = word.as_mut().filter(|listed| listed.set == Some(number)) {
        listed.values = values.to_vec();
    }
}

/// Values of a word: mostly one, now and then negated, or none at all.
fn listed<T>(likely: f64, rng: &mut Rng, value: impl Fn(&mut Rng) -> T) -> Option<Listed<T>> {
    rng.random_bool(likely).then(|| {
        let count = *weighted(rng, &[(6, 1), (1, 2), (1, 3)]);
        Listed {
            negated: rng.random_bool(0.2),
            values: (0..count).map(|_| value(rng)).collect(),
            set: None,
        }
    })
}

/// Some, but not all, of those that there are.
fn some_of<T: Copy>(likely: f64, rng: &mut Rng, all: &[T]) -> Option<Listed<T>> {
    rng.random_bool(likely).then(|| {
        let bits = rng.random_range(1..(1u32 << all.len()) - 1);
        let picked = all.iter().enumerate();
        let picked = picked.filter(|(index, _)| bits & (1 << index) != 0);
        Listed {
            negated: rng.random(),
            values: picked.map(|(_, value)| *value).collect(),
            set: None,
        }
    })
}

fn says(rng: &mut Rng) -> Says {
    match rng.random_range(0..11) {
        0..3 => Says::Allow,
        3..6 => Says::Deny,
        6 => Says::Reject,
        7 => Says::RejectWith("icmp-host-prohibited", Unreachable::HostProhibited),
        8 | 9 => Says::Audit,
        _ => Says::Queue(rng.random()),
    }
}

fn hooks(rng: &mut Rng) -> Vec<usize> {
    if rng.random() {
        return vec![];
    }
    let bits = rng.random_range(1..32);
    (0..5).filter(|hook| bits & (1 << hook) != 0).collect()
}

fn icmp(rng: &mut Rng) -> (IcmpKind, Option<u8>) {
    let kind = match rng.random_range(0..6) {
        0 => IcmpKind::EchoRequest,
        1 => IcmpKind::PacketTooBig,
        2 => IcmpKind::Redirect,
        _ => IcmpKind::Number(*pick(rng, &[0, 8, 128])),
    };
    let code = rng.random_bool(0.3).then(|| rng.random_range(0..2));
    (kind, code)
}

fn ports(rng: &mut Rng) -> (u16, u16) {
    let (a, b) = (*pick(rng, &PORTS), *pick(rng, &PORTS));
    (a.min(b), a.max(b))
}

fn bits(v6: bool, rng: &mut Rng) -> u128 {
    let (high, low) = if v6 {
        (0x2001_0db8u128 << 96, 112)
    } else {
        (0x0a00_0000, 16)
    };
    let (first, last) = (rng.random_range(0..4u128), rng.random_range(0..4u128));
    high | (first << low) | last
}

fn addrs(v6: bool, rng: &mut Rng) -> Addrs {
    let addr = |bits| Addr { v6, bits };
    let (a, b) = (bits(v6, rng), bits(v6, rng));
    if rng.random_bool(0.25) {
        return Addrs::Range(addr(a.min(b)), addr(a.max(b)));
    }
    let lens: &[u32] = if v6 {
        &[0, 1, 15, 16, 64, 112, 127, 128]
    } else {
        &[0, 1, 14, 16, 31, 32]
    };
    Addrs::Prefix(addr(a), *pick(rng, lens))
}
