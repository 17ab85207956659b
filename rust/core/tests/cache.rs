// SPDX-License-Identifier: GPL-2.0

//! The cache of decisions: its keys say what parsing says, and in front of policies, which take one
//! another's place, it changes no decision.

mod common;

use std::ops::Range;

use common::packet::{CONTAINER, HOST};
use common::plan::plan;
use common::text::policy;
use ctrfw_core::cache::{Cache, Hash, Recall, Secret, MAX_PLACES};
use ctrfw_core::family::Family;
use ctrfw_core::flow::{Flow, State};
use ctrfw_core::fragment::Fragment;
use ctrfw_core::generation::Generation;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::IfName;
use ctrfw_core::key::{Key, Names};
use ctrfw_core::memory::Heap;
use ctrfw_core::outcome::Outcome;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::policy::Policy;
use ctrfw_core::rule::Verb;
use ctrfw_core::slot::Slot;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};

/// A packet of a protocol with this payload.
fn bytes(v6: bool, from: u8, to: u8, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, payload.len() as u8, proto, 64];
        for last in [from, to] {
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        header
    } else {
        let len = 20 + payload.len() as u8;
        vec![
            0x45, 0, 0, len, 0, 0, 0x40, 0, 64, proto, 0, 0, 10, 0, 0, from, 10, 0, 0, to,
        ]
    };
    packet.extend(payload);
    packet
}

fn key_at(hook: Hook, family: Family, bytes: &[u8]) -> Option<(Key<'static>, u32)> {
    Key::of(hook, family, 1, bytes)
}

/// Addresses, protocol, and ports or ICMP type and code.
type Asked = (Option<AddrPair>, Option<u8>, Option<(u16, u16)>);

/// What rules can ask of headers.
fn asked(headers: &Headers) -> Asked {
    let transport = match headers.transport {
        Transport::Ports { source, dest, .. } => Some((source, dest)),
        Transport::Icmp { kind, code } => Some((kind.into(), code.into())),
        _ => None,
    };
    (headers.addrs, headers.proto.map(|proto| proto.0), transport)
}

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// How a packet may be spoilt: bytes that are changed, and where it ends.
fn spoiling() -> impl Strategy<Value = (Vec<(Index, u8)>, Option<Index>)> {
    (
        vec((any::<Index>(), any::<u8>()), 0..3),
        prop::option::of(any::<Index>()),
    )
}

fn spoilt(mut bytes: Vec<u8>, (changes, end): (Vec<(Index, u8)>, Option<Index>)) -> Vec<u8> {
    if let Some(end) = end {
        bytes.truncate(end.index(bytes.len() + 1));
    }
    // The first bytes decide.
    let head = bytes.len().min(48);
    if head != 0 {
        for (at, value) in changes {
            bytes[at.index(head)] = value;
        }
    }
    bytes
}

proptest! {
    #![proptest_config(common::config(20_000))]

    /// Only what is parsed without doubt has a key, and the length is that of the parser.
    #[test]
    fn key_of_any_packet(plan in plan(), spoiling in spoiling()) {
        let bytes = spoilt(plan.bytes(), spoiling);
        for family in FAMILIES {
            let headers = Headers::parse(family, &bytes[..]);
            prop_assert_eq!(Headers::len_of(family, &bytes[..]), headers.len);
            if let Some((_, len)) = key_at(Hook::Forward, family, &bytes) {
                prop_assert_eq!(len, headers.len);
                prop_assert_eq!(headers.unparsed, None);
                prop_assert_eq!(headers.fragment, Fragment::No);
            }
        }
    }

    /// Two packets have the same key if and only if rules can tell no difference.
    #[test]
    fn same_key_same_headers(
        a in (any::<bool>(), 0..2u8, 0..2u8, select(vec![1u8, 6, 17, 47, 58, 132]), vec(0..2u8, 4..9)),
        b in (any::<bool>(), 0..2u8, 0..2u8, select(vec![1u8, 6, 17, 47, 58, 132]), vec(0..2u8, 4..9)),
        hooks in (select(&Hook::ALL[..]), select(&Hook::ALL[..])),
    ) {
        let make = |(v6, from, to, proto, payload): &(bool, u8, u8, u8, Vec<u8>), hook| {
            let bytes = bytes(*v6, *from, *to, *proto, payload);
            let family = FAMILIES[usize::from(*v6)];
            let (key, _) = key_at(hook, family, &bytes).expect("plain");
            (key, asked(&Headers::parse(family, &bytes[..])))
        };
        let ((key_a, asked_a), (key_b, asked_b)) = (make(&a, hooks.0), make(&b, hooks.1));
        prop_assert_eq!(key_a == key_b, asked_a == asked_b && hooks.0 == hooks.1);
    }
}

