// SPDX-License-Identifier: GPL-2.0

//! The match words, which rules and trace expressions share.

use core::fmt::{self, Write as _};

use crate::addr::{AddrRange, Side};
use crate::bounds::Bounds;
use crate::cgroup::{CgroupId, CgroupMatch, Lineage, SocketCgroup};
use crate::classifier::{Class, Extra, Pattern};
use crate::error::Fault;
use crate::facts::Reach;
use crate::family::{Family, FamilySet};
use crate::flow::{Flow, Origin, StateSet};
use crate::fragment::{Fragment, PlaceSet};
use crate::hook::{Hook, HookSet};
use crate::icmp::IcmpType;
use crate::iface::{IfName, IfPattern};
use crate::lexer::Word;
use crate::loader::Refusal;
use crate::mark::MarkMatch;
use crate::memory::{Duplicate, List, Memory, NoMemory};
use crate::more;
use crate::netns::{NetnsMatch, NetnsScope};
use crate::packed::{apart, Packed, Reader, LIST, SET};
use crate::packet::{Headers, Packet, Transport};
use crate::pair::AddrPair;
use crate::parser::{self, MatchText, OptionsText};
use crate::port::PortRange;
use crate::proto::Protocol;
use crate::rule::Verb;
use crate::set::{SetKind, SetName};
use crate::sets::Sets;
use crate::values::{self, Values};

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
    /// Destination address of the connection's first packet
    OrigDst,
    /// Destination port of the connection's first packet
    OrigDport,
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
    /// Control group of the socket
    Cgroup,
    /// Namespace
    Netns,
}

impl Key {
    /// How many there are.
    pub const COUNT: usize = 15;

    /// All of them, in canonical order.
    pub const ALL: [Key; Key::COUNT] = [
        Key::From,
        Key::To,
        Key::Proto,
        Key::IcmpType,
        Key::Sport,
        Key::Dport,
        Key::OrigDst,
        Key::OrigDport,
        Key::In,
        Key::Out,
        Key::PortIn,
        Key::PortOut,
        Key::Mark,
        Key::Cgroup,
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
            Self::OrigDst => "origdst",
            Self::OrigDport => "origdport",
            Self::In => "in",
            Self::Out => "out",
            Self::PortIn => "port-in",
            Self::PortOut => "port-out",
            Self::Mark => "mark",
            Self::Cgroup => "cgroup",
            Self::Netns => "netns",
        }
    }

    /// Whether it asks for what connection tracking knows.
    pub(crate) fn asks_for_flow(self) -> bool {
        matches!(self, Self::OrigDst | Self::OrigDport)
    }

    /// The named sets that may stand behind it, and what is expected there.
    pub fn sets(self) -> Option<(SetKind, &'static str)> {
        match self {
            Self::From | Self::To | Self::OrigDst => Some((
                SetKind::Addrs,
                "the name of a set of addresses that is defined above",
            )),
            Self::Sport | Self::Dport | Self::OrigDport => Some((
                SetKind::Ports,
                "the name of a set of ports that is defined above",
            )),
            Self::In | Self::Out | Self::PortIn | Self::PortOut => Some((
                SetKind::Interfaces,
                "the name of a set of interfaces that is defined above",
            )),
            Self::Proto | Self::IcmpType | Self::Mark | Self::Cgroup | Self::Netns => None,
        }
    }
}

/// One word and its values: the packet's must be one of them, or, if negated, none of them.
#[derive(Clone, Copy)]
pub(crate) struct Term<'a> {
    pub(crate) key: Key,
    pub(crate) negated: bool,
    pub(crate) values: Source<'a>,
}

/// The values of a word.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// They were listed in the statement.
    Listed(Values<'a>),
    /// They are the members of the named set at this place among the sets.
    Set(u32),
}

/// The first byte of a word: its key's number, whether it is negated, and the form of its values.
const KEY: u32 = 4;
const NEGATED: u8 = 1 << 3;
const FORM: u8 = NEGATED - 1;

/// The numbers of the keys that many rules have.
const FROM: u8 = Key::From as u8;
const TO: u8 = Key::To as u8;
const PROTO: u8 = Key::Proto as u8;
const SPORT: u8 = Key::Sport as u8;
const DPORT: u8 = Key::Dport as u8;

