// SPDX-License-Identifier: GPL-2.0

//! The named sets of a policy.

use core::fmt;
use core::ops::Deref;

use crate::addr::{AddrRange, Side};
use crate::family::Family;
use crate::iface::{IfName, IfPattern};
use crate::lexer::Words;
use crate::memory::{Duplicate, Held, List, Memory, NoMemory};
use crate::port::PortRange;
use crate::set::{InterfaceMember, Members, SetKind, SetName};
use crate::sorted::Sorted;

/// A set of more members has a line for each.
const MAX_ON_ONE_LINE: usize = 8;

/// The sets, each shared by all policies that have it. Rules know a set by its place here, which does
/// not change.
pub(crate) struct Sets<M: Memory> {
    list: M::List<Named<M>>,
    /// The set that members are added to.
    open: usize,
    /// What the one held whose place it takes, if there was one.
    before: Option<Option<SetKind>>,
    /// Whether any set has taken the place of another one since they were shared.
    replaced: bool,
    /// How many members there are in all.
    values: usize,
    /// How many bytes of memory they take.
    bytes: usize,
}

struct Named<M: Memory> {
    name: SetName,
    members: Held<M, Set<M>>,
}

/// A set, and the same in order once it does not change any more.
struct Set<M: Memory> {
    members: Members<M>,
    order: Order<M>,
}

/// The members of a set, so that one is soon found.
enum Order<M: Memory> {
    /// They are looked at one after the other.
    None,
    /// Of IPv4 and of IPv6
    Addrs(Sorted<u32, M>, Sorted<u128, M>),
    Ports(Sorted<u16, M>),
}

impl<M: Memory> Set<M> {
    fn nobody() -> Self {
        Self {
            members: Members::Nobody,
            order: Order::None,
        }
    }

    /// The same in order, in memory that is no more than it needs.
    fn sorted(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            members: self.members.duplicate()?,
            order: match &self.members {
                Members::Addrs(list) => {
                    let ipv4 = list.iter().filter_map(|range| range.numbers(Family::Ipv4));
                    let ipv4 = ipv4.map(|(first, last)| (first as u32, last as u32));
                    let ipv6 = list.iter().filter_map(|range| range.numbers(Family::Ipv6));
                    Order::Addrs(Sorted::of(ipv4)?, Sorted::of(ipv6)?)
                }
                Members::Ports(list) => {
                    Order::Ports(Sorted::of(list.iter().map(|range| range.ends()))?)
                }
                Members::Nobody | Members::Interfaces(_) => Order::None,
            },
        })
    }

    /// Adds members. Process context.
    fn add(&mut self, kind: SetKind, words: Words<'_>) -> Result<(), NoMemory> {
        self.order = Order::None;
        self.members.add(kind, words)
    }

    fn memory(&self) -> usize {
        let order = match &self.order {
            Order::None => 0,
            Order::Addrs(ipv4, ipv6) => ipv4.memory().saturating_add(ipv6.memory()),
            Order::Ports(ports) => ports.memory(),
        };
        self.members.memory().saturating_add(order)
    }
}

impl<M: Memory> Deref for Set<M> {
    type Target = Members<M>;

    fn deref(&self) -> &Members<M> {
        &self.members
    }
}

/// Not in order: who asks for it is about to change it.
impl<M: Memory> Duplicate for Set<M> {
    fn duplicate(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            members: self.members.duplicate()?,
            order: Order::None,
        })
    }
}

impl<M: Memory> Default for Sets<M> {
    fn default() -> Self {
        Self {
            list: Default::default(),
            open: 0,
            before: None,
            replaced: false,
            values: 0,
            bytes: 0,
        }
    }
}

impl<M: Memory> Sets<M> {
    // Process context: building.

    /// The same for another policy.
    pub(crate) fn share(&self) -> Result<Self, NoMemory> {
        let mut list = M::List::default();
        list.reserve(self.list.len())?;
        for Named { name, members } in self.list.iter() {
            list.push(Named {
                name: *name,
                members: members.share()?,
            })?;
        }
        Ok(Self {
            list,
            replaced: false,
            ..*self
        })
    }

    /// The same, which do not change any more.
    pub(crate) fn freeze(self) -> Result<Self, NoMemory> {
        let mut list = M::List::default();
        let mut all = self.bytes;
        list.reserve(self.list.len())?;
        for Named { name, mut members } in self.list {
            if let Some(own) = members.if_own() {
                let bytes = own.memory();
                *own = own.sorted()?;
                let added = own.memory().saturating_sub(bytes);
                all = all.saturating_add(added);
            }
            list.push(Named {
                name,
                members: members.freeze(),
            })?;
        }
        Ok(Self {
            list,
            bytes: all,
            ..self
        })
    }

