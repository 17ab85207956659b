// SPDX-License-Identifier: GPL-2.0

//! The match words, which rules and trace expressions share.

use core::fmt::{self, Write as _};

use crate::addr::AddrRange;
use crate::error::Fault;
use crate::family::{Family, FamilySet};
use crate::fragment::{Fragment, PlaceSet};
use crate::hook::HookSet;
use crate::icmp::IcmpType;
use crate::iface::{IfName, IfPattern};
use crate::lexer::Words;
use crate::loader::Refusal;
use crate::mark::MarkMatch;
use crate::memory::{List, Memory, NoMemory, Span};
use crate::netns::NetnsMatch;
use crate::packet::{Packet, Transport};
use crate::parser::{Clause, MatchText, Values};
use crate::port::PortRange;
use crate::proto::Protocol;
use crate::set::{InterfaceMember, Set, SetKind, SetName};
use crate::value::{list, Value};

/// The words that take lists of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Source address
    From,
    /// Destination address
    To,
    /// Protocol
    Proto,
    /// ICMP type
    IcmpType,
    /// Source port
    Sport,
    /// Destination port
    Dport,
    /// Interface it came in by
    In,
    /// Interface it will leave by
    Out,
    /// Bridge port it came in by
    PortIn,
    /// Bridge port it will leave by
    PortOut,
    /// Firewall mark
    Mark,
    /// Namespace
    Netns,
}

impl Key {
    /// How many there are.
    pub const COUNT: usize = 12;

    /// All of them, in canonical order.
    pub const ALL: [Key; Key::COUNT] = [
        Key::From,
        Key::To,
        Key::Proto,
        Key::IcmpType,
        Key::Sport,
        Key::Dport,
        Key::In,
        Key::Out,
        Key::PortIn,
        Key::PortOut,
        Key::Mark,
        Key::Netns,
    ];

    /// The word itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Proto => "proto",
            Self::IcmpType => "icmp-type",
            Self::Sport => "sport",
            Self::Dport => "dport",
            Self::In => "in",
            Self::Out => "out",
            Self::PortIn => "port-in",
            Self::PortOut => "port-out",
            Self::Mark => "mark",
            Self::Netns => "netns",
        }
    }

    /// The named sets that may stand behind it, and what is expected there.
    pub fn sets(self) -> Option<(SetKind, &'static str)> {
        match self {
            Self::From | Self::To => Some((
                SetKind::Addrs,
                "the name of a set of addresses that is defined above",
            )),
            Self::Sport | Self::Dport => Some((
                SetKind::Ports,
                "the name of a set of ports that is defined above",
            )),
            Self::In | Self::Out | Self::PortIn | Self::PortOut => Some((
                SetKind::Interfaces,
                "the name of a set of interfaces that is defined above",
            )),
            Self::Proto | Self::IcmpType | Self::Mark | Self::Netns => None,
        }
    }
}

/// One word and its values: the packet's must be one of them, or, if negated, none of them.
#[derive(Clone, Copy, Debug)]
struct Term {
    key: Key,
    negated: bool,
    /// The named set that the values are of, by its place among the sets.
    set: Option<u32>,
    values: Span,
}

/// What a packet must be like. A word that was not given accepts everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Match {
    /// Address families
    pub families: FamilySet,
    /// Places in a fragmented datagram
    pub places: PlaceSet,
    /// Hooks
    pub hooks: HookSet,
    terms: Span,
}

impl Match {
    /// Whether it asks for nothing at all.
    pub fn is_any(&self) -> bool {
        self.terms.is_empty()
            && self.families == FamilySet::all()
            && self.places == PlaceSet::all()
            && self.hooks == HookSet::all()
    }
}

/// How a word is decided that asks for a field which the packet does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The field lies in another fragment of the datagram.
    pub fragment: bool,
    /// The packet could not be parsed.
    pub unparsed: bool,
}

