// SPDX-License-Identifier: GPL-2.0

//! A policy: named sets, rules and defaults, and which of them decides about a packet.

use core::fmt;
use core::net::IpAddr;

use crate::cgroup::CgroupId;
use crate::error::Fault;
use crate::facts::Facts;
use crate::failsafe::{self, Way};
use crate::family::{Family, FamilySet};
use crate::hook::Hook;
use crate::index::{Index, Look, Search};
use crate::key::Key;
use crate::lexer::{Word, Words};
use crate::loader::Refusal;
use crate::matcher::{Misfit, Needs, Probe};
use crate::memory::{List, Memory, NoMemory};
use crate::netns::{NetnsId, NetnsScope};
use crate::outcome::Outcome;
use crate::packet::Packet;
use crate::parser::{DefaultText, RuleText};
use crate::rule::{Decider, Decision, DefaultVerb, Fallback, Log, Mode, Verb};
use crate::rules::Rules;
use crate::set::{SetKind, SetName};
use crate::sets::Sets;
use crate::slot::{Slot, Slots};
use crate::text::Tag;
use crate::texts::Texts;

const ONE_DEFAULT: &str = "one default for each scope";
const ONE_MODE: &str = "one mode for the table";
const ONE_FAILSAFE: &str = "one failsafe statement";
const NEW_NAME: &str = "a name that no other set has";
const OLD_NAME: &str = "the name of a set of the table, replaced once";

/// What is expected where an edit stands in a table of its own.
pub const NO_EDIT: &str = "a statement that is no edit: those are for what is appended (>>)";

/// A policy.
///
/// What several policies have in common they share: one that is made of another by a few changes has
/// memory of its own for these only.
pub struct Policy<M: Memory> {
    mode: Option<Mode>,
    sets: Sets<M>,
    rules: Rules<M>,
    defaults: M::List<Fallback>,
    /// The texts of the defaults
    texts: Texts<M>,
    /// What the `failsafe` statement names
    failsafe: M::List<Way>,
    /// How rules are found; while it is being written, that of the policy that it was made of.
    index: Option<Index<M>>,
    /// What its statements ask for; not known while it is being written.
    facts: Facts,
    /// Where packets are counted that the failsafe lets pass.
    failsafe_slot: Option<Slot>,
    /// Where packets are counted about which no statement decides.
    nobody_slot: Option<Slot>,
    /// What was said in what is being written.
    said: Said<M>,
}

/// What was said since a policy was shared.
struct Said<M: Memory> {
    /// The mode
    mode: bool,
    /// The failsafe
    failsafe: bool,
    /// Where the statements were counted that are gone.
    gone: M::List<Slot>,
}

impl<M: Memory> Default for Said<M> {
    fn default() -> Self {
        Self {
            mode: false,
            failsafe: false,
            gone: Default::default(),
        }
    }
}

impl<M: Memory> Said<M> {
    /// Notes that a statement is gone.
    fn lost(&mut self, slot: Option<Slot>) -> Result<(), NoMemory> {
        match slot {
            Some(slot) => self.gone.push(slot),
            None => Ok(()),
        }
    }
}

impl<M: Memory> Default for Policy<M> {
    fn default() -> Self {
        Self {
            mode: None,
            sets: Default::default(),
            rules: Default::default(),
            defaults: Default::default(),
            texts: Default::default(),
            failsafe: Default::default(),
            index: None,
            facts: Facts::default(),
            failsafe_slot: None,
            nobody_slot: None,
            said: Said::default(),
        }
    }
}

impl<M: Memory> Policy<M> {
    // Process context: building. After an error the policy is of no use any more.