    /// Begins a set, to which [`Self::add_members`] adds.
    pub(crate) fn add(&mut self, name: SetName) -> Result<(), NoMemory> {
        (self.open, self.before) = (self.list.len(), None);
        let members = Held::new(Set::nobody())?;
        self.list.push(Named { name, members })
    }

    /// Empties the set of this name, to which [`Self::add_members`] then adds; whether there is one that
    /// was there before all that is being written.
    pub(crate) fn replace(&mut self, name: SetName) -> Result<bool, NoMemory> {
        let Some(place) = self.find(name) else {
            return Ok(false);
        };
        let Some(set) = self.list.get_mut(place).filter(|set| !set.members.is_own()) else {
            return Ok(false);
        };
        self.values = self.values.saturating_sub(set.members.len());
        self.bytes = self.bytes.saturating_sub(set.members.memory());
        let kind = set.members.kind();
        set.members = Held::new(Set::nobody())?;
        (self.open, self.before) = (place, Some(kind));
        self.replaced = true;
        Ok(true)
    }

    /// Whether any set has taken the place of another one since they were shared.
    pub(crate) fn are_replaced(&self) -> bool {
        self.replaced
    }

    /// The set that was begun last.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Whether the set that was begun last, before it gets its first member of this kind, must be
    /// compared with what rules ask of it.
    pub(crate) fn may_conflict(&self, kind: SetKind) -> bool {
        self.before != Some(Some(kind)) && self.before.is_some() && self.kind(self.open).is_none()
    }

    /// Adds members to the set that was begun last.
    pub(crate) fn add_members(&mut self, kind: SetKind, words: Words<'_>) -> Result<(), NoMemory> {
        if let Some(set) = self.list.get_mut(self.open) {
            let (len, bytes) = (set.members.len(), set.members.memory());
            let members = set.members.own()?;
            members.add(kind, words)?;
            let added = members.len().saturating_sub(len);
            self.values = self.values.saturating_add(added);
            let added = members.memory().saturating_sub(bytes);
            self.bytes = self.bytes.saturating_add(added);
        }
        Ok(())
    }

    /// Puts a set of `other` behind these, if it is new there.
    pub(crate) fn take_new(&mut self, other: &Self, place: usize) -> Result<(), NoMemory> {
        let set = other.list.get(place);
        if let Some(Named { name, members }) = set.filter(|set| set.members.is_own()) {
            self.values = self.values.saturating_add(members.len());
            self.bytes = self.bytes.saturating_add(members.memory());
            self.list.push(Named {
                name: *name,
                members: Held::new(members.duplicate()?)?,
            })?;
        }
        Ok(())
    }

    // Any context: reading.

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many members there are in all.
    pub(crate) fn values(&self) -> usize {
        self.values
    }

    /// The place of the set of this name.
    pub(crate) fn find(&self, name: SetName) -> Option<usize> {
        self.list.iter().position(|set| set.name == name)
    }

    /// The name of a set.
    pub(crate) fn name(&self, place: usize) -> Option<SetName> {
        self.list.get(place).map(|set| set.name)
    }

    /// Whether a set is new here, or has new members.
    pub(crate) fn is_new(&self, place: usize) -> bool {
        let set = self.list.get(place);
        set.is_some_and(|set| set.members.is_own())
    }

    /// What a set holds; [`None`] if nothing, and if there is no such set.
    pub(crate) fn kind(&self, place: usize) -> Option<SetKind> {
        self.list.get(place)?.members.kind()
    }

    #[inline]
    fn set(&self, place: u32) -> Option<&Set<M>> {
        Some(&self.list.get(place as usize)?.members)
    }

    fn members(&self, place: u32) -> Option<&Members<M>> {
        self.set(place).map(|set| &set.members)
    }