impl Doubt {
    /// For rules that allow.
    ///
    /// The fragment that holds the ports is judged by them; without it the others are never put
    /// together, so they may pass. What cannot be parsed gets no permission.
    pub const ALLOW: Self = Self {
        fragment: true,
        unparsed: false,
    };
    /// For rules that deny: what cannot be parsed might be what they forbid.
    pub const DENY: Self = Self {
        fragment: false,
        unparsed: true,
    };
    /// For trace expressions: better a line too many.
    pub const TRACE: Self = Self {
        fragment: true,
        unparsed: true,
    };
}

/// What a word makes of a packet.
enum Finding {
    /// The packet shows the field, and the values have it, or not.
    Shown(bool),
    /// The packet has no such field: the word does not match, negated or not.
    Absent,
    /// The packet has such a field and does not show it: doubt decides, negated or not.
    Hidden(bool),
}

/// Which fields of a packet the words ask for that cost something to find out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The names of interfaces
    pub interfaces: bool,
    /// The names of bridge ports
    pub ports: bool,
}

/// The match words of many statements, and the values and named sets in them.
pub struct Matches<M: Memory> {
    terms: M::List<Term>,
    sets: M::List<Set>,
    addrs: M::List<AddrRange>,
    protos: M::List<Protocol>,
    icmp_types: M::List<IcmpType>,
    ports: M::List<PortRange>,
    interfaces: M::List<IfPattern>,
    marks: M::List<MarkMatch>,
    namespaces: M::List<NetnsMatch>,
    needs: Needs,
}

impl<M: Memory> Default for Matches<M> {
    fn default() -> Self {
        Self {
            terms: Default::default(),
            sets: Default::default(),
            addrs: Default::default(),
            protos: Default::default(),
            icmp_types: Default::default(),
            ports: Default::default(),
            interfaces: Default::default(),
            marks: Default::default(),
            namespaces: Default::default(),
            needs: Needs::default(),
        }
    }
}

/// Why match words cannot be put behind others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// There is no memory.
    Memory,
    /// A set that they use is no longer there, or no longer of that kind.
    NoSet(SetName),
    /// A set that they define is there already.
    SetTwice(SetName),
}

impl From<NoMemory> for Misfit {
    fn from(_: NoMemory) -> Self {
        Self::Memory
    }
}

/// How the places of values and sets change when they are put behind others.
struct Shift<M: Memory> {
    addrs: usize,
    protos: usize,
    icmp_types: usize,
    ports: usize,
    interfaces: usize,
    marks: usize,
    namespaces: usize,
    terms: usize,
    /// The new place of each set.
    sets: M::List<u32>,
}

impl<M: Memory> Shift<M> {
    fn of_set(&self, kind: SetKind) -> usize {
        match kind {
            SetKind::Addrs => self.addrs,
            SetKind::Ports => self.ports,
            SetKind::Interfaces => self.interfaces,
        }
    }

    fn of_values(&self, key: Key) -> usize {
        match key {
            Key::From | Key::To => self.addrs,
            Key::Proto => self.protos,
            Key::IcmpType => self.icmp_types,
            Key::Sport | Key::Dport => self.ports,
            Key::In | Key::Out | Key::PortIn | Key::PortOut => self.interfaces,
            Key::Mark => self.marks,
            Key::Netns => self.namespaces,
        }
    }
}

impl<M: Memory> Matches<M> {
    // Process context: building.

    /// Adds the words of a statement; sets that are not defined here may be those of `base`, which
    /// these will be put behind.
    pub fn add(
        &mut self,
        text: &MatchText<'_>,
        base: Option<&Self>,
    ) -> Result<Match, Refusal<NoMemory>> {
        let start = self.terms.len();
        for (key, clause) in text.clauses() {
            let (set, values) = match clause.values {
                Values::Set(word) => {
                    let (index, set) = self.set(key, &clause, base)?.ok_or_else(|| {
                        let expected = key.sets().map_or("", |(_, expected)| expected);
                        Refusal::Fault(Fault::at_word(word, expected))
                    })?;
                    (Some(index), set.members)
                }
                Values::Listed(words) => (None, self.add_values(key, words)?),
            };
            match key {
                Key::In | Key::Out => self.needs.interfaces = true,
                Key::PortIn | Key::PortOut => self.needs.ports = true,
                _ => {}
            }
            self.terms.push(Term {
                key,
                negated: clause.negated,
                set,
                values,
            })?;
        }
        Ok(Match {
            families: text.families,
            places: text.places,
            hooks: text.hooks,
            terms: Span::since(&self.terms, start)?,
        })
    }