#[test]
fn what_is_not_plain_has_no_key() {
    let forward = |family, bytes: &[u8]| key_at(Hook::Forward, family, bytes);
    let udp = bytes(false, 1, 2, 17, &[0, 1, 0, 2, 0, 8, 0, 0]);
    assert_eq!(forward(Family::Ipv4, &udp).map(|(_, len)| len), Some(28));
    assert_eq!(forward(Family::Ipv6, &udp), None);
    for (what, at, value) in [
        ("options", 0, 0x46),
        ("a short header", 0, 0x44),
        ("another version", 0, 0x65),
        ("a first fragment", 6, 0x20),
        ("a later fragment", 7, 1),
        ("a later fragment, far behind", 6, 0x10),
        ("a length beyond the end", 3, 29),
        ("a length within the header", 3, 19),
        ("a length within the ports", 3, 23),
    ] {
        let mut changed = udp.clone();
        changed[at] = value;
        assert_eq!(forward(Family::Ipv4, &changed), None, "{what}");
    }
    assert_eq!(forward(Family::Ipv4, &udp[..23]), None);
    let v6 = |next| bytes(true, 1, 2, next, &[6, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(forward(Family::Ipv6, &v6(17)).map(|(_, len)| len), Some(48));
    for next in [0, 43, 44, 51, 60] {
        assert_eq!(forward(Family::Ipv6, &v6(next)), None, "{next}");
    }
    assert_eq!(forward(Family::Ipv6, &v6(17)[..43]), None);
}

/// A slot of some policy, the one with this number counted from 0.
fn slot(number: usize) -> Slot {
    let rules = "allow\n".repeat(number + 1);
    let slots: Vec<_> = policy(&rules).slots().flatten().collect();
    slots[number]
}

fn udp_key(port: u16) -> Key<'static> {
    let [high, low] = port.to_be_bytes();
    let bytes = bytes(false, 1, 2, 17, &[high, low, 0, 2, 0, 8, 0, 0]);
    key_at(Hook::Forward, Family::Ipv4, &bytes).unwrap().0
}

/// A secret; no pattern in it.
fn secret() -> Secret {
    secret_of(0)
}

/// One of many secrets.
fn secret_of(number: u64) -> Secret {
    let mut word = 0x0123_4567_89ab_cdefu64.wrapping_add(number);
    Secret::new([(); Secret::WORDS].map(|()| {
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ 0x243f_6a88_85a3_08d3;
        word
    }))
}

/// What is remembered where it does not matter what.
fn passed() -> Outcome {
    Outcome {
        slot: slot(0),
        dropped: false,
    }
}

/// Asks the cache, unless it rests, and has it remember `value` if it should.
fn ask(cache: &mut Cache<Heap>, generation: Generation, key: &Key<'_>, value: Outcome) -> Recall {
    if cache.rests() {
        return Recall::New;
    }
    look(cache, generation, key, value)
}

/// The same, whether it rests or not.
fn look(cache: &mut Cache<Heap>, generation: Generation, key: &Key<'_>, value: Outcome) -> Recall {
    let hash = Hash::of(&secret(), generation, key);
    let recall = cache.find(generation, hash, key);
    if recall == Recall::Again {
        cache.remember(generation, hash, key, value);
    }
    recall
}

/// Asks for a flow of each of these ports; how many are known.
fn known(cache: &mut Cache<Heap>, ports: Range<u16>, value: Outcome) -> usize {
    let known = Recall::Known(value);
    let generation = Generation::default();
    ports
        .filter(|port| ask(cache, generation, &udp_key(*port), value) == known)
        .count()
}

#[test]
fn remembered_from_the_second_time_on() {
    let mut cache = Cache::<Heap>::new(64).unwrap();
    let generation = Generation::default();
    let value = Outcome {
        slot: slot(3),
        dropped: true,
    };
    assert_eq!(ask(&mut cache, generation, &udp_key(1), value), Recall::New);
    assert_eq!(
        ask(&mut cache, generation, &udp_key(1), value),
        Recall::Again
    );
    for _ in 0..1000 {
        assert_eq!(
            ask(&mut cache, generation, &udp_key(1), value),
            Recall::Known(value)
        );
    }
    // Another table, and other packets, know nothing of it.
    let next = generation.next();
    assert_ne!(
        ask(&mut cache, next, &udp_key(1), value),
        Recall::Known(value)
    );
    assert_ne!(
        ask(&mut cache, generation, &udp_key(2), value),
        Recall::Known(value)
    );
    assert_eq!(
        ask(&mut cache, generation, &udp_key(1), value),
        Recall::Known(value)
    );
}

#[test]
fn each_word_of_a_key_tells_apart() {
    let mut cache = Cache::<Heap>::new(64).unwrap();
    let generation = Generation::default();
    let value = passed();
    let none = Names::default();
    let key = |change: &dyn Fn(&mut Key<'_>)| {
        let mut key = udp_key(1);
        key.set_names(&none);
        change(&mut key);
        key
    };
    let names: Vec<_> = (0..8)
        .map(|which| {
            let mut names = none;
            let [devices, ports] = [&mut names.devices, &mut names.ports];
            let all = devices.iter_mut().chain(ports).flatten();
            *all.into_iter().nth(which).unwrap() = 1;
            names
        })
        .collect();
    let mut keys = vec![key(&|_| {}), key(&|key| key.set_mark(1))];
    for state in [
        State::New,
        State::Established,
        State::Related,
        State::Invalid,
        State::Untracked,
    ] {
        keys.push(key(&|key| key.set_state(state)));
    }
    for names in &names {
        let mut key = udp_key(1);
        key.set_names(names);
        keys.push(key);
    }
    let bytes = bytes(false, 1, 2, 17, &[0, 1, 0, 2, 0, 8, 0, 0]);
    let (mut elsewhere, _) = Key::of(Hook::Forward, Family::Ipv4, 2, &bytes[..]).unwrap();
    elsewhere.set_names(&none);
    keys.push(elsewhere);
    for (index, first) in keys.iter().enumerate() {
        // With the hash of the first, as if all hashes were the same.
        let hash = Hash::of(&secret(), generation, first);
        cache.remember(generation, hash, first, value);
        for other in keys.iter().filter(|other| *other != first) {
            let mut find = |key| cache.find(generation, hash, key);
            assert_eq!(find(first), Recall::Known(value), "{index}");
            assert_ne!(find(other), Recall::Known(value), "{index}");
        }
    }
}

/// Whatever comes, it is not larger than was asked for, and finds what came twice.
#[test]
fn many_more_than_there_is_room_for() {
    for places in [1, 4, 5, 1000] {
        let mut cache = Cache::<Heap>::new(places).unwrap();
        let memory = cache.memory();
        assert!(
            memory <= places.div_ceil(4).next_power_of_two() * 4 * 132,
            "{places}"
        );
        let generation = Generation::default();
        let slots: Vec<_> = (0..8).map(slot).collect();
        for port in (0..10_000u16).chain(0..10_000) {
            let value = Outcome {
                slot: slots[usize::from(port % 8)],
                dropped: port % 2 == 0,
            };
            for _ in 0..3 {
                let recall = ask(&mut cache, generation, &udp_key(port), value);
                if let Recall::Known(known) = recall {
                    assert_eq!(known, value);
                }
            }
            assert_eq!(
                ask(&mut cache, generation, &udp_key(port), value),
                Recall::Known(value)
            );
        }
        assert_eq!(cache.memory(), memory);
    }
    assert!(Cache::<Heap>::new(usize::MAX).unwrap().memory() <= MAX_PLACES * 132);
}

/// Those that are noted in one word in turn, and are too many for it, are remembered all the same, sooner or later.
#[test]
fn flows_that_meet() {
    let mut cache = Cache::<Heap>::new(256).unwrap();
    for _ in 0..300 {
        known(&mut cache, 0..64, passed());
    }
    assert!(known(&mut cache, 0..64, passed()) >= 60);
    let mut cache = Cache::<Heap>::new(256).unwrap();
    for _ in 0..300 {
        known(&mut cache, 0..128, passed());
    }
    let found = known(&mut cache, 0..128, passed());
    assert!(found >= 118, "{found} of 128");
}

/// Flows in turn, a quarter as many as there are places, are known when they come for the third time.
#[test]
fn flows_that_take_turns() {
    let mut cache = Cache::<Heap>::new(4096).unwrap();
    for _ in 0..2 {
        known(&mut cache, 0..1000, passed());
    }
    let found = known(&mut cache, 0..1000, passed());
    assert!(found >= 960, "{found} of 1000");
}

/// Flows that follow one another, by source, destination or port, spread over the sets whatever the secret.
#[test]
fn flows_in_a_row() {
    let generation = Generation::default();
    let value = passed();
    for (number, at) in (0..60u64).flat_map(|number| [(number, 14), (number, 18), (number, 20)]) {
        let secret = secret_of(number);
        let hashes = (0..1000u16).map(|flow| {
            let mut bytes = bytes(false, 1, 2, 17, &[0, 1, 0, 2, 0, 8, 0, 0]);
            bytes[at..at + 2].copy_from_slice(&flow.to_be_bytes());
            let (key, _) = key_at(Hook::Forward, Family::Ipv4, &bytes).unwrap();
            (Hash::of(&secret, generation, &key), key)
        });
        let hashes: Vec<_> = hashes.collect();
        let mut cache = Cache::<Heap>::new(4096).unwrap();
        for (hash, key) in &hashes {
            cache.remember(generation, *hash, key, value);
        }
        let known = hashes
            .iter()
            .filter(|(hash, key)| cache.find(generation, *hash, key) == Recall::Known(value));
        let known = known.count();
        assert!(
            known > 950,
            "{known} of 1000 with secret {number}, byte {at}"
        );
    }
}

/// A flood of packets of which no two are alike leaves most of what is of use where it is, and few of them
/// are looked for.
#[test]
fn flood() {
    let mut cache = Cache::<Heap>::new(1024).unwrap();
    for _ in 0..100 {
        known(&mut cache, 0..100, passed());
    }
    let mut looked_for = 0;
    for port in 1000..61_000 {
        if !cache.rests() {
            looked_for += 1;
            look(&mut cache, Generation::default(), &udp_key(port), passed());
        }
    }
    assert!(looked_for < 60_000 / 10, "{looked_for} of 60000");
    // It may be resting; what it has is found when it looks again.
    let found = (0..400).map(|_| known(&mut cache, 0..100, passed())).max();
    assert!(found > Some(80), "{found:?} of 100");
}

/// As many flows as there are places, in turn, are looked for until they are found.
#[test]
fn as_many_as_there_is_room_for() {
    let mut cache = Cache::<Heap>::new(4096).unwrap();
    let generation = Generation::default();
    let value = passed();
    let mut found = 0;
    for _ in 0..10 {
        found = 0;
        for port in 0..3000 {
            assert!(!cache.rests());
            let recall = look(&mut cache, generation, &udp_key(port), value);
            found += usize::from(recall == Recall::Known(value));
        }
    }
    assert!(found > 2100, "{found} of 3000");
}

/// A packet, and all that is known of it beside its headers.
#[derive(Clone, Debug)]
struct Arrival {
    v6: bool,
    bytes: Vec<u8>,
    hook: Hook,
    host: bool,
    /// The numbers of the two namespaces that are no host's
    second: bool,
    mark: u32,
    names: [u8; 4],
    state: State,
}

const STATES: [State; 3] = [State::New, State::Established, State::Invalid];

fn arrival() -> impl Strategy<Value = Arrival> {
    let headers = (
        any::<bool>(),
        0..2u8,
        0..2u8,
        select(vec![1u8, 6, 17]),
        vec(0..3u8, 8),
    );
    let around = (any::<[bool; 2]>(), 0..2u32, [0..2u8, 0..2, 0..2, 0..2]);
    (
        headers,
        select(vec![Hook::LocalIn, Hook::Forward]),
        around,
        select(&STATES[..]),
    )
        .prop_map(
            |((v6, from, to, proto, payload), hook, ([host, second], mark, names), state)| {
                Arrival {
                    v6,
                    bytes: bytes(v6, from, to, proto, &payload),
                    hook,
                    host,
                    second,
                    mark,
                    names,
                    state,
                }
            },
        )
}

fn rule() -> impl Strategy<Value = String> {
    let words = vec![
        "from 10.0.0.0",
        "to 10.0.0.1",
        "to fd00::1",
        "proto udp",
        "proto tcp dport 1-258",
        "icmp-type 1",
        "hook forward",
        "family ipv6",
        "netns host",
        "netns container",
        "netns 7",
        "mark 1",
        "in a*",
        "out a",
        "port-in a",
        "port-out !a",
        "state new",
        "state !established",
    ];
    let verbs = vec!["allow", "deny", "deny log", "audit", "reject"];
    (select(verbs), select(words.clone()), select(words)).prop_map(|(verb, a, b)| {
        let first = |words: &str| words.split(' ').next().map(str::to_owned);
        let any = |of: &[&str]| of.iter().any(|part| a.contains(part) || b.contains(part));
        // Each key once, one family, and no ports of other protocols.
        let families = any(&["10.0"]) && any(&["fd00", "ipv6"]);
        if first(a) == first(b) || families || any(&["dport", "icmp"]) {
            format!("{verb} {a}\n")
        } else {
            format!("{verb} {a} {b}\n")
        }
    })
}

fn table() -> impl Strategy<Value = String> {
    let end = vec![
        "",
        "default deny\n",
        "default deny hook forward\n",
        "mode audit\n",
    ];
    (vec(rule(), 0..5), select(end)).prop_map(|(rules, end)| format!("{}{end}", rules.concat()))
}

/// The packet as a policy is asked about it, and its key as far as the policy needs it, with `names`.
fn prepare<'a>(
    policy: &Policy<Heap>,
    arrival: &Arrival,
    names: &'a mut Names,
) -> (Packet, Key<'a>) {
    let family = FAMILIES[usize::from(arrival.v6)];
    let mut netns = if arrival.host { HOST } else { CONTAINER };
    if !arrival.host && arrival.second {
        netns.inode = 7;
    }
    let cookie = if arrival.host {
        1
    } else {
        2 + u64::from(arrival.second)
    };
    let headers = Headers::parse(family, &arrival.bytes[..]);
    let mut packet = Packet::new(arrival.hook, netns, family, headers);
    let (mut key, len) = Key::of(arrival.hook, family, cookie, &arrival.bytes[..]).unwrap();
    assert_eq!(len, headers.len);
    let name = |on: u8| {
        if on == 1 {
            common::packet::name("a")
        } else {
            IfName::default()
        }
    };
    let [input, output, phys_input, phys_output] = arrival.names;
    (packet.input, packet.output) = (name(input), name(output));
    (packet.phys_input, packet.phys_output) = (name(phys_input), name(phys_output));
    packet.mark = arrival.mark;
    packet.flow = Flow::Known(arrival.state, None);
    let needs = policy.needs();
    if needs.mark {
        key.set_mark(arrival.mark);
    }
    if needs.flows.contains(arrival.hook) {
        key.set_state(arrival.state);
    }
    let field = |on: u8| name(on).words();
    if needs.interfaces {
        names.devices = [field(input), field(output)];
    }
    if needs.ports {
        names.ports = [field(phys_input), field(phys_output)];
    }
    if needs.interfaces || needs.ports {
        key.set_names(names);
    }
    (packet, key)
}

