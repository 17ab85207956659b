// SPDX-License-Identifier: GPL-2.0

//! `cgroup`: how paths are written and read back, and what the word makes of packets.

mod common;

use std::collections::HashMap;

use common::packet::{on_host, ported, CONTAINER, HOST};
use common::text::{listing, load, policy, write};
use ctrfw_core::cgroup::{CgroupId, CgroupPath, Lineage, SocketCgroup, MAX_LEVEL};
use ctrfw_core::edit::Addition;
use ctrfw_core::hook::{Hook, HookSet};
use ctrfw_core::memory::Heap;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::{Grammar as _, Table};
use ctrfw_core::policy::Policy;
use ctrfw_core::proto::Protocol;
use ctrfw_core::rule::Verb;
use proptest::prelude::*;

/// The cgroups of a system, by their paths.
#[derive(Default)]
struct System(HashMap<String, (usize, u64)>, u64);

impl System {
    fn with(paths: &[&str]) -> Self {
        let mut system = Self::default();
        system.0.insert("/".to_owned(), (0, 1));
        system.1 = 1;
        for path in paths {
            system.make(path);
        }
        system
    }

    /// Makes a cgroup and all above it; one that was there is another one then.
    fn make(&mut self, path: &str) {
        for part in CgroupPath::parse(path.as_bytes()).unwrap().way() {
            if part == path || !self.0.contains_key(part) {
                self.1 += 1;
                self.0
                    .insert(part.to_owned(), (part.matches('/').count(), self.1));
            }
        }
    }

    fn find(&self, path: &str) -> Result<CgroupId, String> {
        let (level, number) = self.0.get(path).ok_or_else(|| path.to_owned())?;
        CgroupId::new(*level, *number).ok_or_else(|| path.to_owned())
    }

    /// What a packet of a socket in there shows.
    fn socket(&self, path: &str) -> SocketCgroup {
        let mut numbers = [0; MAX_LEVEL];
        let path = CgroupPath::parse(path.as_bytes()).unwrap();
        for (slot, part) in numbers.iter_mut().zip(path.way()) {
            *slot = self.0[part].1;
        }
        SocketCgroup::In(Lineage::new(numbers))
    }

    fn policy(&self, text: &str) -> Policy<Heap> {
        self.added(text, None)
    }

    /// What comes of a text behind `base`.
    fn added(&self, text: &str, base: Option<&Policy<Heap>>) -> Policy<Heap> {
        let mut addition = write(text, base).unwrap();
        addition.resolve_cgroups(|path| self.find(path)).unwrap();
        let mut slots = base.map_or_else(Default::default, |base| base.taken_slots().unwrap());
        addition.finish(base, &mut slots).unwrap().0
    }
}

fn packet(cgroup: SocketCgroup) -> Packet {
    let headers = ported(Protocol::UDP, ("192.0.2.1", 1), ("192.0.2.1", 2));
    Packet {
        cgroup,
        ..on_host(Hook::LocalIn, headers)
    }
}

fn denies(policy: &Policy<Heap>, cgroup: SocketCgroup) -> bool {
    policy.decide(&packet(cgroup), |_| {}).verb == Verb::Deny
}

#[test]
fn canonical() {
    for (text, canonical) in [
        ("cgroup /", "cgroup /"),
        ("cgroup /a/b.slice/", "cgroup /a/b.slice"),
        ("cgroup \"/a\"", "cgroup /a"),
        ("cgroup \"/a b/c\"", "cgroup \"/a b/c\""),
        ("cgroup \"/a,b\"", "cgroup \"/a,b\""),
        ("cgroup !{ /a,/b/ }", "cgroup !{ /a, /b }"),
        ("cgroup /a,\"/b c\"", "cgroup { /a, \"/b c\" }"),
        ("cgroup /a\\x2db/#1/!x/@y", "cgroup /a\\x2db/#1/!x/@y"),
        ("cgroup /...", "cgroup /..."),
        ("cgroup /M\u{fc}ll", "cgroup /M\u{fc}ll"),
        (
            "netns host cgroup /a mark 1 state new",
            "mark 0x1 cgroup /a state new netns host",
        ),
    ] {
        let read = listing(&policy(&format!("deny {text}\n")));
        assert_eq!(read, format!("deny {canonical}\n"));
        assert_eq!(listing(&policy(&read)), read);
    }
}