    /// The same, to be changed.
    pub(crate) fn share(&self) -> Result<Self, NoMemory> {
        let mut policy = Self {
            mode: self.mode,
            sets: self.sets.share()?,
            rules: self.rules.share()?,
            failsafe: self.failsafe.duplicate()?,
            index: self.index.as_ref().map(Index::share).transpose()?,
            failsafe_slot: self.failsafe_slot,
            nobody_slot: self.nobody_slot,
            ..Self::default()
        };
        policy.defaults.reserve(self.defaults.len())?;
        for fallback in self.defaults.iter() {
            policy.defaults.push(Fallback {
                log: policy.texts.copy_log(&self.texts, fallback.log)?,
                said: false,
                ..*fallback
            })?;
        }
        Ok(policy)
    }

    /// The same, which does not change any more: each statement has a slot to be counted in. Also the
    /// slots of those that are gone.
    #[inline(never)]
    pub(crate) fn freeze(
        mut self,
        slots: &mut Slots<M>,
    ) -> Result<(Self, M::List<Slot>), NoMemory> {
        let rules = self.rules.freeze(slots)?;
        let mut facts = rules.facts();
        let defaults = self.defaults.iter_mut();
        for Fallback {
            default, log, slot, ..
        } in defaults
        {
            facts.note(default.verb, *log);
            let mut scope = NetnsScope::default();
            scope.add(default.scope.netns);
            let families = FamilySet::all();
            facts.reach.add(default.scope.hooks, families, &scope);
            settle(slot, slots)?;
        }
        settle(&mut self.nobody_slot, slots)?;
        if !self.failsafe.is_empty() {
            failsafe::add_reach(&mut facts.reach);
            settle(&mut self.failsafe_slot, slots)?;
        }
        let index = self.index.filter(|_| !self.sets.are_replaced());
        let sets = self.sets.freeze()?;
        let index = index.map(|index| index.turn(&rules, &sets)).transpose()?;
        let index = match index.flatten() {
            Some(index) => index,
            None => Index::new(&rules, &sets)?,
        };
        let policy = Self {
            index: Some(index),
            sets,
            rules,
            facts,
            said: Said::default(),
            ..self
        };
        Ok((policy, self.said.gone))
    }

    /// Adds what was said in `other` since that was shared.
    pub(crate) fn take_new(&mut self, other: &Self) -> Result<(), Misfit> {
        for place in 0..other.sets.len() {
            let Some(name) = other.sets.name(place).filter(|_| other.sets.is_new(place)) else {
                continue;
            };
            if self.sets.find(name).is_some() {
                return Err(Misfit::SetTwice(name));
            }
            self.sets.take_new(&other.sets, place)?;
        }
        let sets = &self.sets;
        self.rules.take_new(&other.rules, |place| {
            let place = place as usize;
            let name = other.sets.name(place).ok_or(Misfit::Memory)?;
            let here = sets.find(name).ok_or(Misfit::NoSet(name))?;
            // What was empty when the rule was written may hold anything by now.
            let wanted = other.sets.kind(place);
            if sets.kind(here).is_some_and(|kind| Some(kind) != wanted) {
                return Err(Misfit::NoSet(name));
            }
            here.try_into().map_err(|_| Misfit::Memory)
        })?;
        if other.said.mode {
            self.mode = other.mode;
        }
        for fallback in other.defaults.iter().filter(|fallback| fallback.said) {
            let log = self.texts.copy_log(&other.texts, fallback.log)?;
            self.put_default(fallback.default, log)?;
        }
        if other.said.failsafe {
            self.put_failsafe(other.failsafe.duplicate()?)?;
        }
        Ok(())
    }

    /// Adds a rule behind all of its priority.
    pub(crate) fn add_rule(&mut self, rule: &RuleText<'_>) -> Result<(), Refusal<NoMemory>> {
        self.rules.add(rule, &self.sets)
    }

    /// Puts a rule before the one with index `at`, or as near to it as its priority lets it.
    pub(crate) fn insert_rule(
        &mut self,
        at: usize,
        rule: &RuleText<'_>,
    ) -> Result<(), Refusal<NoMemory>> {
        self.rules.insert(at, rule, &self.sets)
    }

