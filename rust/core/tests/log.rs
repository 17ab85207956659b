// SPDX-License-Identifier: GPL-2.0

//! The `log` option: what is accepted, how it is read back, what is refused, whom it is about, and
//! the lines.

mod common;

use common::packet::{on_host, ported};
use common::text::{append, definite, lines, load, refused};
use ctrfw_core::event::LogEvent;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::IfName;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::Packet;
use ctrfw_core::proto::Protocol;
use ctrfw_core::queue::Queue;
use ctrfw_core::reject::Answer;
use ctrfw_core::rule::{Decider, Decision, Mode, Verb};

#[test]
fn read_back() {
    for (written, read) in [
        ("deny log", "deny log"),
        ("deny log every 10s", "deny log"),
        ("deny log every 10000ms", "deny log"),
        ("deny log every 500ms", "deny log every 500ms"),
        ("deny log every 90s", "deny log every 90s"),
        ("deny log every 120s", "deny log every 2m"),
        ("deny log every 60m", "deny log every 1h"),
        ("deny log every 24h", "deny log every 24h"),
        ("deny log every 86400000ms", "deny log every 24h"),
        ("deny log every 0001s", "deny log every 1s"),
        ("allow log \"web\" dport 80", "allow dport 80 log \"web\""),
        (
            "allow comment \"c\" log \"p q\" every 5m netns host",
            "allow netns host log \"p q\" every 5m comment \"c\"",
        ),
        ("deny log comment \"every\"", "deny log comment \"every\""),
        ("default deny log", "default deny log"),
        (
            "default deny log \"ü\" every 1s hook forward",
            "default deny hook forward log \"ü\" every 1s",
        ),
    ] {
        assert_eq!(lines(&load(written).unwrap()), [read], "{written}");
        assert_eq!(lines(&load(read).unwrap()), [read], "{read}");
    }
    let longest = format!("deny log \"{}\"", "x".repeat(63));
    assert_eq!(lines(&load(&longest).unwrap()), [longest]);
}

#[test]
fn wrong_ones_are_refused() {
    for (line, column) in [
        ("deny log prefix", 10),
        ("deny log \"\"", 10),
        ("deny log \"a\x07\"", 10),
        ("deny log \"a\" \"b\"", 14),
        ("deny log every", 15),
        ("deny log every 0s", 16),
        ("deny log every 10", 16),
        ("deny log every s", 16),
        ("deny log every 1d", 16),
        ("deny log every 25h", 16),
        ("deny log every 86400001ms", 16),
        ("deny log every 4294967297s", 16),
        ("deny log every \"1s\"x", 20),
        ("deny log every -1s", 16),
        ("deny log every 1s every 1s", 19),
        ("deny log log", 10),
        ("deny every 1s", 6),
        ("default deny log log", 18),
        ("default log", 9),
        ("default deny every 1s", 14),
    ] {
        assert_eq!(refused(line).column, column, "{line}");
    }
    assert_eq!(
        refused(&format!("deny log \"{}\"", "x".repeat(64))).column,
        10
    );
}

#[test]
fn told_at_once() {
    for line in [
        "deny log every 25h",
        "deny log every 1x",
        "deny log pre",
        "deny log \"\x07",
    ] {
        assert!(definite(line.as_bytes()), "{line}");
    }
    for line in [
        "deny dport 1 log \"a b\" every 15ms comment \"x\"",
        "default deny log \"a b\" every 24h hook forward",
        "deny log every 0010s",
    ] {
        for len in 0..line.len() {
            assert!(!definite(&line.as_bytes()[..len]), "{line}: {len} bytes");
        }
    }
}

fn denied(decider: Decider) -> Decision {
    let verb = Verb::Deny;
    Decision { verb, decider }
}