#[test]
fn refused() {
    let deep = "/a".repeat(MAX_LEVEL + 1);
    for (path, definite) in [
        ("a", true),
        ("a/b", true),
        ("//", true),
        ("/a//b", true),
        ("/a//", true),
        ("/.", false),
        ("/a/..", false),
        ("/a/../b", true),
        ("/./a", true),
        ("@set", true),
        ("/a\"b", true),
        ("/a\u{7f}", true),
        ("/a\u{2028}", true),
        (deep.as_str(), false),
    ] {
        let line = format!("deny cgroup {path}");
        let fault = Table::parse(line.as_bytes(), &mut Default::default()).unwrap_err();
        assert_eq!((fault.at, fault.definite), (12, definite), "{path}");
        let line = format!("{line} dport 1");
        let fault = Table::parse(line.as_bytes(), &mut Default::default()).unwrap_err();
        assert!(fault.definite, "{path}");
    }
    for line in [
        "deny cgroup",
        "deny cgroup \"/a",
        "deny cgroup \"\"",
        "deny cgroup { }",
        "deny cgroup /a /b",
        "deny cgroup /a cgroup /b",
        "default deny cgroup /a",
    ] {
        assert!(load(&format!("{line}\n")).is_err(), "{line}");
    }
    assert!(CgroupPath::parse(b"/a\xc3").is_none() && CgroupPath::may_become(b"/a\xc3"));
    assert!(!CgroupPath::may_become(b"/a\xff"));
    assert_eq!(
        CgroupPath::parse("/a".repeat(MAX_LEVEL).as_bytes())
            .unwrap()
            .way()
            .count(),
        MAX_LEVEL
    );
}

#[test]
fn itself_and_what_is_below() {
    let system = System::with(&["/a/b/c", "/a/bb", "/x"]);
    let all = ["/", "/a", "/a/b", "/a/b/c", "/a/bb", "/x"];
    for wide in all {
        for narrow in all {
            let below = wide == "/" || narrow == wide || narrow.starts_with(&format!("{wide}/"));
            let socket = system.socket(narrow);
            let positive = system.policy(&format!("deny cgroup {wide}\n"));
            let negative = system.policy(&format!("deny cgroup !{wide}\n"));
            assert_eq!(denies(&positive, socket), below, "{wide} {narrow}");
            assert_eq!(denies(&negative, socket), !below, "{wide} {narrow}");
            let path = |text: &'static str| CgroupPath::parse(text.as_bytes()).unwrap();
            assert_eq!(path(wide).encloses(path(narrow)), below);
        }
    }
    let several = system.policy("deny cgroup { /x, /a/b }\n");
    let denied = all.map(|path| denies(&several, system.socket(path)));
    assert_eq!(denied, [false, false, true, true, false, true]);
}

/// What does not show its socket, or has none
#[test]
fn doubt() {
    let system = System::with(&["/a"]);
    for word in ["cgroup /a", "cgroup !/a", "cgroup /", "cgroup !/"] {
        let allow = system.policy(&format!("allow {word}\ndeny\n"));
        let deny = system.policy(&format!("deny {word}\n"));
        for (cgroup, expected) in [
            (SocketCgroup::NoSocket, (false, false)),
            (SocketCgroup::Fragment, (true, false)),
            (SocketCgroup::Unknown, (false, true)),
        ] {
            let matches = (!denies(&allow, cgroup), denies(&deny, cgroup));
            assert_eq!(matches, expected, "{word} {cgroup:?}");
        }
    }
}

/// A cgroup that takes another one's path is not that one.
#[test]
fn removed_and_made_again() {
    let mut system = System::with(&["/a/b"]);
    let table = system.policy("deny cgroup /a/b\n");
    let old = system.socket("/a/b");
    system.make("/a/b");
    assert!(denies(&table, old));
    assert!(!denies(&table, system.socket("/a/b")));
    // What is added means the new one; the old rule stays what it is.
    let table = system.added("deny cgroup /a/b dport 2\n", Some(&table));
    assert!(denies(&table, old) && denies(&table, system.socket("/a/b")));
}