    /// Has `find` tell of the paths in the last rule which cgroups they lead to.
    pub(crate) fn resolve_cgroups<E>(
        &mut self,
        find: impl FnMut(&str) -> Result<CgroupId, E>,
    ) -> Result<(), E> {
        self.rules.resolve_cgroups(find)
    }

    /// Takes the rule with index `at` away.
    pub(crate) fn remove_rule(&mut self, at: usize) -> Result<(), NoMemory> {
        let slot = self.rules.remove(at)?;
        self.said.lost(slot)
    }

    /// Adds a default, which takes the place of the one for the same scope.
    pub(crate) fn add_default(&mut self, text: &DefaultText<'_>) -> Result<(), Refusal<NoMemory>> {
        let same = self.default_for(&text.default);
        let same = same.and_then(|index| self.defaults.get(index));
        if same.is_some_and(|same| same.said) {
            return Err(Refusal::Expected(ONE_DEFAULT));
        }
        let log = self.texts.add_log(text.log)?;
        Ok(self.put_default(text.default, log)?)
    }

    fn put_default(&mut self, default: DefaultVerb, log: Option<Log>) -> Result<(), NoMemory> {
        let mut fallback = Fallback {
            default,
            log,
            slot: None,
            said: true,
        };
        let same = self.default_for(&default);
        let Some(old) = same.and_then(|index| self.defaults.get_mut(index)) else {
            return self.defaults.push(fallback);
        };
        if old.default == default {
            fallback.slot = old.slot;
        } else {
            // It says something else now, and begins anew.
            self.said.lost(old.slot)?;
        }
        *old = fallback;
        Ok(())
    }

    /// Says the mode.
    pub(crate) fn set_mode(&mut self, mode: Mode) -> Result<(), Refusal<NoMemory>> {
        if core::mem::replace(&mut self.said.mode, true) {
            return Err(Refusal::Expected(ONE_MODE));
        }
        self.mode = Some(mode);
        Ok(())
    }

    /// Says the failsafe, in place of the one that was there.
    pub(crate) fn set_failsafe(&mut self, words: Words<'_>) -> Result<(), Refusal<NoMemory>> {
        if core::mem::replace(&mut self.said.failsafe, true) {
            return Err(Refusal::Expected(ONE_FAILSAFE));
        }
        let mut ways = M::List::default();
        ways.extend(failsafe::ways(words))?;
        Ok(self.put_failsafe(ways)?)
    }

    fn put_failsafe(&mut self, ways: M::List<Way>) -> Result<(), NoMemory> {
        if *ways != *self.failsafe {
            self.said.lost(self.failsafe_slot.take())?;
        }
        self.said.failsafe = true;
        self.failsafe = ways;
        Ok(())
    }