/// What is on trial is logged also where nobody says so.
#[test]
fn trials() {
    let says = |text: &str, verb| {
        let policy = load(text).unwrap();
        let decider = Decider::Rule(0);
        let log = policy.log(Decision { verb, decider });
        assert!(policy.logs() || log.is_none(), "{text}");
        log.map(|log| (policy.prefix(decider).to_owned(), log.every.millis()))
    };
    let usual = Some(("log".to_owned(), 10_000));
    assert_eq!(says("audit", Verb::Audit), usual);
    let own = Some(("x".to_owned(), 1_000));
    assert_eq!(says("audit log \"x\" every 1s", Verb::Audit), own);
    assert_eq!(says("deny", Verb::Deny), None);
    assert_eq!(says("mode audit\ndeny", Verb::Deny), usual);
    assert_eq!(
        says("mode audit\nreject", Verb::Reject(Answer::default())),
        usual
    );
    assert_eq!(says("mode audit\nallow", Verb::Allow), None);
    // What would come of it nobody knows: that is no refusal on trial.
    let queue = Verb::Queue(Queue::default());
    assert_eq!(says("mode audit\nqueue 0 netns host", queue), None);
    let logged = "mode audit\nqueue 0 netns host log \"x\" every 1s";
    assert_eq!(says(logged, queue), own);
    assert_eq!(says("mode audit\ndeny log \"x\" every 1s", Verb::Deny), own);
    assert_eq!(says("mode enforce\ndeny", Verb::Deny), None);
}

#[test]
fn whose_packets() {
    let mut policy = load("deny dport 1\ndeny dport 2 log\ndefault deny").unwrap();
    assert!(policy.logs());
    assert!(!load("deny\ndefault deny").unwrap().logs());
    assert!(policy.log(denied(Decider::Rule(0))).is_none());
    let log = policy.log(denied(Decider::Rule(1))).unwrap();
    let prefix = policy.prefix(Decider::Rule(1));
    assert_eq!((prefix, log.every.millis()), ("log", 10_000));
    assert!(policy.log(denied(Decider::Rule(2))).is_none());
    assert!(policy.log(denied(Decider::Default(0))).is_none());
    assert!(policy.log(denied(Decider::Nobody)).is_none());

    let more =
        "allow log \"more\" every 1s\ndefault deny log \"last\"\ndefault allow hook forward log";
    policy = append(&policy, more).unwrap();
    for (decider, prefix, every) in [
        (Decider::Rule(1), "log", 10_000),
        (Decider::Rule(2), "more", 1_000),
        (Decider::Default(0), "last", 10_000),
        (Decider::Default(1), "log", 10_000),
    ] {
        let log = policy.log(denied(decider)).unwrap();
        let found = (policy.prefix(decider), log.every.millis());
        assert_eq!(found, (prefix, every));
    }
    // A default that does not log takes the place of one that does.
    policy = append(&policy, "default deny").unwrap();
    assert!(policy.log(denied(Decider::Default(0))).is_none());
}

fn name(text: &str) -> IfName {
    let mut field = [0; ctrfw_core::iface::IFNAMSIZ];
    field[..text.len()].copy_from_slice(text.as_bytes());
    IfName::from_field(field)
}

#[test]
fn the_line() {
    let policy = load("deny log \"web\"").unwrap();
    let packet = Packet {
        netns: NetnsId {
            inode: 7,
            host: true,
        },
        ..on_host(
            Hook::Forward,
            ported(Protocol::UDP, ("10.0.0.1", 1), ("10.0.0.2", 2)),
        )
    };
    let event = LogEvent {
        prefix: policy.prefix(Decider::Rule(0)),
        packet: &packet,
        input: name("eth0"),
        output: name("a b"),
        decision: policy.decide(&packet, |_| {}),
        mode: Mode::Enforce,
        held_back: 3,
    };
    assert_eq!(
        event.to_string(),
        "web deny netns=7(host) hook=FORWARD in=eth0 out=a\\x20b src=10.0.0.1 dst=10.0.0.2 \
         proto=UDP spt=1 dpt=2 len=60 rule=1 held_back=3"
    );
}
