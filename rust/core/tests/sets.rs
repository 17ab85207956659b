// SPDX-License-Identifier: GPL-2.0

//! Named sets: what is in them, how they are read back, and what happens where one text uses the sets
//! of another that it is put behind.

mod common;

use std::net::Ipv4Addr;

use common::packet::{name, on_host, ported};
use common::text::{append, listing, policy, write};
use ctrfw_core::hook::Hook;
use ctrfw_core::loader::{LoadError, MAX_LINE};
use ctrfw_core::matcher::Misfit;
use ctrfw_core::memory::Heap;
use ctrfw_core::packet::Packet;
use ctrfw_core::policy::Policy;
use ctrfw_core::proto::Protocol;
use ctrfw_core::rule::Decider;
use proptest::collection::vec;
use proptest::prelude::*;

/// A TCP packet to `to`, in by `input`.
fn packet(to: &str, dport: u16, input: &str) -> Packet {
    let from = if to.contains(':') {
        "2001:db8::1"
    } else {
        "192.0.2.1"
    };
    let headers = ported(Protocol::TCP, (from, 40000), (to, dport));
    Packet {
        input: name(input),
        ..on_host(Hook::Forward, headers)
    }
}

/// The number of the rule that decides, from 1, or 0.
fn decider(policy: &Policy<Heap>, packet: &Packet) -> usize {
    match policy.decide(packet, |_| {}).decider {
        Decider::Rule(index) => index + 1,
        _ => 0,
    }
}

const TEXT: &str = "\
set private { 10.0.0.0/8, 192.168.0.0/16, fc00::/7 }
set web {
	80, # plain
	443
	8000-8999 }