    /// Begins a set, with these members.
    pub(crate) fn add_set(
        &mut self,
        name: SetName,
        word: Word<'_>,
        members: Option<(SetKind, Words<'_>)>,
    ) -> Result<(), Refusal<NoMemory>> {
        if self.sets.find(name).is_some() {
            return Err(Refusal::Fault(Fault::at_word(word, NEW_NAME)));
        }
        self.sets.add(name)?;
        self.add_members(members)
    }

    /// Begins a set in place of the one of this name that was there before, with these members.
    pub(crate) fn replace_set(
        &mut self,
        name: SetName,
        word: Word<'_>,
        members: Option<(SetKind, Words<'_>)>,
    ) -> Result<(), Refusal<NoMemory>> {
        if !self.sets.replace(name)? {
            return Err(Refusal::Fault(Fault::at_word(word, OLD_NAME)));
        }
        self.add_members(members)
    }

    /// Adds members to the last set.
    pub(crate) fn add_members(
        &mut self,
        members: Option<(SetKind, Words<'_>)>,
    ) -> Result<(), Refusal<NoMemory>> {
        let Some((kind, words)) = members else {
            return Ok(());
        };
        if let Some(wanted) = self.conflict(kind) {
            let expected = wanted.expected_by_rules();
            return Err(match words.values().next() {
                Some(word) => Refusal::Fault(Fault::at_word(word, expected)),
                None => Refusal::Expected(expected),
            });
        }
        Ok(self.sets.add_members(kind, words)?)
    }

    /// What the set that was begun last must hold, as a rule names it that asks for that; [`None`] if it
    /// has members, or may hold `kind`.
    fn conflict(&self, kind: SetKind) -> Option<SetKind> {
        let open = self.sets.open();
        if !self.sets.may_conflict(kind) {
            return None;
        }
        self.rules.blocks().find_map(|block| {
            M::pause();
            let mut heads = block.heads().iter();
            heads.find_map(|head| block.matches().conflict(&block.words(*head), open, kind))
        })
    }

    /// The place of the default for the same scope.
    fn default_for(&self, default: &DefaultVerb) -> Option<usize> {
        let same = |other: &Fallback| other.default.scope == default.scope;
        self.defaults.iter().position(same)
    }

    // Any context: reading.

    /// Whether refusals are carried out.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// The rules
    #[inline]
    pub fn rules(&self) -> &Rules<M> {
        &self.rules
    }

    /// How many named sets there are.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Whether there is a set of this name.
    pub fn has_set(&self, name: SetName) -> bool {
        self.sets.find(name).is_some()
    }

    /// How many values there are, members of sets included.
    pub fn values(&self) -> usize {
        self.rules.values().saturating_add(self.sets.values())
    }

    /// The defaults
    #[inline]
    pub fn defaults(&self) -> &[Fallback] {
        &self.defaults
    }

    /// Which fields of a packet the rules ask for.
    #[inline]
    pub fn needs(&self) -> Needs {
        self.facts.needs
    }

    /// The namespaces where a rule asks what connection tracking knows.
    #[inline]
    pub fn flow_scope(&self) -> &NetnsScope {
        &self.facts.flows
    }

    /// The namespaces where a rule asks for the cgroup of a socket.
    #[inline]
    pub fn cgroup_scope(&self) -> &NetnsScope {
        &self.facts.cgroups
    }

    /// Whether any statement may decide at a hook; else nobody does.
    #[inline]
    pub fn reaches(&self, hook: Hook, family: Family, netns: NetnsId) -> bool {
        self.facts.reach.contains(hook, family, netns)
    }

    /// The slot in which packets are counted about which nobody decides.
    #[inline]
    pub fn nobody_slot(&self) -> Option<Slot> {
        self.nobody_slot
    }

    /// Whether any statement rejects.
    pub fn rejects(&self) -> bool {
        self.facts.rejects
    }

    /// Whether anything may be logged.
    #[inline]
    pub fn logs(&self) -> bool {
        self.facts.logs || self.mode() == Mode::Audit
    }

    /// Whether and how a packet is logged about which that was decided: as its statement says; and what
    /// is on trial, be it the rule or the whole table, also without a word.
    #[inline]
    pub fn log(&self, decision: Decision) -> Option<Log> {
        let said = match decision.decider {
            Decider::Rule(index) => self.rules.get(index)?.options.log,
            Decider::Default(index) => self.defaults.get(index)?.log,
            Decider::Nobody | Decider::Failsafe => None,
        };
        let verb = decision.verb;
        let trial = verb == Verb::Audit || (verb.refuses() && self.mode() == Mode::Audit);
        said.or_else(|| trial.then(Log::default))
    }

    /// What lines begin with about packets that `decider` decided about.
    pub fn prefix(&self, decider: Decider) -> &str {
        let said = match decider {
            Decider::Rule(index) => self.rules.find(index).and_then(|(block, head)| {
                let log = block.rule(head).options.log?;
                Some(block.prefix(&log))
            }),
            Decider::Default(index) => {
                let log = self.defaults.get(index).and_then(|default| default.log);
                log.map(|log| self.texts.get(log.prefix))
            }
            Decider::Nobody | Decider::Failsafe => None,
        };
        said.filter(|prefix| !prefix.is_empty()).unwrap_or("log")
    }

    /// Whether there is nothing to decide by.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.defaults.is_empty() && self.failsafe.is_empty()
    }

    /// The ways in to the host that no rule can close.
    pub fn failsafe(&self) -> &[Way] {
        &self.failsafe
    }

    /// What is to be said of them, if there are any.
    pub fn failsafe_line(&self) -> Option<impl fmt::Display + '_> {
        (!self.failsafe.is_empty()).then_some(FailsafeLine(&self.failsafe))
    }

    /// Whether the `failsafe` statement lets a packet pass before any rule is asked. `own` tells of its
    /// destination at PRE_ROUTING whether packets for it are for the host, of its source at
    /// POST_ROUTING whether it is the host's.
    #[inline]
    pub fn is_failsafe(&self, packet: &Packet, own: impl FnOnce(IpAddr) -> bool) -> bool {
        !self.failsafe.is_empty() && failsafe::passes(&self.failsafe, packet, own)
    }

    /// How many bytes of memory it takes, those included that it shares with others.
    pub fn memory(&self) -> usize {
        self.rules
            .memory()
            .saturating_add(self.sets.memory())
            .saturating_add(self.defaults.memory())
            .saturating_add(self.texts.memory())
            .saturating_add(self.failsafe.memory())
            .saturating_add(self.index.as_ref().map_or(0, Index::memory))
    }

    /// Decides about `packet`: the first rule that matches, else the narrowest default, else allow.
    ///
    /// Rules that audit decide nothing; `audited` is called with the index of each that matches before a
    /// decision is found.
    pub fn decide(&self, packet: &Packet, mut audited: impl FnMut(usize)) -> Decision {
        self.judge(packet, |index, _| audited(index)).0
    }

    /// The same, with the slots in which the packet is to be counted.
    #[inline(never)]
    pub fn judge(
        &self,
        packet: &Packet,
        mut audited: impl FnMut(usize, Option<Slot>),
    ) -> (Decision, Option<Slot>) {
        let decide = |index: usize, verb: Verb, slot: Option<Slot>| {
            if verb == Verb::Audit {
                audited(index, slot);
                return None;
            }
            let decision = Decision {
                verb,
                decider: Decider::Rule(index),
            };
            Some((decision, slot))
        };
        match self.find(packet, decide) {
            Some(decided) => decided,
            None => self.fall_back(packet),
        }
    }

    /// What comes of a packet with this key, in this namespace, if a first look tells: of most. Else
    /// [`None`], and it must be judged. The key must have all that the policy [needs](Self::needs) at the hook.
    ///
    /// What is told is what [`judge`](Self::judge) says, and the failsafe before it.
    #[inline(always)]
    pub fn first_look(&self, packet: &Key<'_>, netns: NetnsId) -> Option<Outcome> {
        if self.mode() == Mode::Audit
            || (!self.failsafe.is_empty() && failsafe::may_pass(&self.failsafe, packet, netns))
        {
            return None;
        }
        match self
            .index
            .as_ref()?
            .look(&self.rules, &self.sets, packet, netns)
        {
            Look::Rule(allows, slot) => Some(Outcome {
                slot,
                dropped: !allows,
            }),
            Look::Nobody if self.defaults.is_empty() => Some(Outcome {
                slot: self.nobody_slot?,
                dropped: false,
            }),
            Look::Nobody => self.first_default(packet.hook(), netns),
            Look::Unclear => None,
        }
    }

    /// The same of a packet that no rule is for.
    #[inline(never)]
    fn first_default(&self, hook: Hook, netns: NetnsId) -> Option<Outcome> {
        let Some((_, fallback)) = self.default_at(hook, netns) else {
            return Some(Outcome {
                slot: self.nobody_slot?,
                dropped: false,
            });
        };
        let dropped = match fallback.default.verb {
            Verb::Allow => false,
            Verb::Deny => true,
            Verb::Reject(_) | Verb::Audit | Verb::Queue(_) => return None,
        };
        let slot = fallback.slot.filter(|_| fallback.log.is_none())?;
        Some(Outcome { slot, dropped })
    }

    /// The narrowest default for packets at a hook of a namespace, and its index.
    fn default_at(&self, hook: Hook, netns: NetnsId) -> Option<(usize, &Fallback)> {
        let mut best: Option<(usize, &Fallback)> = None;
        for (index, fallback) in self.defaults.iter().enumerate() {
            let scope = |fallback: &Fallback| fallback.default.scope.narrowness();
            let narrower = |(_, best)| scope(fallback) > scope(best);
            if fallback.default.holds_at(hook, netns) && best.is_none_or(narrower) {
                best = Some((index, fallback));
            }
        }
        best
    }

    /// What the narrowest default decides, and where no rule decides.
    #[inline(never)]
    fn fall_back(&self, packet: &Packet) -> (Decision, Option<Slot>) {
        match self.default_at(packet.hook, packet.netns) {
            Some((index, fallback)) => {
                let decision = Decision {
                    verb: fallback.default.verb,
                    decider: Decider::Default(index),
                };
                (decision, fallback.slot)
            }
            None => {
                let decision = Decision {
                    verb: Verb::Allow,
                    decider: Decider::Nobody,
                };
                (decision, self.nobody_slot)
            }
        }
    }

    /// Calls `decide` for each rule that is for the packet, in their order, with its index, its verb and its
    /// slot, until it returns something.
    #[inline]
    fn find<R>(
        &self,
        packet: &Packet,
        mut decide: impl FnMut(usize, Verb, Option<Slot>) -> Option<R>,
    ) -> Option<R> {
        let first = match &self.index {
            Some(index) => match index.find(&self.rules, &self.sets, packet, &mut decide) {
                Search::Decided(decided) => return Some(decided),
                Search::Nobody => return None,
                Search::From(first) => first,
            },
            None => 0,
        };
        self.scan(packet, first, decide)
    }

    /// The same, but that rule by rule is asked, from the one with index `first` on.
    #[cold]
    #[inline(never)]
    fn scan<R>(
        &self,
        packet: &Packet,
        first: usize,
        mut decide: impl FnMut(usize, Verb, Option<Slot>) -> Option<R>,
    ) -> Option<R> {
        let probe = Probe::new(packet);
        let mut start = 0usize;
        for block in self.rules.blocks() {
            let passed = first.saturating_sub(start);
            for (place, head) in block.heads().iter().enumerate().skip(passed) {
                if block.speaks_of(*head, &self.sets, &probe) {
                    let index = start.saturating_add(place);
                    let result = decide(index, block.verb(*head), head.slot);
                    if result.is_some() {
                        return result;
                    }
                }
            }
            start = start.saturating_add(block.heads().len());
        }
        None
    }

    /// The slot in which packets are counted that the failsafe lets pass.
    #[inline]
    pub fn failsafe_slot(&self) -> Option<Slot> {
        self.failsafe_slot
    }

    /// The slots of all statements: of the rules, of the defaults, and that of nobody.
    pub fn slots(&self) -> impl Iterator<Item = Option<Slot>> + '_ {
        let rules = self.rules.slots();
        let defaults = self.defaults.iter().map(|fallback| fallback.slot);
        rules.chain(defaults).chain([self.nobody_slot])
    }