    /// Adds the values of one word.
    fn add_values(&mut self, key: Key, words: Words<'_>) -> Result<Span, NoMemory> {
        match key {
            Key::From | Key::To => push_values(&mut self.addrs, words),
            Key::Proto => push_values(&mut self.protos, words),
            Key::IcmpType => push_values(&mut self.icmp_types, words),
            Key::Sport | Key::Dport => push_values(&mut self.ports, words),
            Key::In | Key::Out | Key::PortIn | Key::PortOut => {
                push_values(&mut self.interfaces, words)
            }
            Key::Mark => push_values(&mut self.marks, words),
            Key::Netns => push_values(&mut self.namespaces, words),
        }
    }

    /// The set that `clause` names, if there is one that fits `key`: one of these, or one of `base`,
    /// which is then noted as foreign.
    fn set(
        &mut self,
        key: Key,
        clause: &Clause<'_>,
        base: Option<&Self>,
    ) -> Result<Option<(u32, Set)>, NoMemory> {
        let (Values::Set(word), Some((kind, _))) = (clause.values, key.sets()) else {
            return Ok(None);
        };
        let Some(name) = word.text.get(1..).and_then(SetName::parse) else {
            return Ok(None);
        };
        let fits = |set: &Set| set.kind.is_none_or(|other| other == kind);
        if let Some((index, set)) = self.find(name) {
            return Ok(fits(&set).then_some((index, set)));
        }
        let Some((_, set)) = base.and_then(|base| base.find(name)) else {
            return Ok(None);
        };
        if !fits(&set) {
            return Ok(None);
        }
        let foreign = Set {
            members: Span::default(),
            foreign: true,
            ..set
        };
        self.sets.push(foreign)?;
        Ok(self.find(name))
    }

    fn find(&self, name: SetName) -> Option<(u32, Set)> {
        let index = self.sets.iter().position(|set| set.name == name)?;
        Some((index.try_into().ok()?, *self.sets.get(index)?))
    }

    /// Whether there is a set of this name.
    pub fn has_set(&self, name: SetName) -> bool {
        self.find(name).is_some()
    }

    /// Begins a set, to which [`Self::add_members`] adds.
    pub fn add_set(&mut self, name: SetName) -> Result<(), NoMemory> {
        self.sets.push(Set {
            name,
            kind: None,
            members: Span::default(),
            foreign: false,
        })
    }

    /// Adds members to the last set; nothing else was added since that began.
    pub fn add_members(&mut self, kind: SetKind, words: Words<'_>) -> Result<(), NoMemory> {
        let added = match kind {
            SetKind::Addrs => push_values(&mut self.addrs, words),
            SetKind::Ports => push_values(&mut self.ports, words),
            SetKind::Interfaces => push_values(&mut self.interfaces, words),
        }?;
        if let Some(set) = self.sets.last_mut() {
            let before = if set.members.is_empty() {
                added
            } else {
                set.members
            };
            let len = set.members.len().saturating_add(added.len());
            set.members = before.with_len(len)?;
            set.kind = Some(kind);
        }
        Ok(())
    }