/// The words of a statement, one behind the other.
pub(crate) struct Terms<'a> {
    /// How many are left.
    count: u8,
    bytes: Reader<'a>,
}

impl<'a> Iterator for Terms<'a> {
    type Item = Term<'a>;

    fn next(&mut self) -> Option<Term<'a>> {
        self.count = self.count.checked_sub(1)?;
        let head = self.bytes.u8()?;
        let key = *Key::ALL.get(usize::from(head.wrapping_shr(KEY)))?;
        Some(Term {
            key,
            negated: head & NEGATED != 0,
            values: match head & FORM {
                SET => Source::Set(self.bytes.u32()?),
                form => Source::Listed(Values::take(key, form, &mut self.bytes)?),
            },
        })
    }
}

/// What a packet must be like. A word that was not given accepts everything.
#[derive(Clone, Copy, Debug)]
pub struct Match {
    /// Families, hooks, fragments, states
    pub(crate) bounds: Bounds,
    /// How many other words there are.
    pub(crate) words: u8,
    /// Where those start among the bytes.
    pub(crate) start: u32,
}

impl Match {
    /// Whether it asks for nothing at all.
    pub fn is_any(&self) -> bool {
        self.words == 0 && self.bounds == Bounds::NONE
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

/// A packet, and what of it is looked for among the values of many rules.
pub(crate) struct Probe<'a> {
    packet: &'a Packet,
    /// Its family and its hook
    bounds: Bounds,
    from: Side,
    to: Side,
    proto: Option<Protocol>,
    /// The source and the destination port
    ports: Option<(u16, u16)>,
}

impl<'a> Probe<'a> {
    /// Gets a packet ready to be compared with rules.
    pub(crate) fn new(packet: &'a Packet) -> Self {
        let Headers {
            addrs,
            proto,
            transport,
            ..
        } = packet.headers;
        Self {
            packet,
            bounds: Bounds::of(packet),
            from: addrs.map(AddrPair::source).into(),
            to: addrs.map(AddrPair::dest).into(),
            proto,
            ports: match transport {
                Transport::Ports { source, dest, .. } => Some((source, dest)),
                _ => None,
            },
        }
    }
}

/// Which fields of a packet the words ask for that cost something to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The names of interfaces
    pub interfaces: bool,
    /// The names of bridge ports
    pub ports: bool,
    /// The firewall mark
    pub mark: bool,
    /// Where connections' first packets were sent to
    pub origins: bool,
    /// What connection tracking knows, at these hooks
    pub flows: HookSet,
    /// The cgroups of sockets, at these hooks
    pub cgroups: HookSet,
}

impl Needs {
    /// Whether sockets are to be looked up by the addresses of packets that come in.
    pub fn receivers(&self) -> bool {
        asks_for_receiver(self.cgroups)
    }
}

/// Whether the cgroup that is asked for at any of these hooks is that of the socket that a packet is
/// for.
pub(crate) fn asks_for_receiver(hooks: HookSet) -> bool {
    hooks.contains(Hook::PreRouting) || hooks.contains(Hook::LocalIn)
}

/// None.
impl Default for Needs {
    fn default() -> Self {
        Self {
            interfaces: false,
            ports: false,
            mark: false,
            origins: false,
            flows: HookSet::EMPTY,
            cgroups: HookSet::EMPTY,
        }
    }
}

impl Needs {
    /// Adds what others ask for.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            interfaces: self.interfaces | other.interfaces,
            ports: self.ports | other.ports,
            mark: self.mark | other.mark,
            origins: self.origins | other.origins,
            flows: self.flows.or(other.flows),
            cgroups: self.cgroups.or(other.cgroups),
        }
    }

    /// Adds what the word `key` asks for.
    fn add(&mut self, key: Key) {
        match key {
            Key::In | Key::Out => self.interfaces = true,
            Key::PortIn | Key::PortOut => self.ports = true,
            Key::Mark => self.mark = true,
            Key::OrigDst | Key::OrigDport => self.origins = true,
            Key::From
            | Key::To
            | Key::Proto
            | Key::IcmpType
            | Key::Sport
            | Key::Dport
            | Key::Cgroup
            | Key::Netns => {}
        }
    }
}