    /// The slots that its statements have, the failsafe included. Process context.
    pub fn taken_slots(&self) -> Result<Slots<M>, NoMemory> {
        Slots::of(self.slots().chain([self.failsafe_slot]).flatten())
    }

    /// Whether rule `index` speaks of `packet`.
    pub fn speaks_of(&self, index: usize, packet: &Packet) -> bool {
        let rule = self.rules.find(index);
        rule.is_some_and(|(block, head)| block.speaks_of(head, &self.sets, &Probe::new(packet)))
    }

    /// The index of the first rule with this comment, and whether there is another one. Process context.
    pub(crate) fn commented(&self, comment: &[u8]) -> Option<(usize, bool)> {
        let tag = Tag::of(comment);
        let (mut start, mut found) = (0usize, None);
        for block in self.rules.blocks() {
            M::pause();
            for (place, head) in block.heads().iter().enumerate() {
                if block.is_commented(*head, tag, comment) {
                    if let Some(index) = found {
                        return Some((index, true));
                    }
                    found = Some(start.saturating_add(place));
                }
            }
            start = start.saturating_add(block.heads().len());
        }
        found.map(|index| (index, false))
    }

    /// Rule `index` in canonical form.
    pub fn rule(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let (block, head) = self.rules.find(index)?;
        Some(block.line(head, &self.sets))
    }