    /// The addresses in a set of addresses.
    pub(crate) fn addrs(&self, place: u32) -> impl Iterator<Item = AddrRange> + '_ {
        let list: &[AddrRange] = match self.members(place) {
            Some(Members::Addrs(list)) => list,
            _ => &[],
        };
        list.iter().copied()
    }

    /// The ports in a set of ports.
    pub(crate) fn ports(&self, place: u32) -> impl Iterator<Item = PortRange> + '_ {
        let list: &[PortRange] = match self.members(place) {
            Some(Members::Ports(list)) => list,
            _ => &[],
        };
        list.iter().copied()
    }

    /// The interfaces in a set of interfaces.
    pub(crate) fn interfaces(&self, place: u32) -> impl Iterator<Item = IfPattern> + '_ {
        let list: &[IfPattern] = match self.members(place) {
            Some(Members::Interfaces(list)) => list,
            _ => &[],
        };
        list.iter().copied()
    }

    /// Whether an address is in a set of addresses.
    pub(crate) fn has_addr(&self, place: u32, side: Side) -> bool {
        let set = self.set(place);
        match (set.map(|set| &set.order), set.map(|set| &set.members)) {
            (Some(Order::Addrs(ipv4, ipv6)), _) => match side {
                Side::V4(addr) => ipv4.has(addr),
                Side::V6(addr) => ipv6.has(addr),
                Side::Unknown => false,
            },
            (_, Some(Members::Addrs(list))) => list.iter().any(|range| range.has(side)),
            _ => false,
        }
    }

    /// Whether a port is in a set of ports.
    pub(crate) fn has_port(&self, place: u32, port: u16) -> bool {
        let set = self.set(place);
        match (set.map(|set| &set.order), set.map(|set| &set.members)) {
            (Some(Order::Ports(ports)), _) => ports.has(port),
            (_, Some(Members::Ports(list))) => list.iter().any(|range| range.contains(port)),
            _ => false,
        }
    }

    /// Whether an interface is in a set of interfaces.
    #[inline]
    pub(crate) fn has_interface(&self, place: u32, name: &IfName) -> bool {
        match self.members(place) {
            Some(Members::Interfaces(list)) => list.iter().any(|pattern| pattern.matches(name)),
            _ => false,
        }
    }

    /// How many bytes of memory they take.
    pub(crate) fn memory(&self) -> usize {
        let sets = self.len().saturating_mul(size_of::<Set<M>>());
        let lists = self.list.memory().saturating_add(sets);
        lists.saturating_add(self.bytes)
    }

    /// How many lines [`Self::line`] has for all sets together.
    pub(crate) fn lines(&self) -> usize {
        let lines = |set: &Named<M>| match set.members.len() {
            0..=MAX_ON_ONE_LINE => 1,
            members => members.saturating_add(2),
        };
        self.list.iter().map(lines).fold(0, usize::saturating_add)
    }

    /// Line `index` of the sets in canonical form.
    pub(crate) fn line(&self, mut index: usize) -> Option<impl fmt::Display + '_> {
        for set in self.list.iter() {
            let members = set.members.len();
            if members <= MAX_ON_ONE_LINE {
                if index == 0 {
                    return Some(SetLine {
                        set,
                        part: Part::All,
                    });
                }
                index = index.saturating_sub(1);
                continue;
            }
            let lines = members.saturating_add(2);
            if let Some(rest) = index.checked_sub(lines) {
                index = rest;
                continue;
            }
            let part = match index.checked_sub(1) {
                None => Part::Begin,
                Some(member) if member < members => Part::Member(member),
                Some(_) => Part::End,
            };
            return Some(SetLine { set, part });
        }
        None
    }
}

#[derive(Clone, Copy)]
enum Part {
    All,
    Begin,
    Member(usize),
    End,
}

struct SetLine<'a, M: Memory> {
    set: &'a Named<M>,
    part: Part,
}

impl<M: Memory> SetLine<'_, M> {
    fn fmt_members<T: fmt::Display>(
        &self,
        f: &mut fmt::Formatter<'_>,
        mut members: impl Iterator<Item = T>,
    ) -> fmt::Result {
        match self.part {
            Part::Member(index) => match members.nth(index) {
                Some(member) => write!(f, "\t{member},"),
                None => Ok(()),
            },
            _ => {
                let mut separator = " ";
                for member in members {
                    write!(f, "{separator}{member}")?;
                    separator = ", ";
                }
                Ok(())
            }
        }
    }
}

impl<M: Memory> fmt::Display for SetLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, part } = self;
        match part {
            Part::Begin | Part::All => write!(f, "set {} {{", set.name)?,
            Part::Member(_) => {}
            Part::End => return f.write_str("}"),
        }
        if let Part::Begin = part {
            return Ok(());
        }
        match &set.members.members {
            Members::Addrs(list) => self.fmt_members(f, list.iter())?,
            Members::Ports(list) => self.fmt_members(f, list.iter())?,
            Members::Interfaces(list) => {
                self.fmt_members(f, list.iter().map(|member| InterfaceMember(*member)))?;
            }
            Members::Nobody => {}
        }
        match part {
            Part::All => f.write_str(" }"),
            _ => Ok(()),
        }
    }
}