/// What is to be known at once of the words of a statement that were just added.
#[derive(Clone, Copy, Default)]
pub(crate) struct Survey {
    /// How many values are listed.
    pub(crate) values: usize,
    /// Whether they ask for what connection tracking knows.
    pub(crate) flow: bool,
    /// Whether they ask for the cgroup of a socket.
    pub(crate) cgroup: bool,
}

impl Survey {
    fn note(&mut self, key: Key) {
        self.flow |= key.asks_for_flow();
        self.cgroup |= key == Key::Cgroup;
    }
}

/// The match words of many statements, and the values in them.
///
/// A word takes a byte and what its values take: an IPv4 prefix five, an address four, a port two. Those
/// of a statement stand one behind the other, and before them may be what few rules have.
pub struct Matches<M: Memory> {
    bytes: M::List<u8>,
    /// Where the cgroups are that were added last, of which nobody knows yet which they are.
    unknown: M::List<u32>,
    needs: Needs,
}

impl<M: Memory> Default for Matches<M> {
    fn default() -> Self {
        Self {
            bytes: Default::default(),
            unknown: Default::default(),
            needs: Needs::default(),
        }
    }
}

impl<M: Memory> Duplicate for Matches<M> {
    fn duplicate(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            bytes: self.bytes.duplicate()?,
            unknown: self.unknown.duplicate()?,
            needs: self.needs,
        })
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

impl<M: Memory> Matches<M> {
    // Process context: building.