    /// Default `index` in canonical form.
    pub fn fallback(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let default = self.defaults.get(index)?;
        Some(DefaultLine {
            policy: self,
            default,
        })
    }

    /// How many lines the canonical form has.
    pub fn lines(&self) -> usize {
        self.mode_lines()
            .saturating_add(self.failsafe_lines())
            .saturating_add(self.set_lines())
            .saturating_add(self.rules.len())
            .saturating_add(self.defaults.len())
    }

    /// How many lines the mode takes: what goes without saying takes none.
    fn mode_lines(&self) -> usize {
        usize::from(self.mode() != Mode::default())
    }

    /// How many lines the `failsafe` takes.
    fn failsafe_lines(&self) -> usize {
        usize::from(!self.failsafe.is_empty())
    }

    /// How many lines the sets take.
    pub fn set_lines(&self) -> usize {
        self.sets.lines()
    }

    /// Line `index` of the sets in canonical form.
    pub fn set_line(&self, index: usize) -> Option<impl fmt::Display + '_> {
        self.sets.line(index)
    }

    /// Line `index` of the canonical form, which loads back to the same policy: the mode, the `failsafe`,
    /// the sets, the rules, the defaults.
    pub fn line(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let Some(index) = index.checked_sub(self.mode_lines()) else {
            return Some(Line::Mode(self.mode()));
        };
        let Some(index) = index.checked_sub(self.failsafe_lines()) else {
            return self.failsafe_line().map(Line::Failsafe);
        };
        let Some(index) = index.checked_sub(self.set_lines()) else {
            return self.set_line(index).map(Line::Set);
        };
        match index.checked_sub(self.rules.len()) {
            None => self.rule(index).map(Line::Rule),
            Some(index) => self.fallback(index).map(Line::Default),
        }
    }
}