set empty { }
set lan { eth0, \"80\", wlan* }
allow to @private dport @web in !@lan
deny to !@private dport !@web
allow to @empty
deny to !@empty in @lan
";

#[test]
fn members_match() {
    let policy = policy(TEXT);
    for (to, dport, input, expected) in [
        ("10.1.2.3", 80, "veth0", 1),
        ("10.1.2.3", 8500, "veth0", 1),
        ("fd00::1", 443, "veth0", 1),
        ("10.1.2.3", 80, "wlan1", 4),
        ("10.1.2.3", 80, "80", 4),
        ("10.1.2.3", 81, "veth0", 0),
        ("8.8.8.8", 81, "veth0", 2),
        ("2001:db8::9", 22, "veth0", 2),
        ("8.8.8.8", 80, "veth0", 0),
        ("8.8.8.8", 80, "eth0", 4),
        // No interface at all: neither in the set nor out of it.
        ("10.1.2.3", 80, "", 0),
    ] {
        let found = decider(&policy, &packet(to, dport, input));
        assert_eq!(found, expected, "to {to} dport {dport} in {input}");
    }
}

#[test]
fn the_canonical_form() {
    assert_eq!(
        listing(&policy(TEXT)),
        "set private { 10.0.0.0/8, 192.168.0.0/16, fc00::/7 }\n\
         set web { 80, 443, 8000-8999 }\n\
         set empty { }\n\
         set lan { eth0, \"80\", wlan* }\n\
         allow to @private dport @web in !@lan\n\
         deny to !@private dport !@web\n\
         allow to @empty\n\
         deny to !@empty in @lan\n"
    );
    let many: Vec<String> = (1..=9).map(|port| port.to_string()).collect();
    let text = format!("set many {{ {} }}\ndeny dport @many\n", many.join(","));
    let lines: Vec<String> = many.iter().map(|port| format!("\t{port},\n")).collect();
    let expected = format!("set many {{\n{}}}\ndeny dport @many\n", lines.concat());
    assert_eq!(listing(&policy(&text)), expected);
    assert_eq!(listing(&policy(&expected)), expected);
}

/// Where, and what was expected.
fn refusal(text: &str, base: Option<&Policy<Heap>>) -> String {
    match write(text, base) {
        Err(LoadError::Language(error)) => error.to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("accepted: {text}"),
    }
}

#[test]
fn what_does_not_fit() {
    for (text, expected) in [
        (
            "set a { 1 }\nset a { 2 }",
            "line 2 column 5: got \"a\", expected a name that no other set has",
        ),
        (
            "set a { 1 }\ndeny to @a",
            "line 2 column 9: got \"@a\", expected the name of a set of addresses that is defined above",
        ),
        (
            "set a { ::1 }\ndeny in !@a",
            "line 2 column 10: got \"@a\", expected the name of a set of interfaces that is defined above",
        ),
        (
            "deny dport @a\nset a { 1 }",
            "line 1 column 12: got \"@a\", expected the name of a set of ports that is defined above",
        ),
    ] {
        assert_eq!(refusal(text, None), expected);
    }
    // A canonical line that could not be read back is not taken.
    let ports = vec!["1"; 400].join(",");
    let line = format!("deny dport {ports}");
    assert!(line.len() < MAX_LINE);
    assert!(refusal(&line, None).contains("fewer values on the line"));
}

#[test]
fn one_text_behind_another() {
    let base = policy("set a { 1.1.1.1 }\nset p { 80 }\nset e { }\ndeny to @a\n");
    let text = "set b { 2.2.2.2 }\ndeny to @b\nallow to @a dport @p\ndeny to @e\ndefault deny\n";
    let more = || write(text, Some(&base)).unwrap();
    let taken = "line 1 column 5: got \"a\", expected a name that no other set has";
    assert_eq!(refusal("set a { 3 }", Some(&base)), taken);
    let kind = "got \"@p\", expected the name of a set of addresses that is defined above";
    assert!(refusal("deny to @p", Some(&base)).ends_with(kind));
    let both = append(&base, text).unwrap();
    assert_eq!(
        listing(&both),
        "set a { 1.1.1.1 }\nset p { 80 }\nset e { }\nset b { 2.2.2.2 }\n\
         deny to @a\ndeny to @b\nallow to @a dport @p\ndeny to @e\ndefault deny\n"
    );
    assert_eq!(decider(&both, &packet("2.2.2.2", 80, "")), 2);
    assert_eq!(decider(&both, &packet("1.1.1.1", 80, "")), 1);

    // Meanwhile somebody else may have put another text in force.
    let name = |text: &str| ctrfw_core::set::SetName::parse(text.as_bytes()).unwrap();
    for (other, expected) in [
        ("", Misfit::NoSet(name("a"))),
        (
            "set a { 80 }\nset p { 80 }\nset e { }",
            Misfit::NoSet(name("a")),
        ),
        // It was empty, and may have become what the rule is not about.
        (
            "set a { 1.1.1.1 }\nset p { 80 }\nset e { 80 }",
            Misfit::NoSet(name("e")),
        ),
        (
            "set b { 9.9.9.9 }\nset a { 1.1.1.1 }\nset p { 80 }\nset e { }",
            Misfit::SetTwice(name("b")),
        ),
    ] {
        assert_eq!(more().rebase(&policy(other)), Err(expected), "{other}");
    }
    // Other members of the same kind will do: the set is used by its name.
    let other = policy("set e { }\nset p { 22 }\nset a { 5.5.5.5 }\n");
    let mut more = more();
    more.rebase(&other).unwrap();
    let (other, _) = more
        .finish(Some(&other), &mut other.taken_slots().unwrap())
        .unwrap();
    assert_eq!(decider(&other, &packet("5.5.5.5", 22, "")), 2);
    assert_eq!(decider(&other, &packet("1.1.1.1", 22, "")), 0);
}

proptest! {
    #![proptest_config(common::config(500))]

    /// A set is what its members are, wherever the lines are cut.
    #[test]
    fn a_set_is_a_list(
        members in vec((0..4u32, 24..=32u8), 0..20),
        breaks in vec(any::<bool>(), 20),
        negated: bool,
        to in 0..1024u32,
    ) {
        let ip = |bits: u32| Ipv4Addr::from_bits(0x0a00_0000 | bits);
        let words: Vec<String> =
            members.iter().map(|(bits, len)| format!("{}/{len}", ip(bits * 200))).collect();
        let mut set = "set s {".to_owned();
        for (word, ends) in words.iter().zip(&breaks) {
            set += &format!(" {word},{}", if *ends { "\n" } else { "" });
        }
        let not = if negated { "!" } else { "" };
        let named = policy(&format!("{set} }}\ndeny to {not}@s\n"));
        prop_assert_eq!(listing(&policy(&listing(&named))), listing(&named));
        let packet = packet(&ip(to).to_string(), 80, "");
        let within = decider(&named, &packet) == 1;
        if words.is_empty() {
            prop_assert_eq!(within, negated);
        } else {
            let inline = policy(&format!("deny to {not}{{ {} }}\n", words.join(", ")));
            prop_assert_eq!(within, decider(&inline, &packet) == 1);
        }
    }
}
