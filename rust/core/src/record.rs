// SPDX-License-Identifier: GPL-2.0

//! What is kept of a packet's passage until its trace line is printed: as few words as will do, of
//! which each value is a valid one, so that they can be copied while somebody overwrites them.

use crate::event::TraceEvent;
use crate::family::Family;
use crate::fragment::Fragment;
use crate::hook::Hook;
use crate::iface::IfName;
use crate::netns::NetnsId;
use crate::packet::{Headers, Packet, Reason, TcpFlags, Transport};
use crate::pair::AddrPair;
use crate::proto::Protocol;
use crate::queue::{Queue, QueueNumber};
use crate::reject::Answer;
use crate::ring::Timed;
use crate::rule::{Decider, Decision, Mode, Verb};

/// How many words of eight bytes a record has.
pub const WORDS: usize = 20;

/// All that a trace line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(pub [u64; WORDS]);

/// A passage, as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// The packet at its hook, but for what no trace line tells of it.
    pub packet: Packet,
    /// The packet's own device.
    pub device: IfName,
    /// What becomes of it; of an answer or a queue it is not known which.
    pub decision: Decision,
    /// In a table of which mode
    pub mode: Mode,
}

// Bits of a word.
const HOST: u64 = 1 << 0;
const IPV6: u64 = 1 << 1;
const ADDRS: u64 = 1 << 2;
const PROTO: u64 = 1 << 3;
const AUDIT: u64 = 1 << 4;

/// The verbs, by what the trace calls them.
const VERBS: [Verb; 5] = [
    Verb::Allow,
    Verb::Deny,
    Verb::Reject(Answer::ByProtocol),
    Verb::Audit,
    Verb::Queue(Queue {
        number: QueueNumber(0),
        bypass: false,
    }),
];

#[inline]
fn verb_code(verb: Verb) -> u64 {
    match verb {
        Verb::Allow => 0,
        Verb::Deny => 1,
        Verb::Reject(_) => 2,
        Verb::Audit => 3,
        Verb::Queue(_) => 4,
    }
}

/// The `N`th byte of a word.
fn byte<const N: u32>(word: u64) -> u8 {
    (word >> (N << 3)) as u8
}

impl Record {
    /// What is to be kept of an event at `time` (nanoseconds), of a packet with the number `id`.
    #[inline]
    pub fn new(time: u64, event: &TraceEvent<'_, u64>) -> Self {
        let packet = event.packet;
        let headers = &packet.headers;
        let [in0, in1] = packet.input.words();
        let [out0, out1] = packet.output.words();
        let [dev0, dev1] = event.device.words();
        let [phys_in0, phys_in1] = packet.phys_input.words();
        let [phys_out0, phys_out1] = packet.phys_output.words();

        let mut bits = 0;
        if packet.netns.host {
            bits |= HOST;
        }
        if event.mode == Mode::Audit {
            bits |= AUDIT;
        }
        let addrs = match headers.addrs {
            Some(AddrPair::V4(addrs)) => {
                bits |= ADDRS;
                [addrs, 0, 0, 0]
            }
            Some(AddrPair::V6(addrs)) => {
                bits |= ADDRS | IPV6;
                addrs
            }
            None => [0; 4],
        };
        let mut proto = 0;
        if let Some(Protocol(number)) = headers.proto {
            bits |= PROTO;
            proto = number.into();
        }
        let (transport, first, second, flags): (u64, u16, u16, u8) = match headers.transport {
            Transport::Other => (0, 0, 0, 0),
            Transport::LaterFragment => (1, 0, 0, 0),
            Transport::Unreadable => (2, 0, 0, 0),
            Transport::Icmp { kind, code } => (3, kind.into(), code.into(), 0),
            Transport::Ports {
                source,
                dest,
                flags: None,
            } => (4, source, dest, 0),
            Transport::Ports {
                source,
                dest,
                flags: Some(flags),
            } => (5, source, dest, flags.0),
        };
        let (fragment, offset): (u64, u32) = match headers.fragment {
            Fragment::No => (0, 0),
            Fragment::First => (1, 0),
            Fragment::Later(offset) => (2, offset),
        };
        let unparsed = headers.unparsed.map_or(0, Reason::code);
        let Decision { verb, decider } = event.decision;
        let (decider, index) = match decider {
            Decider::Nobody => (0, 0),
            Decider::Rule(index) => (1, index),
            Decider::Default(index) => (2, index),
            Decider::Failsafe => (3, 0),
        };
        let bytes = packet.hook as u64
            | (bits << 8)
            | (proto << 16)
            | (transport << 24)
            | (u64::from(flags) << 32)
            | (fragment << 40)
            | (u64::from(unparsed) << 48)
            | ((verb_code(verb) | (decider << 4)) << 56);
        Self([
            time,
            event.id,
            in0,
            in1,
            out0,
            out1,
            dev0,
            dev1,
            phys_in0,
            phys_in1,
            phys_out0,
            phys_out1,
            addrs[0],
            addrs[1],
            addrs[2],
            addrs[3],
            u64::from(packet.netns.inode) | (u64::from(headers.len) << 32),
            u64::from(first) | (u64::from(second) << 16) | (u64::from(offset) << 32),
            bytes,
            index as u64,
        ])
    }