    /// Adds the words of a statement, which may name these sets.
    pub(crate) fn add(
        &mut self,
        text: &MatchText<'_>,
        sets: &Sets<M>,
    ) -> Result<(Match, Survey), Refusal<NoMemory>> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| NoMemory)?;
        let mut words = 0u8;
        let mut survey = Survey::default();
        for (key, clause) in text.clauses() {
            let at = self.bytes.len();
            self.bytes.push(0)?;
            let form = match clause.values {
                parser::Values::Set(word) => {
                    let place = set(key, word, sets)?;
                    self.bytes.push_all(&place.to_le_bytes())?;
                    SET
                }
                parser::Values::Listed(words) => {
                    let packed = values::pack(&mut self.bytes, &mut self.unknown, key, words)?;
                    let (form, count) = packed;
                    survey.values = survey.values.saturating_add(count);
                    form
                }
            };
            let negated = if clause.negated { NEGATED } else { 0 };
            if let Some(head) = self.bytes.get_mut(at) {
                *head = (key as u8).wrapping_shl(KEY) | negated | form;
            }
            survey.note(key);
            self.needs.add(key);
            words = words.saturating_add(1);
        }
        let added = Match {
            bounds: Bounds::new(text.families, text.hooks, text.places, text.states),
            words,
            start,
        };
        self.note_needs(&added, &mut survey);
        Ok((added, survey))
    }

    /// Adds what a rule has that few have, and tells whether that is anything; its words come next.
    pub(crate) fn add_more(
        &mut self,
        verb: Verb,
        options: &OptionsText<'_>,
    ) -> Result<bool, NoMemory> {
        more::pack(&mut self.bytes, verb, options)
    }

    /// Notes what `m`, whose words were just added, needs at its hooks.
    fn note_needs(&mut self, m: &Match, survey: &mut Survey) {
        survey.flow |= m.bounds.states() != StateSet::all();
        if survey.flow {
            self.needs.flows = self.needs.flows.or(m.bounds.hooks());
        }
        if survey.cgroup {
            self.needs.cgroups = self.needs.cgroups.or(m.bounds.hooks());
        }
    }

    /// Has `find` tell of the paths that were added last which cgroups they lead to.
    pub fn resolve_cgroups<E>(
        &mut self,
        mut find: impl FnMut(&str) -> Result<CgroupId, E>,
    ) -> Result<(), E> {
        for at in core::mem::take(&mut self.unknown) {
            let at = at as usize;
            let mut bytes = Reader::new(self.bytes.get(at..).unwrap_or(&[]));
            let cgroup = CgroupMatch::unpack(0, &mut bytes);
            let id = cgroup
                .map(|cgroup| find(cgroup.path.as_str()))
                .transpose()?;
            let bytes = self.bytes.get_mut(at..);
            bytes
                .zip(id)
                .and_then(|(bytes, id)| CgroupMatch::note(bytes, id));
        }
        Ok(())
    }

    /// Adds the words of an expression, which may name no sets.
    pub fn add_expression(&mut self, text: &MatchText<'_>) -> Result<Match, Refusal<NoMemory>> {
        let (added, _) = self.add(text, &Sets::default())?;
        Ok(added)
    }

    /// Adds the words of `m`, which are of `other`, with what is before them from `start` on; a set that is
    /// at some place there is at the `place` of that here.
    pub(crate) fn copy<E: From<NoMemory>>(
        &mut self,
        other: &Self,
        start: usize,
        m: &Match,
        place: impl Fn(u32) -> Result<u32, E>,
    ) -> Result<(Match, Survey), E> {
        let here = self.bytes.len();
        let mut survey = Survey::default();
        let mut terms = other.terms(m);
        let at = |terms: &Terms<'_>| other.bytes.len().saturating_sub(terms.bytes.len());
        let before = at(&terms).saturating_sub(start);
        let mut copied = start;
        while let Some(term) = terms.next() {
            survey.note(term.key);
            self.needs.add(term.key);
            match term.values {
                Source::Listed(values) => {
                    survey.values = survey.values.saturating_add(values.count());
                }
                Source::Set(set) => {
                    let end = at(&terms);
                    let same = end.saturating_sub(size_of::<u32>());
                    let before = other.bytes.get(copied..same).unwrap_or(&[]);
                    self.bytes.push_all(before)?;
                    self.bytes.push_all(&place(set)?.to_le_bytes())?;
                    copied = end;
                }
            }
        }
        let rest = other.bytes.get(copied..at(&terms)).unwrap_or(&[]);
        self.bytes.push_all(rest)?;
        let start = here.saturating_add(before);
        let copied = Match {
            start: u32::try_from(start).map_err(|_| NoMemory)?,
            ..*m
        };
        self.note_needs(&copied, &mut survey);
        Ok((copied, survey))
    }

    /// Adds the words of an expression, which are of `other`.
    pub fn copy_expression(&mut self, other: &Self, m: &Match) -> Result<Match, NoMemory> {
        let (copied, _) = self.copy(other, m.start as usize, m, Ok)?;
        Ok(copied)
    }

    // Any context: reading.

    /// Which fields of a packet the words ask for.
    #[inline]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The bytes of all of them, from `start` on.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The words of `m`.
    pub(crate) fn terms(&self, m: &Match) -> Terms<'_> {
        Terms {
            count: m.words,
            bytes: Reader::new(self.bytes.get(m.start as usize..).unwrap_or(&[])),
        }
    }

    /// Whether `m` asks what connection tracking knows.
    pub fn asks_for_flow(&self, m: &Match) -> bool {
        m.bounds.states() != StateSet::all() || self.terms(m).any(|term| term.key.asks_for_flow())
    }

    /// Adds to `scope` the namespaces where `m` asks what connection tracking knows.
    pub fn add_flow_scope(&self, m: &Match, scope: &mut NetnsScope) {
        if self.asks_for_flow(m) {
            self.add_scope(m, scope);
        }
    }

    /// Adds to `reach` where `m` may match.
    pub(crate) fn add_reach(&self, m: &Match, reach: &mut Reach) {
        let mut scope = NetnsScope::default();
        self.add_scope(m, &mut scope);
        reach.add(m.bounds.hooks(), m.bounds.families(), &scope);
    }

    /// Adds to `scope` the namespaces that `m` speaks of.
    pub(crate) fn add_scope(&self, m: &Match, scope: &mut NetnsScope) {
        let Some(term) = self.terms(m).find(|term| term.key == Key::Netns) else {
            return scope.add(NetnsMatch::Any);
        };
        let Source::Listed(listed) = term.values else {
            return scope.add(NetnsMatch::Any);
        };
        let listed = listed.iter::<NetnsMatch>();
        if term.negated {
            let (mut host, mut container) = (true, true);
            for netns in listed {
                host &= netns != NetnsMatch::Host;
                container &= netns != NetnsMatch::Container;
            }
            if host {
                scope.add(NetnsMatch::Host);
            }
            if container {
                scope.add(NetnsMatch::Container);
            }
        } else {
            listed.for_each(|netns| scope.add(netns));
        }
    }

    /// Notes in `pattern` which packets of its family a rule with these words is for, as far as a
    /// classifier can tell; whether there are any. `doubt` is the rule's, and `allows` what it does if it does no
    /// more than allow or deny.
    pub(crate) fn fill(
        &self,
        pattern: &mut Pattern,
        sets: &Sets<M>,
        m: &Match,
        (allows, doubt): (Option<bool>, Doubt),
    ) -> bool {
        if !m.bounds.families().contains(pattern.family()) {
            return false;
        }
        pattern.begin(allows, m.bounds.hooks());
        if !m.bounds.are_plain() {
            pattern.set_inexact();
        }
        for term in self.terms(m) {
            match (term.key, term.values) {
                // What shows no transport header is of other classes.
                (Key::Sport | Key::Dport | Key::IcmpType, _) => {
                    pattern.leave_out(if term.key == Key::IcmpType {
                        Class::Ports
                    } else {
                        Class::Portless
                    });
                    if !doubt.fragment {
                        pattern.leave_out(Class::Fragment);
                    }
                    if !doubt.unparsed {
                        pattern.leave_out(Class::Garbled);
                    }
                }
                (Key::Netns, Source::Listed(listed)) => {
                    pattern.set_netns(term.negated, listed.iter());
                    continue;
                }
                _ => {}
            }
            if term.negated {
                pattern.set_inexact();
                continue;
            }
            match (term.key, term.values) {
                (Key::From, Source::Listed(listed)) => pattern.set_source(listed.iter()),
                (Key::From, Source::Set(place)) => pattern.set_source(sets.addrs(place)),
                (Key::To, Source::Listed(listed)) => pattern.set_dest(listed.iter()),
                (Key::To, Source::Set(place)) => pattern.set_dest(sets.addrs(place)),
                (Key::Sport, Source::Listed(listed)) => pattern.set_sport(listed.iter()),
                (Key::Sport, Source::Set(place)) => pattern.set_sport(sets.ports(place)),
                (Key::Dport, Source::Listed(listed)) => pattern.set_dport(listed.iter()),
                (Key::Dport, Source::Set(place)) => pattern.set_dport(sets.ports(place)),
                (Key::Proto, Source::Listed(listed)) => pattern.set_proto(listed.iter()),
                (key, values) => match (Extra::of(key), values) {
                    (Extra::None, _) => pattern.set_inexact(),
                    (extra, Source::Listed(listed)) => {
                        pattern.set_interface(extra, listed.iter());
                    }
                    (extra, Source::Set(place)) => {
                        pattern.set_interface(extra, sets.interfaces(place));
                    }
                },
            }
        }
        true
    }

    /// How many values are listed in `m`.
    pub(crate) fn count(&self, m: &Match) -> usize {
        let counts = self.terms(m).map(|term| match term.values {
            Source::Listed(values) => values.count(),
            Source::Set(_) => 0,
        });
        counts.fold(0, usize::saturating_add)
    }

    /// What `m` asks the named set at `place` to hold, if it names it, and not only `kind`.
    pub(crate) fn conflict(&self, m: &Match, place: usize, kind: SetKind) -> Option<SetKind> {
        self.terms(m).find_map(|term| match term.values {
            Source::Set(set) if set as usize == place => {
                let (wanted, _) = term.key.sets()?;
                (wanted != kind).then_some(wanted)
            }
            _ => None,
        })
    }

    /// How many bytes of memory they take.
    pub fn memory(&self) -> usize {
        self.bytes.memory().saturating_add(self.unknown.memory())
    }

    /// Whether the packet is such a packet, `doubt` deciding about fields that it does not show.
    #[inline(always)]
    pub(crate) fn matches(
        &self,
        sets: &Sets<M>,
        m: &Match,
        probe: &Probe<'_>,
        doubt: Doubt,
    ) -> bool {
        if !m.bounds.admit(probe.bounds) {
            return false;
        }
        if !m.bounds.are_plain() && !rest_matches(m.bounds, probe.packet, doubt) {
            return false;
        }
        let mut bytes = Reader::new(self.bytes.get(m.start as usize..).unwrap_or(&[]));
        for _ in 0..m.words {
            // What cannot be read, as if the packet could not: nothing is like that.
            if !look(sets, &mut bytes, probe, doubt).unwrap_or(doubt.unparsed) {
                return false;
            }
        }
        true
    }

    /// Whether `packet` is such a packet as the expression `m` asks for, `doubt` deciding about fields that
    /// it does not show.
    pub fn expression_matches(&self, m: &Match, packet: &Packet, doubt: Doubt) -> bool {
        self.matches(&Sets::default(), m, &Probe::new(packet), doubt)
    }

    /// The words of `m` in canonical form, each behind a blank.
    pub(crate) fn display<'a>(&'a self, sets: &'a Sets<M>, m: &'a Match) -> impl fmt::Display + 'a {
        MatchLine {
            matches: self,
            sets: Some(sets),
            m,
        }
    }

    /// `m` as a line of the trace file.
    pub fn line_of<'a>(&'a self, m: &'a Match) -> impl fmt::Display + 'a {
        TraceLine(self, m)
    }
}

