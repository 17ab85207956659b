// SPDX-License-Identifier: GPL-2.0

//! What a classifier can know of a rule, made of its words. All process context.

use crate::addr::AddrRange;
use crate::family::Family;
use crate::hook::HookSet;
use crate::iface::IfPattern;
use crate::memory::{Memory, NoMemory};
use crate::netns::NetnsMatch;
use crate::port::PortRange;
use crate::proto::Protocol;

use super::grow::Grower;
use super::key::{digest, Class, Extra};
use super::record::{Record, Role, RULES};
use super::spans::{Spans, ALL_PORTS};
use super::word::Word;
use super::{Group, Side};

/// Most values of a word that are told apart
const VALUES: usize = 8;
/// Most records of a rule
const RECORDS: usize = 16;
/// The same where there are many already
const FEW: usize = 2;

/// Some ranges of numbers, or all numbers.
struct Ranges<N> {
    list: [(N, N); VALUES],
    len: usize,
    /// Whether all numbers are meant, which nobody has said anything of.
    all: bool,
    /// Whether there may be numbers in them that were not asked for.
    wide: bool,
}

impl<N: Copy + Ord> Ranges<N> {
    const fn all(zero: N) -> Self {
        Self {
            list: [(zero, zero); VALUES],
            len: 1,
            all: true,
            wide: false,
        }
    }

    fn begin(&mut self) {
        (self.len, self.all, self.wide) = (1, true, false);
    }

    fn add(&mut self, first: N, last: N) {
        if let Some(place) = self.list.get_mut(self.len) {
            *place = (first, last);
            self.len = self.len.saturating_add(1);
            return;
        }
        self.join();
        if let Some(all) = self.list.first_mut() {
            *all = (all.0.min(first), all.1.max(last));
        }
    }

    /// Makes one range of all.
    fn join(&mut self) {
        let whole = |a: (N, N), b: (N, N)| (a.0.min(b.0), a.1.max(b.1));
        let ranges = self.list.iter().take(self.len).copied();
        if let (true, Some(all)) = (self.len > 1, ranges.reduce(whole)) {
            self.wide = true;
            self.len = 1;
            if let Some(place) = self.list.first_mut() {
                *place = all;
            }
        }
    }

    /// The first and the last number of each; nothing for all.
    fn iter(&self) -> impl Iterator<Item = Option<(N, N)>> + '_ {
        let ranges = self.list.iter().take(self.len);
        ranges.map(|range| (!self.all).then_some(*range))
    }

    /// Begins with none.
    fn clear(&mut self) {
        (self.len, self.all) = (0, false);
    }
}

impl Ranges<u128> {
    fn add_addrs(&mut self, family: Family, values: impl Iterator<Item = AddrRange>) {
        self.clear();
        for range in values {
            let Some((first, last)) = range.numbers(family) else {
                continue;
            };
            // What is not a prefix is more nearly two of them than one.
            let bits = (first ^ last).leading_zeros();
            let half = u128::MAX.checked_shr(bits.saturating_add(1)).unwrap_or(0);
            let middle = last & !half;
            if first < middle && (first & half != 0 || last & half != half) {
                self.add(first, middle.saturating_sub(1));
                self.add(middle, last);
            } else {
                self.add(first, last);
            }
        }
    }
}

impl Ranges<u16> {
    fn add_ports(&mut self, values: impl Iterator<Item = PortRange>) {
        self.clear();
        for (first, last) in values.map(|range| range.ends()) {
            self.add(first, last);
        }
    }
}

/// Which packets a rule is for, as far as a classifier can tell.
pub(crate) struct Pattern {
    family: Family,
    /// Whether the rule allows, if it does no more than allow or deny
    allows: Option<bool>,
    hooks: HookSet,
    side: Side,
    source: Ranges<u128>,
    dest: Ranges<u128>,
    sport: Ranges<u16>,
    dport: Ranges<u16>,
    proto: Ranges<u8>,
    extra: Extra,
    value: u32,
    /// A bit for each class of packets
    classes: u8,
    /// Whether that is all that the rule says.
    exact: bool,
}

impl Pattern {
    /// For all packets of a family.
    pub(super) const fn any(family: Family) -> Self {
        Self {
            family,
            allows: None,
            hooks: HookSet::EMPTY,
            side: Side::Both,
            source: Ranges::all(0),
            dest: Ranges::all(0),
            sport: Ranges::all(0),
            dport: Ranges::all(0),
            proto: Ranges::all(0),
            extra: Extra::None,
            value: 0,
            classes: u8::MAX,
            exact: true,
        }
    }

    /// The family that it is about
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Begins with all packets at these hooks, for a rule that allows them, or denies them, if it does no more
    /// than that.
    pub(crate) fn begin(&mut self, allows: Option<bool>, hooks: HookSet) {
        self.allows = allows;
        self.hooks = hooks;
        self.side = Side::Both;
        self.source.begin();
        self.dest.begin();
        self.sport.begin();
        self.dport.begin();
        self.proto.begin();
        self.extra = Extra::None;
        self.classes = u8::MAX;
        self.exact = true;
    }

    /// The rule asks for more than can be told here.
    pub(crate) fn set_inexact(&mut self) {
        self.exact = false;
    }

    /// Leaves out packets of a class.
    pub(crate) fn leave_out(&mut self, class: Class) {
        self.classes &= !1u8.wrapping_shl(class as u32);
    }

    /// The source is one of these addresses.
    pub(crate) fn set_source(&mut self, values: impl Iterator<Item = AddrRange>) {
        self.source.add_addrs(self.family, values);
    }

    /// The destination is one of these addresses.
    pub(crate) fn set_dest(&mut self, values: impl Iterator<Item = AddrRange>) {
        self.dest.add_addrs(self.family, values);
    }