/// Gives a statement a slot if it has none.
fn settle<M: Memory>(slot: &mut Option<Slot>, slots: &mut Slots<M>) -> Result<(), NoMemory> {
    if slot.is_none() {
        *slot = Some(slots.take()?);
    }
    Ok(())
}

struct DefaultLine<'a, M: Memory> {
    policy: &'a Policy<M>,
    default: &'a Fallback,
}

impl<M: Memory> fmt::Display for DefaultLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, default } = *self;
        default.default.fmt(f)?;
        policy.texts.fmt_log(f, default.log)
    }
}

struct FailsafeLine<'a>(&'a [Way]);

impl fmt::Display for FailsafeLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "failsafe {";
        for way in self.0 {
            write!(f, "{separator} {way}")?;
            separator = ",";
        }
        f.write_str(" }")
    }
}

/// A line of one of five kinds.
enum Line<F, S, R, D> {
    Mode(Mode),
    Failsafe(F),
    Set(S),
    Rule(R),
    Default(D),
}

impl<F, S, R, D> fmt::Display for Line<F, S, R, D>
where
    F: fmt::Display,
    S: fmt::Display,
    R: fmt::Display,
    D: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(f, "mode {mode}"),
            Self::Failsafe(failsafe) => failsafe.fmt(f),
            Self::Set(set) => set.fmt(f),
            Self::Rule(rule) => rule.fmt(f),
            Self::Default(default) => default.fmt(f),
        }
    }
}