    /// Puts `other` behind these; [`Self::moved`] then tells where its words are.
    pub fn append(&mut self, other: &Self) -> Result<Moved, Misfit> {
        let mut shift = Shift::<M> {
            addrs: self.addrs.len(),
            protos: self.protos.len(),
            icmp_types: self.icmp_types.len(),
            ports: self.ports.len(),
            interfaces: self.interfaces.len(),
            marks: self.marks.len(),
            namespaces: self.namespaces.len(),
            terms: self.terms.len(),
            sets: Default::default(),
        };
        self.addrs.extend(other.addrs.iter().copied())?;
        self.protos.extend(other.protos.iter().copied())?;
        self.icmp_types.extend(other.icmp_types.iter().copied())?;
        self.ports.extend(other.ports.iter().copied())?;
        self.interfaces.extend(other.interfaces.iter().copied())?;
        self.marks.extend(other.marks.iter().copied())?;
        self.namespaces.extend(other.namespaces.iter().copied())?;
        for set in other.sets.iter() {
            let index = match self.find(set.name) {
                Some((index, found)) if set.foreign => {
                    if set.kind != found.kind && set.kind.is_some() && found.kind.is_some() {
                        return Err(Misfit::NoSet(set.name));
                    }
                    index
                }
                Some(_) => return Err(Misfit::SetTwice(set.name)),
                None if set.foreign => return Err(Misfit::NoSet(set.name)),
                None => {
                    let behind = set.kind.map_or(0, |kind| shift.of_set(kind));
                    let index = self.sets.len().try_into().map_err(|_| Misfit::Memory)?;
                    self.sets.push(Set {
                        members: set.members.behind(behind)?,
                        ..*set
                    })?;
                    index
                }
            };
            shift.sets.push(index)?;
        }
        for term in other.terms.iter() {
            let set = match term.set {
                Some(index) => shift.sets.get(index as usize).copied(),
                None => None,
            };
            let values = match set {
                Some(index) => self
                    .sets
                    .get(index as usize)
                    .map_or(Span::default(), |set| set.members),
                None => term.values.behind(shift.of_values(term.key))?,
            };
            self.terms.push(Term {
                set,
                values,
                ..*term
            })?;
        }
        self.needs.interfaces |= other.needs.interfaces;
        self.needs.ports |= other.needs.ports;
        Ok(Moved { terms: shift.terms })
    }

    /// Adds the named sets of `other`; the new place of each.
    pub fn append_sets(&mut self, other: &Self) -> Result<M::List<u32>, Misfit> {
        let mut places = M::List::<u32>::default();
        for set in other.sets.iter() {
            let place = match self.find(set.name) {
                Some((place, found)) if set.foreign => {
                    if set.kind != found.kind && set.kind.is_some() && found.kind.is_some() {
                        return Err(Misfit::NoSet(set.name));
                    }
                    place
                }
                Some(_) => return Err(Misfit::SetTwice(set.name)),
                None if set.foreign => return Err(Misfit::NoSet(set.name)),
                None => {
                    let members = match set.kind {
                        Some(SetKind::Addrs) => {
                            copy_values(&mut self.addrs, &other.addrs, set.members)?
                        }
                        Some(SetKind::Ports) => {
                            copy_values(&mut self.ports, &other.ports, set.members)?
                        }
                        Some(SetKind::Interfaces) => {
                            copy_values(&mut self.interfaces, &other.interfaces, set.members)?
                        }
                        None => Span::default(),
                    };
                    let place = self.sets.len().try_into().map_err(|_| Misfit::Memory)?;
                    self.sets.push(Set { members, ..*set })?;
                    place
                }
            };
            places.push(place)?;
        }
        Ok(places)
    }

