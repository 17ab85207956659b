// SPDX-License-Identifier: GPL-2.0

//! What is kept of an event gives the same line as the event itself.

mod common;

use common::packet::on_host;
use common::plan::plan;
use ctrfw_core::event::TraceEvent;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::IfName;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet};
use ctrfw_core::queue::{Queue, QueueNumber};
use ctrfw_core::record::{Record, WORDS};
use ctrfw_core::reject::{Answer, Unreachable};
use ctrfw_core::ring::Timed;
use ctrfw_core::rule::{Decider, Decision, Mode, Verb};
use proptest::prelude::*;
use proptest::sample::select;

const VERBS: [Verb; 7] = [
    Verb::Allow,
    Verb::Deny,
    Verb::Reject(Answer::TcpReset),
    Verb::Reject(Answer::Icmp(Unreachable::Host)),
    Verb::Audit,
    Verb::Queue(Queue {
        number: QueueNumber(7),
        bypass: true,
    }),
    Verb::Queue(Queue {
        number: QueueNumber(0),
        bypass: false,
    }),
];

fn decider() -> impl Strategy<Value = Decider> {
    prop_oneof![
        any::<u32>().prop_map(|index| Decider::Rule(index as usize)),
        any::<u32>().prop_map(|index| Decider::Default(index as usize)),
        Just(Decider::Nobody),
        Just(Decider::Failsafe),
    ]
}

proptest! {
    #![proptest_config(common::config(5000))]

    #[test]
    fn the_line_is_the_same(
        plan in plan(),
        cut in any::<u8>(),
        names in any::<[[u8; 16]; 5]>(),
        hook in select(&Hook::ALL),
        (inode, host) in any::<(u32, bool)>(),
        (time, id) in any::<(u64, u64)>(),
        verb in select(&VERBS),
        decider in decider(),
        mode in select(&[Mode::Enforce, Mode::Audit]),
    ) {
        let bytes = plan.bytes();
        let bytes = &bytes[..bytes.len().saturating_sub(usize::from(cut & (cut >> 4)))];
        let [input, output, device, phys_input, phys_output] = names.map(IfName::from_field);
        let packet = Packet {
            netns: NetnsId { inode, host },
            input,
            output,
            phys_input,
            phys_output,
            ..on_host(hook, Headers::parse(plan.family(), bytes))
        };
        let decision = Decision { verb, decider };
        let event = TraceEvent { id, packet: &packet, device, decision, mode };
        let record = Record::new(time, &event);
        prop_assert_eq!((record.time(), record.id()), (time, id));
        let passage = record.passage();
        prop_assert_eq!(passage.packet.headers, packet.headers);
        prop_assert_eq!(passage.event(id).to_string(), event.to_string());
        prop_assert_eq!(Record::new(time, &passage.event(id)), record);
    }

    /// While a record is overwritten its copy may be anything.
    #[test]
    fn any_words_are_a_record(words in any::<[u64; WORDS]>()) {
        prop_assert!(Record(words).passage().event(0).to_string().len() < 900);
    }

    #[test]
    fn names_as_words(field in any::<[u8; 16]>(), end in 0..17usize) {
        let mut field = field;
        field[end..].fill(0);
        let name = IfName::from_field(field);
        let len = field.iter().position(|byte| *byte == 0).unwrap_or(16);
        prop_assert_eq!(name.as_bytes(), &field[..len]);
        prop_assert_eq!(IfName::from_words(name.words()), name);
    }
}