proptest! {
    #![proptest_config(common::config(2_000))]

    /// Whatever packets come, and whatever tables take one another's place: what the cache knows is what
    /// the table in force says.
    #[test]
    fn no_decision_changes(
        tables in vec(table(), 1..4),
        arrivals in vec(arrival(), 1..6),
        order in vec((any::<Index>(), 0..40usize), 1..200),
        places in 1..20usize,
    ) {
        let policies: Vec<_> = tables.iter().map(|text| policy(text)).collect();
        let mut cache = Cache::<Heap>::new(places).unwrap();
        let (mut table, mut generation) = (0, Generation::default());
        for (which, swap) in order {
            if swap == 0 {
                table = (table + 1) % policies.len();
                generation = generation.next();
            }
            let policy = &policies[table];
            let mut names = Names::default();
            let (packet, key) = prepare(policy, which.get(&arrivals), &mut names);
            let mut audited = false;
            let (decision, slot) = policy.judge(&packet, |_, _| audited = true);
            let plain = matches!(decision.verb, Verb::Allow | Verb::Deny)
                && !audited
                && policy.log(decision).is_none();
            if !policy.reaches(packet.hook, packet.family, packet.netns) {
                prop_assert!(slot == policy.nobody_slot() && !audited);
            }
            let value = Outcome { slot: slot.unwrap(), dropped: decision.verb == Verb::Deny };
            // A key as hooks make it from bytes, where headers are parsed for judging.
            if let Some(told) = policy.first_look(&key, packet.netns) {
                prop_assert!(plain);
                prop_assert_eq!(told, value);
            }
            let hash = Hash::of(&secret(), generation, &key);
            match cache.find(generation, hash, &key) {
                Recall::Known(known) => {
                    prop_assert!(plain);
                    prop_assert_eq!(known, value);
                }
                Recall::Again if plain => cache.remember(generation, hash, &key, value),
                Recall::Again | Recall::New => {}
            }
        }
    }
}