/// Whether the packet's place in a datagram and its state are among those of `bounds`.
fn rest_matches(bounds: Bounds, packet: &Packet, doubt: Doubt) -> bool {
    let place = bounds.places() == PlaceSet::all()
        || match packet.headers.place() {
            Some(place) => bounds.places().contains(place),
            None => doubt.unparsed,
        };
    place
        && (bounds.states() == StateSet::all()
            || match packet.flow {
                Flow::Known(state, _) => bounds.states().contains(state),
                Flow::Fragment => doubt.fragment,
                Flow::Unasked => doubt.unparsed,
            })
}

/// Takes a word, and tells whether it matches the packet; [`None`] if there is none.
#[inline(always)]
fn look<M: Memory>(
    sets: &Sets<M>,
    bytes: &mut Reader<'_>,
    probe: &Probe<'_>,
    doubt: Doubt,
) -> Option<bool> {
    let head = bytes.u8()?;
    // In the order in which they are likely.
    match head.wrapping_shr(KEY) {
        FROM => look_addr(sets, head, bytes, probe.from, doubt),
        TO => look_addr(sets, head, bytes, probe.to, doubt),
        PROTO => {
            let wanted = probe.proto.unwrap_or(Protocol(0));
            let found = fits::<Protocol>(head & FORM, bytes, &wanted, |_| false)?;
            Some(match probe.proto {
                Some(_) => found != (head & NEGATED != 0),
                None if matches!(probe.packet.headers.fragment, Fragment::Later(_)) => {
                    doubt.fragment
                }
                None => doubt.unparsed,
            })
        }
        SPORT => {
            let port = probe.ports.map(|(source, _)| source);
            look_port(sets, head, bytes, port, probe.packet, doubt)
        }
        DPORT => {
            let port = probe.ports.map(|(_, dest)| dest);
            look_port(sets, head, bytes, port, probe.packet, doubt)
        }
        key => {
            let key = *Key::ALL.get(usize::from(key))?;
            apart(bytes, |bytes| {
                look_rarely(sets, key, head, bytes, probe.packet, doubt)
            })
        }
    }
}