    /// Adds the words of `m`, which are of `other`, whose sets are at these places here.
    pub fn copy(&mut self, other: &Self, m: &Match, sets: &[u32]) -> Result<Match, NoMemory> {
        let start = self.terms.len();
        for term in m.terms.of(&other.terms) {
            let set = term.set.and_then(|set| sets.get(set as usize).copied());
            let members = set.and_then(|set| self.sets.get(set as usize));
            let from = term.values;
            let values = match (members, term.key) {
                (Some(set), _) => set.members,
                (None, Key::From | Key::To) => copy_values(&mut self.addrs, &other.addrs, from)?,
                (None, Key::Proto) => copy_values(&mut self.protos, &other.protos, from)?,
                (None, Key::IcmpType) => {
                    copy_values(&mut self.icmp_types, &other.icmp_types, from)?
                }
                (None, Key::Sport | Key::Dport) => {
                    copy_values(&mut self.ports, &other.ports, from)?
                }
                (None, Key::In | Key::Out | Key::PortIn | Key::PortOut) => {
                    copy_values(&mut self.interfaces, &other.interfaces, from)?
                }
                (None, Key::Mark) => copy_values(&mut self.marks, &other.marks, from)?,
                (None, Key::Netns) => copy_values(&mut self.namespaces, &other.namespaces, from)?,
            };
            match term.key {
                Key::In | Key::Out => self.needs.interfaces = true,
                Key::PortIn | Key::PortOut => self.needs.ports = true,
                _ => {}
            }
            self.terms.push(Term {
                set,
                values,
                ..*term
            })?;
        }
        Ok(Match {
            terms: Span::since(&self.terms, start)?,
            ..*m
        })
    }

    // Any context: reading.