/// A path that leads nowhere is told of, the first of them.
#[test]
fn not_found() {
    let system = System::with(&["/a"]);
    let mut table = write::<Heap>("deny cgroup { /a, /b, /c }\n", None).unwrap();
    let told = table.resolve_cgroups(|path| system.find(path));
    assert_eq!(told, Err("/b".to_owned()));
    assert!(CgroupId::new(MAX_LEVEL, 1).is_some());
    assert!(CgroupId::new(MAX_LEVEL + 1, 1).is_none());
}

/// Cgroups, their paths and what they need stay with their rules.
#[test]
fn moved() {
    let system = System::with(&["/a", "/b b"]);
    let base = system.policy("deny cgroup /a hook local_out\nallow dport 9\n");
    let mut addition = Addition::<Heap>::default();
    for line in ["insert 1 deny cgroup \"/b b\" hook local_in", "delete 3"] {
        let statement = Table::parse(line.as_bytes(), &mut Default::default());
        addition
            .accept(statement.unwrap().unwrap(), Some(&base))
            .unwrap();
        addition.resolve_cgroups(|path| system.find(path)).unwrap();
    }
    let mut slots = base.taken_slots().unwrap();
    let (edited, _) = addition.finish(Some(&base), &mut slots).unwrap();
    assert_eq!(
        listing(&edited),
        "deny cgroup \"/b b\" hook local_in\ndeny cgroup /a hook local_out\n"
    );
    assert!(denies(&edited, system.socket("/b b")));
    assert!(!denies(&edited, system.socket("/a")));
    let needs = edited.needs();
    assert_eq!(
        needs.cgroups,
        HookSet::of(Hook::LocalIn).with(Hook::LocalOut)
    );
    assert!(needs.receivers());
    assert_eq!(edited.values(), 2);
}

#[test]
fn needs() {
    for (text, receivers) in [
        ("deny dport 1\n", false),
        ("deny cgroup / hook local_out,post_routing,forward\n", false),
        ("deny cgroup / hook local_in\n", true),
        ("deny cgroup / hook pre_routing\n", true),
        ("deny cgroup /\n", true),
    ] {
        assert_eq!(policy(text).needs().receivers(), receivers, "{text}");
    }
    assert!(policy("deny dport 1\n").needs().cgroups.is_empty());
    let elsewhere = NetnsId {
        inode: 4026532500,
        host: false,
    };
    for (text, host, container, others) in [
        (
            "deny cgroup / netns host\ndeny dport 1\n",
            true,
            false,
            false,
        ),
        ("deny cgroup / netns !container\n", true, false, false),
        ("deny cgroup /\n", true, true, true),
        (
            "deny cgroup / netns host\naudit cgroup / netns container\n",
            true,
            true,
            true,
        ),
        (
            "deny cgroup / netns { host, 4026532183 }\n",
            true,
            true,
            false,
        ),
        ("deny cgroup / netns 4026532183\n", false, true, false),
        ("deny cgroup / netns 4026531840\n", true, false, false),
        ("deny dport 1\n", false, false, false),
    ] {
        let table = policy(text);
        let found = [HOST, CONTAINER, elsewhere].map(|netns| table.cgroup_scope().contains(netns));
        assert_eq!(found, [host, container, others], "{text}");
    }
}

proptest! {
    /// However a path is cut, its beginning is not taken for wrong.
    #[test]
    fn a_beginning_may_become(path in "(/([a-z .é]|\\.\\.){1,4}){1,3}/?") {
        if CgroupPath::parse(path.as_bytes()).is_some() {
            for len in 0..=path.len() {
                prop_assert!(CgroupPath::may_become(&path.as_bytes()[..len]), "{}", len);
            }
        }
    }

    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(path) = CgroupPath::parse(&text) {
            prop_assert!(CgroupPath::may_become(&text));
            prop_assert_eq!(CgroupPath::parse(path.as_str().as_bytes()), Some(path));
        }
    }
}