/// Takes the addresses behind `head`, one of which must be `side` of the packet.
#[inline(always)]
fn look_addr<M: Memory>(
    sets: &Sets<M>,
    head: u8,
    bytes: &mut Reader<'_>,
    side: Side,
    doubt: Doubt,
) -> Option<bool> {
    let found = fits::<AddrRange>(head & FORM, bytes, &side, |place| {
        sets.has_addr(place, side)
    })?;
    Some(match side {
        Side::Unknown => doubt.unparsed,
        _ => found != (head & NEGATED != 0),
    })
}

/// Takes the ports behind `head`, one of which must be this one of the packet.
#[inline(always)]
fn look_port<M: Memory>(
    sets: &Sets<M>,
    head: u8,
    bytes: &mut Reader<'_>,
    port: Option<u16>,
    packet: &Packet,
    doubt: Doubt,
) -> Option<bool> {
    let wanted = port.unwrap_or_default();
    let has = |place| sets.has_port(place, wanted);
    let found = fits::<PortRange>(head & FORM, bytes, &wanted, has)?;
    Some(match port {
        Some(_) => found != (head & NEGATED != 0),
        None => hidden(packet, doubt, Protocol::has_ports),
    })
}

/// Takes what is behind `head` of a word that few rules have.
#[inline(never)]
fn look_rarely<M: Memory>(
    sets: &Sets<M>,
    key: Key,
    head: u8,
    bytes: &mut Reader<'_>,
    packet: &Packet,
    doubt: Doubt,
) -> Option<bool> {
    let headers = &packet.headers;
    let (form, negated) = (head & FORM, head & NEGATED != 0);
    let interface = |bytes: &mut Reader<'_>, name: &IfName| {
        let found = fits::<IfPattern>(form, bytes, name, |place| sets.has_interface(place, name))?;
        // Without one the word does not match, negated or not.
        Some(found != negated && !name.is_none())
    };
    Some(match key {
        Key::IcmpType => {
            let wanted = match headers.transport {
                Transport::Icmp { kind, code } => Some((kind, code)),
                _ => None,
            };
            let family = if headers.proto == Some(Protocol::ICMP) {
                Family::Ipv4
            } else {
                Family::Ipv6
            };
            let (kind, code) = wanted.unwrap_or_default();
            let found = fits::<IcmpType>(form, bytes, &(family, kind, code), |_| false)?;
            match wanted {
                Some(_) => found != negated,
                None => hidden(packet, doubt, Protocol::is_icmp),
            }
        }
        Key::OrigDst => {
            let origin = Origin::of(packet.flow, headers);
            let side = Side::from(match origin {
                Origin::Known(to, _) => Some(to),
                _ => None,
            });
            let found = fits::<AddrRange>(form, bytes, &side, |place| sets.has_addr(place, side))?;
            match origin {
                Origin::Known(..) => found != negated,
                Origin::Fragment => doubt.fragment,
                Origin::Unknown => doubt.unparsed,
            }
        }
        Key::OrigDport => {
            let origin = Origin::of(packet.flow, headers);
            let port = match origin {
                Origin::Known(_, port) => port,
                _ => None,
            };
            let wanted = port.unwrap_or_default();
            let has = |place| sets.has_port(place, wanted);
            let found = fits::<PortRange>(form, bytes, &wanted, has)?;
            match origin {
                Origin::Known(_, Some(_)) => found != negated,
                Origin::Known(_, None) => hidden(packet, doubt, Protocol::has_ports),
                // An ICMP error is about a packet that may have them.
                _ if !headers.proto.is_none_or(Protocol::tells_of_ports) => false,
                Origin::Fragment => doubt.fragment,
                Origin::Unknown => doubt.unparsed,
            }
        }
        Key::In => interface(bytes, &packet.input)?,
        Key::Out => interface(bytes, &packet.output)?,
        Key::PortIn => interface(bytes, &packet.phys_input)?,
        Key::PortOut => interface(bytes, &packet.phys_output)?,
        Key::Mark => fits::<MarkMatch>(form, bytes, &packet.mark, |_| false)? != negated,
        Key::Cgroup => {
            let root = Lineage::default();
            let lineage = match &packet.cgroup {
                SocketCgroup::In(lineage) => lineage,
                _ => &root,
            };
            let found = fits::<CgroupMatch<'_>>(form, bytes, lineage, |_| false)?;
            match &packet.cgroup {
                SocketCgroup::In(_) => found != negated,
                SocketCgroup::NoSocket => false,
                SocketCgroup::Fragment => doubt.fragment,
                SocketCgroup::Unknown => doubt.unparsed,
            }
        }
        Key::Netns => fits::<NetnsMatch>(form, bytes, &packet.netns, |_| false)? != negated,
        // The caller knows them.
        Key::From | Key::To | Key::Proto | Key::Sport | Key::Dport => return None,
    })
}

