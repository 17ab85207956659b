// SPDX-License-Identifier: GPL-2.0

//! The oracle: numbers and texts, compared one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cgroups;
use super::packet::name;
use ctrfw_core::cgroup::SocketCgroup;
use ctrfw_core::family::Family;
use ctrfw_core::flow::{Connection, Flow, State};
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::Hook;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::proto::Protocol;
use ctrfw_core::queue::{Queue, QueueNumber};
use ctrfw_core::reject::{Answer, Unreachable};
use ctrfw_core::rule::{Decider, Decision, Verb};

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
    Queue(u16),
}

impl Says {
    fn text(self) -> String {
        match self {
            Self::Allow => "allow".to_owned(),
            Self::Deny => "deny".to_owned(),
            Self::Reject => "reject".to_owned(),
            Self::Audit => "audit".to_owned(),
            Self::RejectWith(word, _) => format!("reject with {word}"),
            Self::Queue(number) => format!("queue {number} bypass"),
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
            Self::Queue(number) => Verb::Queue(Queue {
                number: QueueNumber(number),
                bypass: true,
            }),
        }
    }
}

/// Values of a word, of which the packet's must be one or, negated, none.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub negated: bool,
    pub values: Vec<T>,
    /// The number of the named set that they are the members of, where they do not stand in the rule.
    pub set: Option<usize>,
}

impl<T> Listed<T> {
    fn text(&self, print: impl Fn(&T) -> String) -> String {
        let not = if self.negated { "!" } else { "" };
        if let Some(number) = self.set {
            return format!("{not}@s{number}");
        }
        let values: Vec<String> = self.values.iter().map(print).collect();
        format!("{not}{{ {} }}", values.join(", "))
    }

    fn holds(&self, fits: impl FnMut(&T) -> bool) -> bool {
        self.values.iter().any(fits) != self.negated
    }
}

/// A prefix, or the addresses from one to another.
#[derive(Clone, Copy, Debug)]
pub enum Addrs {
    Prefix(Addr, u32),
    Range(Addr, Addr),
}

#[derive(Clone, Debug)]
pub struct Want {
    pub says: Says,
    pub v6: Option<bool>,
    pub from: Option<Listed<Addrs>>,
    pub to: Option<Listed<Addrs>>,
    pub proto: Option<Listed<u8>>,
    pub icmp: Option<Listed<(IcmpKind, Option<u8>)>>,
    pub sport: Option<Listed<(u16, u16)>>,
    pub dport: Option<Listed<(u16, u16)>>,
    pub input: Option<Listed<&'static str>>,
    pub output: Option<Listed<&'static str>>,
    pub port_in: Option<Listed<&'static str>>,
    pub port_out: Option<Listed<&'static str>>,
    pub origdst: Option<Listed<Addrs>>,
    pub origdport: Option<Listed<(u16, u16)>>,
    pub mark: Option<Listed<(u32, u32)>>,
    pub cgroup: Option<Listed<&'static str>>,
    pub states: Option<Listed<State>>,
    /// Of `no`, `first` and `later`
    pub places: Option<Listed<&'static str>>,
    pub hooks: Vec<usize>,
    pub netns: Option<Listed<Netns>>,
}