    /// Which fields of a packet the words ask for.
    #[inline]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// How many values there are, those of sets included.
    pub fn len(&self) -> usize {
        let Self {
            terms: _,
            sets: _,
            addrs,
            protos,
            icmp_types,
            ports,
            interfaces,
            marks,
            namespaces,
            needs: _,
        } = self;
        [
            addrs.len(),
            protos.len(),
            icmp_types.len(),
            ports.len(),
            interfaces.len(),
            marks.len(),
            namespaces.len(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory they take.
    pub fn memory(&self) -> usize {
        [
            self.terms.memory(),
            self.sets.memory(),
            self.addrs.memory(),
            self.protos.memory(),
            self.icmp_types.memory(),
            self.ports.memory(),
            self.interfaces.memory(),
            self.marks.memory(),
            self.namespaces.memory(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// The named sets.
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// Whether `packet` is such a packet, `doubt` deciding about fields that it does not show.
    #[inline]
    pub fn matches(&self, m: &Match, packet: &Packet, doubt: Doubt) -> bool {
        m.hooks.contains(packet.hook)
            && m.families.contains(packet.family)
            && self.place_matches(m, packet, doubt)
            && m.terms
                .of(&self.terms)
                .iter()
                .all(|term| match self.look(term, packet, doubt) {
                    Finding::Shown(found) => found != term.negated,
                    Finding::Absent => false,
                    Finding::Hidden(decided) => decided,
                })
    }

    #[inline]
    fn place_matches(&self, m: &Match, packet: &Packet, doubt: Doubt) -> bool {
        m.places == PlaceSet::all()
            || match packet.headers.place() {
                Some(place) => m.places.contains(place),
                None => doubt.unparsed,
            }
    }

    /// Looks for the packet's field among the values of a term.
    #[inline]
    fn look(&self, term: &Term, packet: &Packet, doubt: Doubt) -> Finding {
        let headers = &packet.headers;
        let later = matches!(headers.fragment, Fragment::Later(_));
        let addr =
            |side: fn((core::net::IpAddr, core::net::IpAddr)) -> core::net::IpAddr| match headers
                .addrs
            {
                Some(addrs) => {
                    let addr = side(addrs);
                    let ranges = term.values.of(&self.addrs);
                    Finding::Shown(ranges.iter().any(|range| range.contains(addr)))
                }
                None => Finding::Hidden(doubt.unparsed),
            };
        // A transport header that is not there: only where the protocol, if it is known, has one.
        let hidden = |has: fn(Protocol) -> bool| match headers.transport {
            Transport::LaterFragment if headers.proto.is_none_or(has) => {
                Finding::Hidden(doubt.fragment)
            }
            Transport::Unreadable if headers.proto.is_none_or(has) => {
                Finding::Hidden(doubt.unparsed)
            }
            _ => Finding::Absent,
        };
        let port = |side: fn(u16, u16) -> u16| match headers.transport {
            Transport::Ports { source, dest, .. } => {
                let port = side(source, dest);
                let ranges = term.values.of(&self.ports);
                Finding::Shown(ranges.iter().any(|range| range.contains(port)))
            }
            _ => hidden(Protocol::has_ports),
        };
        let interface = |name: &IfName| {
            if name.as_bytes().is_empty() {
                return Finding::Absent;
            }
            let patterns = term.values.of(&self.interfaces);
            Finding::Shown(patterns.iter().any(|pattern| pattern.matches(name)))
        };
        match term.key {
            Key::From => addr(|(from, _)| from),
            Key::To => addr(|(_, to)| to),
            Key::Proto => match headers.proto {
                Some(proto) => Finding::Shown(term.values.of(&self.protos).contains(&proto)),
                None if later => Finding::Hidden(doubt.fragment),
                None => Finding::Hidden(doubt.unparsed),
            },
            Key::IcmpType => match headers.transport {
                Transport::Icmp { kind, code } => {
                    let family = if headers.proto == Some(Protocol::ICMP) {
                        Family::Ipv4
                    } else {
                        Family::Ipv6
                    };
                    let types = term.values.of(&self.icmp_types);
                    Finding::Shown(
                        types
                            .iter()
                            .any(|wanted| wanted.matches(family, kind, code)),
                    )
                }
                _ => hidden(Protocol::is_icmp),
            },
            Key::Sport => port(|source, _| source),
            Key::Dport => port(|_, dest| dest),
            Key::In => interface(&packet.input),
            Key::Out => interface(&packet.output),
            Key::PortIn => interface(&packet.phys_input),
            Key::PortOut => interface(&packet.phys_output),
            Key::Mark => {
                let marks = term.values.of(&self.marks);
                Finding::Shown(marks.iter().any(|wanted| wanted.matches(packet.mark)))
            }
            Key::Netns => {
                let namespaces = term.values.of(&self.namespaces);
                Finding::Shown(namespaces.iter().any(|wanted| wanted.matches(packet.netns)))
            }
        }
    }

    /// The words of `m` in canonical form, each behind a blank.
    pub fn display<'a>(&'a self, m: &'a Match) -> impl fmt::Display + 'a {
        MatchLine { matches: self, m }
    }

    /// `m` as a line of the trace file.
    pub fn line_of<'a>(&'a self, m: &'a Match) -> impl fmt::Display + 'a {
        TraceLine(self, m)
    }

    /// How many lines [`Self::line`] has for all sets together.
    pub fn lines(&self) -> usize {
        let lines = |set: &Set| match set.members.len() {
            0..=MAX_ON_ONE_LINE => 1,
            members => members.saturating_add(2),
        };
        self.sets.iter().map(lines).fold(0, usize::saturating_add)
    }

    /// Line `index` of the sets in canonical form.
    pub fn line(&self, mut index: usize) -> Option<impl fmt::Display + '_> {
        for set in self.sets.iter() {
            let members = set.members.len();
            if members <= MAX_ON_ONE_LINE {
                if index == 0 {
                    return Some(SetLine {
                        matches: self,
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
            return Some(SetLine {
                matches: self,
                set,
                part,
            });
        }
        None
    }
}

/// Where words are after [`Matches::append`].
pub struct Moved {
    terms: usize,
}

impl Moved {
    /// The words of `m`, which were put behind others.
    pub fn to(&self, m: &Match) -> Result<Match, NoMemory> {
        Ok(Match {
            terms: m.terms.behind(self.terms)?,
            ..*m
        })
    }
}

fn push_values<T: Value>(to: &mut impl List<T>, words: Words<'_>) -> Result<Span, NoMemory> {
    let start = to.len();
    // They were parsed before, so none is left out.
    to.extend(words.values().filter_map(|word| T::parse(word.text)))?;
    Span::since(to, start)
}

fn copy_values<T: Copy>(to: &mut impl List<T>, from: &[T], values: Span) -> Result<Span, NoMemory> {
    let start = to.len();
    to.extend(values.of(from).iter().copied())?;
    Span::since(to, start)
}

struct TraceLine<'a, M: Memory>(&'a Matches<M>, &'a Match);

impl<M: Memory> fmt::Display for TraceLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(matches, m) = *self;
        if m.is_any() {
            return f.write_str("all");
        }
        write!(SkipBlank(f, true), "{}", matches.display(m))
    }
}

/// Leaves out the first character, a blank, of what is written.
struct SkipBlank<'a, 'b>(&'a mut fmt::Formatter<'b>, bool);

impl fmt::Write for SkipBlank<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let first = core::mem::replace(&mut self.1, false);
        self.0.write_str(if first {
            text.strip_prefix(' ').unwrap_or(text)
        } else {
            text
        })
    }
}

struct MatchLine<'a, M: Memory> {
    matches: &'a Matches<M>,
    m: &'a Match,
}

impl<M: Memory> fmt::Display for MatchLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matches, m } = *self;
        if m.families != FamilySet::all() {
            write!(f, " family {}", m.families)?;
        }
        let mut terms = m.terms.of(&matches.terms).iter().peekable();
        while let Some(term) = terms.next_if(|term| term.key != Key::Netns) {
            matches.fmt_term(f, term)?;
        }
        if m.places != PlaceSet::all() {
            write!(f, " fragment {}", m.places)?;
        }
        if m.hooks != HookSet::all() {
            write!(f, " hook {}", m.hooks)?;
        }
        terms.try_for_each(|term| matches.fmt_term(f, term))
    }
}

impl<M: Memory> Matches<M> {
    fn fmt_term(&self, f: &mut fmt::Formatter<'_>, term: &Term) -> fmt::Result {
        let not = if term.negated { "!" } else { "" };
        write!(f, " {} {not}", term.key.name())?;
        if let Some(set) = term.set.and_then(|index| self.sets.get(index as usize)) {
            return write!(f, "@{}", set.name);
        }
        match term.key {
            Key::From | Key::To => list(f, term.values.of(&self.addrs).iter()),
            Key::Proto => list(f, term.values.of(&self.protos).iter()),
            Key::IcmpType => list(f, term.values.of(&self.icmp_types).iter()),
            Key::Sport | Key::Dport => list(f, term.values.of(&self.ports).iter()),
            Key::In | Key::Out | Key::PortIn | Key::PortOut => {
                list(f, term.values.of(&self.interfaces).iter())
            }
            Key::Mark => list(f, term.values.of(&self.marks).iter()),
            Key::Netns => list(f, term.values.of(&self.namespaces).iter()),
        }
    }
}

/// A set of more members has a line for each.
const MAX_ON_ONE_LINE: usize = 8;

#[derive(Clone, Copy)]
enum Part {
    All,
    Begin,
    Member(usize),
    End,
}

struct SetLine<'a, M: Memory> {
    matches: &'a Matches<M>,
    set: &'a Set,
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
        let Self { matches, set, part } = self;
        match part {
            Part::Begin | Part::All => write!(f, "set {} {{", set.name)?,
            Part::Member(_) => {}
            Part::End => return f.write_str("}"),
        }
        if let Part::Begin = part {
            return Ok(());
        }
        match set.kind {
            Some(SetKind::Addrs) => self.fmt_members(f, set.members.of(&matches.addrs).iter())?,
            Some(SetKind::Ports) => self.fmt_members(f, set.members.of(&matches.ports).iter())?,
            Some(SetKind::Interfaces) => {
                let members = set.members.of(&matches.interfaces).iter();
                self.fmt_members(f, members.map(|member| InterfaceMember(*member)))?;
            }
            None => {}
        }
        match part {
            Part::All => f.write_str(" }"),
            _ => Ok(()),
        }
    }
}