    /// The packet's number.
    pub fn id(&self) -> u64 {
        self.0[1]
    }

    /// The passage that was recorded.
    pub fn passage(&self) -> Passage {
        let [_, _, in0, in1, out0, out1, dev0, dev1, phys_in0, phys_in1, phys_out0, phys_out1, addrs0, addrs1, addrs2, addrs3, netns_len, transport, bytes, index] =
            self.0;
        let bits = u64::from(byte::<1>(bytes));
        let ipv6 = bits & IPV6 != 0;
        let (first, second) = (transport as u16, (transport >> 16) as u16);
        let ports = |flags| Transport::Ports {
            source: first,
            dest: second,
            flags,
        };
        let headers = Headers {
            addrs: (bits & ADDRS != 0).then_some(if ipv6 {
                AddrPair::V6([addrs0, addrs1, addrs2, addrs3])
            } else {
                AddrPair::V4(addrs0)
            }),
            proto: (bits & PROTO != 0).then(|| Protocol(byte::<2>(bytes))),
            transport: match byte::<3>(bytes) {
                0 => Transport::Other,
                1 => Transport::LaterFragment,
                3 => Transport::Icmp {
                    kind: first as u8,
                    code: second as u8,
                },
                4 => ports(None),
                5 => ports(Some(TcpFlags(byte::<4>(bytes)))),
                _ => Transport::Unreadable,
            },
            fragment: match byte::<5>(bytes) {
                0 => Fragment::No,
                1 => Fragment::First,
                _ => Fragment::Later((transport >> 32) as u32),
            },
            len: (netns_len >> 32) as u32,
            unparsed: Reason::from_code(byte::<6>(bytes)),
        };
        let verdict = byte::<7>(bytes);
        let index = index as usize;
        let decision = Decision {
            verb: VERBS
                .get(usize::from(verdict & 0xf))
                .copied()
                .unwrap_or(Verb::Allow),
            decider: match verdict >> 4 {
                1 => Decider::Rule(index),
                2 => Decider::Default(index),
                3 => Decider::Failsafe,
                _ => Decider::Nobody,
            },
        };
        let netns = NetnsId {
            inode: netns_len as u32,
            host: bits & HOST != 0,
        };
        // The hook was one, and of the family the addresses tell.
        let hook = Hook::from_number(byte::<0>(bytes)).unwrap_or(Hook::PreRouting);
        let family = if ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        Passage {
            packet: Packet {
                input: IfName::from_words([in0, in1]),
                output: IfName::from_words([out0, out1]),
                phys_input: IfName::from_words([phys_in0, phys_in1]),
                phys_output: IfName::from_words([phys_out0, phys_out1]),
                ..Packet::new(hook, netns, family, headers)
            },
            device: IfName::from_words([dev0, dev1]),
            decision,
            mode: if bits & AUDIT != 0 {
                Mode::Audit
            } else {
                Mode::Enforce
            },
        }
    }
}

impl Passage {
    /// The event, with the packet's `id` as it is to be printed.
    pub fn event<Id>(&self, id: Id) -> TraceEvent<'_, Id> {
        TraceEvent {
            id,
            packet: &self.packet,
            device: self.device,
            decision: self.decision,
            mode: self.mode,
        }
    }
}

impl Timed for Record {
    fn time(&self) -> u64 {
        self.0[0]
    }
}