/// Takes the values of a word of this form, and tells whether `field` fits one of them; `set` tells that of
/// the set at some place.
#[inline(always)]
fn fits<'a, T: Packed<'a>>(
    form: u8,
    bytes: &mut Reader<'a>,
    field: &T::Field,
    set: impl FnOnce(u32) -> bool,
) -> Option<bool> {
    match form {
        SET => Some(set(bytes.u32()?)),
        LIST => apart(bytes, |bytes| fits_any::<T>(bytes, field)),
        form => T::fits(form, bytes, field),
    }
}

#[inline(never)]
fn fits_any<'a, T: Packed<'a>>(bytes: &mut Reader<'a>, field: &T::Field) -> Option<bool> {
    let len = bytes.u16()?;
    let mut listed = Reader::new(bytes.slice(len.into())?);
    while let Some(form) = listed.u8() {
        if T::fits(form, &mut listed, field)? {
            return Some(true);
        }
    }
    Some(false)
}

/// How a word is decided about a transport header that is not there: only where the protocol, if it is
/// known, has one, it may be hidden; where it has none the word does not match, negated or not.
fn hidden(packet: &Packet, doubt: Doubt, has: fn(Protocol) -> bool) -> bool {
    match packet.headers.transport {
        Transport::LaterFragment => packet.headers.proto.is_none_or(has) && doubt.fragment,
        Transport::Unreadable => packet.headers.proto.is_none_or(has) && doubt.unparsed,
        _ => false,
    }
}