#[derive(Clone, Copy, Debug)]
pub enum IcmpKind {
    EchoRequest,
    PacketTooBig,
    Redirect,
    Number(u8),
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
    Icmp(u8, u8),
    NoPorts,
    LaterFragment,
    Nothing,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Tracked {
    Unasked,
    Fragment,
    /// A packet of none
    Alone(State),
    /// Where its first packet was sent to, and whether this one is an answer
    Of(State, u128, Option<u16>, bool),
}

/// What is known of a socket's cgroup.
#[derive(Clone, Copy, Debug)]
pub enum Group {
    Unknown,
    Fragment,
    NoSocket,
    In(&'static str),
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub hook: usize,
    pub inode: u32,
    pub host: bool,
    pub input: &'static str,
    pub output: &'static str,
    pub port_in: &'static str,
    pub port_out: &'static str,
    pub mark: u32,
    pub first_fragment: bool,
    pub v6: bool,
    pub addrs: Option<(u128, u128)>,
    pub proto: Option<u8>,
    pub shown: Shown,
    pub tracked: Tracked,
    pub group: Group,
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

impl Addrs {
    pub fn text(&self) -> String {
        match self {
            Self::Prefix(addr, len) => format!("{}/{len}", addr.ip()),
            Self::Range(first, last) => format!("{}-{}", first.ip(), last.ip()),
        }
    }

    fn holds(&self, v6: bool, shown: u128) -> bool {
        match *self {
            Self::Prefix(wanted, len) => {
                let rest = if wanted.v6 { 128 - len } else { 32 - len };
                let net = |bits: u128| if rest == 128 { 0 } else { bits >> rest };
                wanted.v6 == v6 && net(wanted.bits) == net(shown)
            }
            Self::Range(first, last) => first.v6 == v6 && (first.bits..=last.bits).contains(&shown),
        }
    }
}

impl IcmpKind {
    fn text(&self) -> String {
        match self {
            Self::EchoRequest => "echo-request".to_owned(),
            Self::PacketTooBig => "packet-too-big".to_owned(),
            Self::Redirect => "redirect".to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }

    fn holds(&self, v6: bool, shown: u8) -> bool {
        match (self, v6) {
            (Self::EchoRequest, false) => shown == 8,
            (Self::EchoRequest, true) => shown == 128,
            (Self::PacketTooBig, true) => shown == 2,
            (Self::Redirect, false) => shown == 5,
            (Self::PacketTooBig, false) | (Self::Redirect, true) => false,
            (Self::Number(number), _) => *number == shown,
        }
    }
}

impl Want {
    pub fn text(&self) -> String {
        let mut text = self.says.text();
        let mut add = |key: &str, values: Option<String>| {
            if let Some(values) = values {
                text += &format!(" {key} {values}");
            }
        };
        let addrs = |listed: &Listed<Addrs>| listed.text(Addrs::text);
        let ports =
            |listed: &Listed<(u16, u16)>| listed.text(|(first, last)| format!("{first}-{last}"));
        let names = |listed: &Listed<&str>| listed.text(|name| (*name).to_owned());
        add(
            "family",
            self.v6.map(|v6| if v6 { "ip6" } else { "ipv4" }.to_owned()),
        );
        add("from", self.from.as_ref().map(addrs));
        add("to", self.to.as_ref().map(addrs));
        add(
            "proto",
            self.proto.as_ref().map(|listed| listed.text(u8::to_string)),
        );
        add(
            "icmp-type",
            self.icmp.as_ref().map(|listed| {
                listed.text(|(kind, code)| match code {
                    Some(code) => format!("{}/{code}", kind.text()),
                    None => kind.text(),
                })
            }),
        );
        add("sport", self.sport.as_ref().map(ports));
        add("dport", self.dport.as_ref().map(ports));
        add("origdst", self.origdst.as_ref().map(addrs));
        add("origdport", self.origdport.as_ref().map(ports));
        add("in", self.input.as_ref().map(names));
        add("out", self.output.as_ref().map(names));
        add("port-in", self.port_in.as_ref().map(names));
        add("port-out", self.port_out.as_ref().map(names));
        add(
            "mark",
            self.mark
                .as_ref()
                .map(|listed| listed.text(|(value, mask)| format!("{value}/{mask:#x}"))),
        );
        add("cgroup", self.cgroup.as_ref().map(names));
        add(
            "state",
            self.states
                .as_ref()
                .map(|listed| listed.text(State::to_string)),
        );
        add("fragment", self.places.as_ref().map(names));
        add(
            "netns",
            self.netns
                .as_ref()
                .map(|listed| listed.text(|netns| netns.text())),
        );
        text + &scope(&self.hooks, None)
    }

    pub fn holds(&self, seen: &Seen) -> bool {
        // A field that could not be read: a rule that refuses takes it for what it asks for.
        let unknown = !self.says.allows();
        let later = matches!(seen.shown, Shown::LaterFragment);

        let addr = |wanted: &Option<Listed<Addrs>>, shown: Option<u128>| match (wanted, shown) {
            (None, _) => true,
            (Some(_), None) => unknown,
            (Some(wanted), Some(shown)) => wanted.holds(|addrs| addrs.holds(seen.v6, shown)),
        };
        let proto = match (&self.proto, seen.proto) {
            (None, _) => true,
            (Some(wanted), Some(shown)) => wanted.holds(|proto| *proto == shown),
            (Some(_), None) if later => self.says.allows(),
            (Some(_), None) => unknown,
        };
        let may_be = |protos: &[u8]| seen.proto.is_none_or(|proto| protos.contains(&proto));
        // What holds of a transport header that is not shown.
        let hidden = |protos: &[u8]| match seen.shown {
            Shown::LaterFragment => self.says.allows() && may_be(protos),
            Shown::Nothing => unknown && may_be(protos),
            _ => false,
        };
        let port = |wanted: &Option<Listed<(u16, u16)>>, shown: fn(u16, u16) -> u16| match (
            wanted, seen.shown,
        ) {
            (None, _) => true,
            (Some(wanted), Shown::Ports(source, dest)) => {
                wanted.holds(|(first, last)| (*first..=*last).contains(&shown(source, dest)))
            }
            (Some(_), _) => hidden(&[6, 17, 33, 132, 136]),
        };
        let origdst = match (&self.origdst, seen.tracked) {
            (None, _) => true,
            (Some(_), Tracked::Fragment) => self.says.allows(),
            (Some(wanted), Tracked::Of(_, to, ..)) => {
                wanted.holds(|addrs| addrs.holds(seen.v6, to))
            }
            (Some(wanted), Tracked::Alone(State::New | State::Untracked)) => match seen.addrs {
                Some((_, to)) => wanted.holds(|addrs| addrs.holds(seen.v6, to)),
                None => unknown,
            },
            (Some(_), Tracked::Unasked | Tracked::Alone(_)) => unknown,
        };
        let origdport = self.origdport.as_ref().is_none_or(|wanted| {
            let holds = |port| wanted.holds(|(first, last)| (*first..=*last).contains(&port));
            let own = match (seen.shown, seen.tracked) {
                (Shown::Ports(source, _), Tracked::Of(.., true)) => Some(source),
                (Shown::Ports(_, dest), _) => Some(dest),
                _ => None,
            };
            // Of an error about a packet with ports it may be known, too.
            let none = !may_be(&[6, 17, 33, 132, 136, 1, 58]);
            match seen.tracked {
                Tracked::Of(_, _, Some(port), _) => holds(port),
                Tracked::Alone(State::New | State::Untracked) if seen.addrs.is_none() => {
                    unknown && !none
                }
                Tracked::Of(..) | Tracked::Alone(State::New | State::Untracked) => {
                    own.map_or_else(|| hidden(&[6, 17, 33, 132, 136]), holds)
                }
                Tracked::Fragment => self.says.allows() && !none,
                Tracked::Unasked | Tracked::Alone(_) => unknown && !none,
            }
        });
        let state = self
            .states
            .as_ref()
            .is_none_or(|wanted| match seen.tracked {
                Tracked::Alone(state) | Tracked::Of(state, ..) => {
                    wanted.holds(|wanted| *wanted == state)
                }
                Tracked::Fragment => self.says.allows(),
                Tracked::Unasked => unknown,
            });
        let cgroup = self.cgroup.as_ref().is_none_or(|wanted| match seen.group {
            Group::In(path) => wanted.holds(|wanted| {
                let below = path.strip_prefix(wanted);
                *wanted == "/"
                    || below.is_some_and(|below| matches!(below.get(..1), None | Some("/")))
            }),
            // Negated or not, it asks for a socket.
            Group::NoSocket => false,
            Group::Fragment => self.says.allows(),
            Group::Unknown => unknown,
        });
        let icmp = match (&self.icmp, seen.shown) {
            (None, _) => true,
            (Some(wanted), Shown::Icmp(kind, code)) => wanted.holds(|(wanted, wanted_code)| {
                let v6 = seen.proto == Some(58);
                wanted.holds(v6, kind) && wanted_code.is_none_or(|wanted| wanted == code)
            }),
            (Some(_), _) => hidden(&[1, 58]),
        };
        let device = |wanted: &Option<Listed<&str>>, shown: &str| match wanted {
            None => true,
            // Negated or not, it asks for a device.
            Some(_) if shown.is_empty() => false,
            Some(wanted) => wanted.holds(|wanted| match wanted.strip_suffix('*') {
                Some(front) => shown.starts_with(front),
                None => shown == *wanted,
            }),
        };
        let place = match &self.places {
            None => true,
            Some(wanted) if wanted.values.len() == 3 && !wanted.negated => true,
            Some(wanted) => match (seen.shown, seen.first_fragment, seen.proto) {
                (Shown::LaterFragment, ..) => wanted.holds(|place| *place == "later"),
                (_, true, _) => wanted.holds(|place| *place == "first"),
                (_, _, Some(_)) => wanted.holds(|place| *place == "no"),
                (_, _, None) => unknown,
            },
        };
        let mark = match &self.mark {
            None => true,
            Some(wanted) => wanted.holds(|(value, mask)| seen.mark & mask == value & mask),
        };
        self.v6.is_none_or(|v6| v6 == seen.v6)
            && addr(&self.from, seen.addrs.map(|addrs| addrs.0))
            && addr(&self.to, seen.addrs.map(|addrs| addrs.1))
            && proto
            && icmp
            && origdst
            && origdport
            && state
            && cgroup
            && port(&self.sport, |source, _| source)
            && port(&self.dport, |_, dest| dest)
            && device(&self.input, seen.input)
            && device(&self.output, seen.output)
            && device(&self.port_in, seen.port_in)
            && device(&self.port_out, seen.port_out)
            && mark
            && place
            && (self.hooks.is_empty() || self.hooks.contains(&seen.hook))
            && self
                .netns
                .as_ref()
                .is_none_or(|wanted| wanted.holds(|netns| netns.holds(seen)))
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

    /// The hooks as a set, and the namespace.
    pub fn scope(&self) -> (Vec<usize>, String) {
        let mut hooks = self.hooks.clone();
        if hooks.is_empty() {
            hooks = (0..5).collect();
        }
        hooks.sort_unstable();
        (hooks, scope(&[], self.netns))
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
    let mut audited = vec![];
    for (index, rule) in rules.iter().enumerate() {
        match rule.says {
            _ if !rule.holds(seen) => {}
            Says::Audit => audited.push(index),
            says => {
                let decision = Decision {
                    verb: says.verb(),
                    decider: Decider::Rule(index),
                };
                return (decision, audited);
            }
        }
    }
    (by_default(defaults, seen), audited)
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
            phys_input: name(self.port_in),
            phys_output: name(self.port_out),
            mark: self.mark,
            family: if self.v6 { Family::Ipv6 } else { Family::Ipv4 },
            headers: Headers {
                addrs: self
                    .addrs
                    .and_then(|(from, to)| AddrPair::new(ip(from), ip(to))),
                proto,
                transport: match self.shown {
                    Shown::Ports(source, dest) => Transport::Ports {
                        source,
                        dest,
                        flags: None,
                    },
                    Shown::Icmp(kind, code) => Transport::Icmp { kind, code },
                    Shown::NoPorts => Transport::Other,
                    Shown::LaterFragment => Transport::LaterFragment,
                    Shown::Nothing => Transport::Unreadable,
                },
                fragment: match self.shown {
                    Shown::LaterFragment => Fragment::Later(64),
                    _ if self.first_fragment => Fragment::First,
                    _ => Fragment::No,
                },
                len: 100,
                unparsed: None,
            },
            flow: match self.tracked {
                Tracked::Unasked => Flow::Unasked,
                Tracked::Fragment => Flow::Fragment,
                Tracked::Alone(state) => Flow::Known(state, None),
                Tracked::Of(state, to, port, reply) => Flow::Known(
                    state,
                    Some(Connection {
                        state,
                        reply,
                        over: false,
                        to: ip(to),
                        port,
                    }),
                ),
            },
            cgroup: match self.group {
                Group::Unknown => SocketCgroup::Unknown,
                Group::Fragment => SocketCgroup::Fragment,
                Group::NoSocket => SocketCgroup::NoSocket,
                Group::In(path) => SocketCgroup::In(cgroups::lineage(path.as_bytes()).unwrap()),
            },
        }
    }
}
