// SPDX-License-Identifier: GPL-2.0

//! How rules are found: the first that is for a packet, whatever came and went, and within bounds.
//!
//! That the meaning is that of the list is shown by `verdict.rs`, and on many more tables and packets by
//! `ctrfw-bench oracle`.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_core::hook::Hook;
use ctrfw_core::memory::Heap;
use ctrfw_core::packet::{Packet, Reason, Transport};
use ctrfw_core::policy::Policy;
use ctrfw_core::proto::Protocol;
use ctrfw_core::rule::Decider;

use common::packet::{on_host, ported};
use common::text::{append, policy};

/// Numbers without a pattern, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }

    fn packet(&mut self) -> Packet {
        let octet = |numbers: &mut Self| numbers.below(4);
        let (a, b) = (octet(self), octet(self));
        let (from, to) = (format!("10.0.{a}.{b}"), format!("10.{b}.0.{a}"));
        let port = self.below(40) as u16;
        let mut packet = on_host(
            Hook::Forward,
            ported(Protocol::TCP, (&from, 1), (&to, port)),
        );
        match self.below(8) {
            0 => packet.headers.transport = Transport::LaterFragment,
            1 => {
                packet.headers.transport = Transport::Unreadable;
                packet.headers.unparsed = Some(Reason::ShortTransport);
            }
            _ => {}
        }
        packet
    }

    fn rule(&mut self) -> String {
        let (a, b, len) = (self.below(4), self.below(4), 8 * (1 + self.below(4)));
        let port = self.below(40);
        match self.below(5) {
            0 => format!("deny from 10.0.{a}.{b}/{len}"),
            1 => format!("allow to 10.{a}.0.{b}/{len} dport {port}"),
            2 => format!("deny from 10.0.{a}.{b} to 10.{b}.0.{a} dport 0-{port}"),
            3 => format!("allow proto tcp dport {{ {port}, 7, 9 }} from 10.0.{a}.{b}/{len}"),
            _ => format!("deny from !10.0.{a}.{b} dport {port} hook forward"),
        }
    }
}

/// What the list says.
fn listed(policy: &Policy<Heap>, packet: &Packet) -> Option<usize> {
    (0..policy.rules().len()).find(|index| policy.speaks_of(*index, packet))
}

fn found(policy: &Policy<Heap>, packet: &Packet) -> Option<usize> {
    match policy.decide(packet, |_| ()).decider {
        Decider::Rule(index) => Some(index),
        _ => None,
    }
}

/// So many packets have what the list says, and are counted where their rule is.
fn agree(table: &Policy<Heap>, numbers: &mut Numbers, packets: usize) {
    for _ in 0..packets {
        let packet = numbers.packet();
        let expected = listed(table, &packet);
        assert_eq!(found(table, &packet), expected, "{packet:?}");
        if let Some(index) = expected {
            let (decision, slot) = table.judge(&packet, |_, _| ());
            assert_eq!(
                Some(decision.verb),
                table.rules().get(index).map(|rule| rule.verb)
            );
            assert_eq!(Some(slot), table.slots().nth(index));
        }
    }
}

/// One edit after the other, so many that all rules are classified anew again and again.
#[test]
fn edited() {
    let mut numbers = Numbers(1);
    let rules: Vec<String> = (0..300).map(|_| numbers.rule()).collect();
    let mut table = policy(&(rules.join("\n") + "\n"));
    for _ in 0..400 {
        let place = 1 + numbers.below(table.rules().len() as u64);
        let rule = numbers.rule();
        let edit = match numbers.below(4) {
            0 => format!("delete {place}\n"),
            1 => format!("insert {place} {rule}\n"),
            2 => format!("{rule}\n"),
            _ => format!("replace {place} {rule}\n"),
        };
        table = append(&table, &edit).unwrap();
        agree(&table, &mut numbers, 20);
    }
}

/// Rules that nothing tells apart well take no more memory than others.
#[test]
fn bounded() {
    let mut rules = String::new();
    for number in 0..4000u32 {
        let (a, b, len) = (number % 200, number % 97, number % 25);
        let (first, more) = (number % 1000, number % 61);
        let to = 1 + first + 7 * more;
        rules += &format!("deny from 10.{a}.{b}.0/{len} dport {first}-{to}\n");
        rules += &format!("allow to 10.0.0.0-10.{a}.{b}.77 sport 1-{to} dport 0-{to}\n");
    }
    let table = policy(&rules);
    assert!(table.memory() / 8000 < 250, "{}", table.memory() / 8000);
    let mut numbers = Numbers(2);
    agree(&table, &mut numbers, 2000);
}

/// Members of large sets that lie in each other, touch, and are of both families.
#[test]
fn large_sets() {
    let mut numbers = Numbers(3);
    let mut ranges = Vec::new();
    let mut members = Vec::new();
    for _ in 0..500 {
        let first = numbers.below(60_000) as u32;
        let last = first + numbers.below(200) as u32;
        ranges.push((first, last));
        let (a, b) = (Ipv4Addr::from(first), Ipv4Addr::from(last));
        members.push(format!("{a}-{b}"));
        let of = |number: u32| Ipv6Addr::from(u128::from(number) << 64);
        members.push(format!("{}-{}", of(first), of(last)));
    }
    let ports = ranges.iter().map(|(first, last)| format!("{first}-{last}"));
    let ports: Vec<String> = ports.collect();
    let table = policy(&format!(
        "set a {{ {} }}\nset p {{ {} }}\ndeny from @a\nallow dport @p\n",
        members.join(",\n"),
        ports.join(",\n")
    ));
    for number in (0..61_000u32).step_by(7) {
        let has = ranges.iter().any(|(a, b)| (*a..=*b).contains(&number));
        let addresses: [IpAddr; 2] = [
            Ipv4Addr::from(number).into(),
            Ipv6Addr::from(u128::from(number) << 64).into(),
        ];
        for addr in addresses {
            let to = if addr.is_ipv4() {
                "192.0.2.1"
            } else {
                "2001:db8::1"
            };
            let from = addr.to_string();
            let headers = ported(Protocol::UDP, (&from, 1), (to, number as u16));
            let expected = has.then_some(0);
            assert_eq!(found(&table, &on_host(Hook::LocalIn, headers)), expected);
            let other = if addr.is_ipv4() {
                "192.0.2.2"
            } else {
                "2001:db8::2"
            };
            let headers = ported(Protocol::UDP, (other, 1), (to, number as u16));
            let expected = has.then_some(1);
            assert_eq!(found(&table, &on_host(Hook::LocalIn, headers)), expected);
        }
    }
}

/// Rules that audit are told in their order, however many there are, also of those that came later.
#[test]
fn many_that_audit() {
    let all = "audit to 10.0.0.0/8\n".repeat(1000);
    let table = policy(&(all + "deny\n"));
    let edits = "insert 501 audit to 10.1.0.0/16\ninsert 5 audit to 10.1.0.0/16\ndelete 3\n";
    let edited = append(&table, edits).unwrap();
    let headers = ported(Protocol::TCP, ("192.0.2.1", 1), ("10.1.2.3", 2));
    let packet = on_host(Hook::LocalIn, headers);
    for (table, count) in [(table, 1000), (edited, 1001)] {
        let mut audited = Vec::new();
        let decision = table.decide(&packet, |index| audited.push(index));
        assert_eq!(decision.decider, Decider::Rule(count));
        assert_eq!(audited, (0..count).collect::<Vec<_>>());
    }
}