    /// The source port is one of these.
    pub(crate) fn set_sport(&mut self, values: impl Iterator<Item = PortRange>) {
        self.sport.add_ports(values);
        if self.sport.len == 0 {
            // No port is one of none; but of a packet that shows no ports who knows?
            self.sport.begin();
            self.leave_out(Class::Ports);
        }
    }

    /// The destination port is one of these.
    pub(crate) fn set_dport(&mut self, values: impl Iterator<Item = PortRange>) {
        self.dport.add_ports(values);
        if self.dport.len == 0 {
            // As above
            self.dport.begin();
            self.leave_out(Class::Ports);
        }
    }

    /// The protocol is one of these.
    pub(crate) fn set_proto(&mut self, values: impl Iterator<Item = Protocol>) {
        self.proto.clear();
        values.for_each(|proto| self.proto.add(proto.0, proto.0));
    }

    fn set_extra(&mut self, extra: Extra, value: u32) {
        self.set_inexact();
        // The first one tells enough.
        if self.extra == Extra::None {
            (self.extra, self.value) = (extra, value);
        }
    }

    /// The interface is one of these.
    pub(crate) fn set_interface(
        &mut self,
        extra: Extra,
        mut values: impl Iterator<Item = IfPattern>,
    ) {
        self.set_inexact();
        if let (Some(only), None) = (values.next(), values.next()) {
            if let Some(name) = only.exact() {
                self.set_extra(extra, digest(name));
            }
        }
    }

    /// The namespace is one of these, or none of them.
    pub(crate) fn set_netns(
        &mut self,
        negated: bool,
        mut values: impl Iterator<Item = NetnsMatch>,
    ) {
        match (values.next(), values.next(), negated) {
            (Some(NetnsMatch::Host), None, false) | (Some(NetnsMatch::Container), None, true) => {
                self.side = Side::Host;
            }
            (Some(NetnsMatch::Container), None, false) | (Some(NetnsMatch::Host), None, true) => {
                self.side = Side::Container;
            }
            (Some(NetnsMatch::Inode(inode)), None, false) => self.set_extra(Extra::Netns, inode),
            _ => self.set_inexact(),
        }
    }

    /// Adds the rule with this number.
    #[inline(never)]
    pub(super) fn add_to<A: Word, M: Memory>(
        &mut self,
        grower: &mut Grower<A, M>,
        rule: u32,
    ) -> Result<(), NoMemory> {
        if rule >= RULES {
            return Err(NoMemory);
        }
        let Self {
            source,
            dest,
            sport,
            dport,
            proto,
            ..
        } = self;
        // Many such rules in one table would take a hundred times what they say.
        let usual = 1024usize.saturating_add((rule as usize).saturating_mul(4));
        let most = if grower.len() > usual { FEW } else { RECORDS };
        let many = |lens: [usize; 5]| lens.into_iter().fold(1, usize::saturating_mul) > most;
        if many([source.len, dest.len, sport.len, dport.len, proto.len]) {
            sport.join();
            dport.join();
        }
        if many([source.len, dest.len, sport.len, dport.len, proto.len]) {
            proto.join();
            source.join();
        }
        if many([source.len, dest.len, sport.len, dport.len, proto.len]) {
            dest.join();
        }
        let wide = source.wide | dest.wide | sport.wide | dport.wide | proto.wide;
        let exact = self.exact && !wide;
        let role = Role {
            group: Group {
                hooks: self.hooks,
                side: self.side,
            },
            classes: self.classes & 0xf,
            extra: self.extra,
            value: self.value,
        };
        let mut record = Record::any(rule, self.allows);
        for from in source.iter() {
            let (from, len, exact_source) = from.map_or((A::ZERO, 0, true), prefix);
            record.source_len = len;
            for to in dest.iter() {
                let (to, len, exact_dest) = to.map_or((A::ZERO, 0, true), prefix);
                record.dest_len = len;
                record.addrs = A::pair(from, to);
                let record = record.inexact(!(exact && exact_source && exact_dest));
                add_ports(grower, record, role, (sport, dport), proto)?;
            }
        }
        Ok(())
    }
}

/// Adds a record for each of these ports and protocols.
fn add_ports<A: Word, M: Memory>(
    grower: &mut Grower<A, M>,
    mut record: Record<A>,
    role: Role,
    (sports, dports): (&Ranges<u16>, &Ranges<u16>),
    protos: &Ranges<u8>,
) -> Result<(), NoMemory> {
    for sport in sports.iter() {
        let sport = sport.map_or(ALL_PORTS, span);
        for dport in dports.iter() {
            record.ports = Spans::new(sport, dport.map_or(ALL_PORTS, span));
            for proto in protos.iter() {
                // Of several in one range nothing is known.
                let only = proto.filter(|(first, last)| first == last);
                record.proto = only.map_or(0, |(first, _)| first);
                record.proto_mask = if only.is_some() { u8::MAX } else { 0 };
                grower.add(record, role)?;
            }
        }
    }
    Ok(())
}

/// The first port, and how many more there are.
fn span((first, last): (u16, u16)) -> (u16, u16) {
    (first, last.saturating_sub(first))
}

/// The longest prefix that has a range, and whether it has nothing else.
fn prefix<A: Word>((first, last): (u128, u128)) -> (A, u8, bool) {
    let host = 128u32.saturating_sub((first ^ last).leading_zeros());
    let bits = u128::MAX
        .checked_shr(128u32.saturating_sub(host))
        .unwrap_or(0);
    let len = u32::from(A::WIDTH).saturating_sub(host);
    let exact = first & bits == 0 && last & bits == bits;
    (A::from_wide(first & !bits), len as u8, exact)
}