/// The place of the set that `word` names, if there is one that fits `key`.
fn set<M: Memory>(key: Key, word: Word<'_>, sets: &Sets<M>) -> Result<u32, Refusal<NoMemory>> {
    let named = || {
        let (kind, _) = key.sets()?;
        let place = sets.find(SetName::parse(word.text.get(1..)?)?)?;
        let fits = sets.kind(place).is_none_or(|other| other == kind);
        fits.then_some(u32::try_from(place).ok()?)
    };
    named().ok_or_else(|| {
        let expected = key.sets().map_or("", |(_, expected)| expected);
        Refusal::Fault(Fault::at_word(word, expected))
    })
}

struct TraceLine<'a, M: Memory>(&'a Matches<M>, &'a Match);

impl<M: Memory> fmt::Display for TraceLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(matches, m) = *self;
        if m.is_any() {
            return f.write_str("all");
        }
        let line = MatchLine {
            matches,
            sets: None,
            m,
        };
        write!(SkipBlank(f, true), "{line}")
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
    /// Those that the words may name
    sets: Option<&'a Sets<M>>,
    m: &'a Match,
}

impl<M: Memory> fmt::Display for MatchLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matches, sets, m } = *self;
        let bounds = m.bounds;
        if bounds.families() != FamilySet::all() {
            write!(f, " family {}", bounds.families())?;
        }
        let is_netns = |term: &Term<'_>| term.key == Key::Netns;
        let mut terms = matches.terms(m).filter(|term| !is_netns(term));
        terms.try_for_each(|term| fmt_term(f, sets, term))?;
        if bounds.places() != PlaceSet::all() {
            write!(f, " fragment {}", bounds.places())?;
        }
        if bounds.states() != StateSet::all() {
            write!(f, " state {}", bounds.states())?;
        }
        if bounds.hooks() != HookSet::all() {
            write!(f, " hook {}", bounds.hooks())?;
        }
        let mut last = matches.terms(m).filter(is_netns);
        last.try_for_each(|term| fmt_term(f, sets, term))
    }
}

fn fmt_term<M: Memory>(
    f: &mut fmt::Formatter<'_>,
    sets: Option<&Sets<M>>,
    term: Term<'_>,
) -> fmt::Result {
    let not = if term.negated { "!" } else { "" };
    write!(f, " {} {not}", term.key.name())?;
    match term.values {
        Source::Listed(values) => fmt::Display::fmt(&values, f),
        Source::Set(place) => match sets.and_then(|sets| sets.name(place as usize)) {
            Some(name) => write!(f, "@{name}"),
            None => Ok(()),
        },
    }
}
