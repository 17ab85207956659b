// SPDX-License-Identifier: GPL-2.0

//! A policy: named sets, rules and defaults, and which of them decides about a packet.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::error::Fault;
use crate::failsafe::{self, Way};
use crate::loader::{Refusal, MAX_LINE};
use crate::matcher::{Matches, Misfit};
use crate::memory::{List, Memory, NoMemory, Span};
use crate::packet::Packet;
use crate::parser::{LogText, OptionsText, Statement};
use crate::period::Period;
use crate::priority::{self, Priority};
use crate::rule::{Decider, Decision, DefaultVerb, Fallback, Log, Mode, Options, Rule, Verb};

/// A line that is at most so long has a canonical form that is not too long.
const SHORT_LINE: usize = 256;

const ONE_DEFAULT: &str = "one default for each scope";
const ONE_MODE: &str = "one mode for the table";
const ONE_FAILSAFE: &str = "one failsafe statement";
const NO_EDIT: &str = "a statement that is no edit: those are for what is appended (>>)";
const NEW_NAME: &str = "a name that no other set has";
const SHORTER: &str = "fewer values on the line: its canonical form is too long; use a set";

/// A policy.
pub struct Policy<M: Memory> {
    /// What was said of the mode.
    mode: Option<Mode>,
    matches: Matches<M>,
    rules: M::List<Rule>,
    defaults: M::List<Fallback>,
    /// The texts of the rules and defaults, UTF-8.
    texts: M::List<u8>,
    /// Whether any of them logs
    logs: bool,
    /// What the `failsafe` statement names
    failsafe: M::List<Way>,
    /// Whether there was one, which may have named nothing
    has_failsafe: bool,
}

impl<M: Memory> Default for Policy<M> {
    fn default() -> Self {
        Self {
            mode: None,
            matches: Default::default(),
            rules: Default::default(),
            defaults: Default::default(),
            texts: Default::default(),
            logs: false,
            failsafe: Default::default(),
            has_failsafe: false,
        }
    }
}

impl<M: Memory> Policy<M> {
    // Process context: building.

    /// Adds what a line says. Sets that are not defined here may be those of `base`, which this policy
    /// is to be put behind.
    ///
    /// After an error the policy is of no use any more.
    pub fn add(
        &mut self,
        statement: Statement<'_>,
        base: Option<&Self>,
    ) -> Result<(), Refusal<NoMemory>> {
        match statement {
            Statement::Rule(rule) => {
                let text = rule.matches;
                let matches = self.matches.add(&text, base.map(|base| &base.matches))?;
                let options = self.add_options(&rule.options)?;
                self.logs |= rule.verb == Verb::Audit;
                self.rules.push(Rule {
                    verb: rule.verb,
                    matches,
                    options,
                })?;
                let line = self.rule(self.rules.len().saturating_sub(1));
                if text.len() > SHORT_LINE && line.is_some_and(|line| !fits(&line)) {
                    return Err(Refusal::Expected(SHORTER));
                }
                Ok(())
            }
            Statement::Default(text) => {
                let default = text.default;
                if self.default_for(&default).is_some() {
                    return Err(Refusal::Expected(ONE_DEFAULT));
                }
                let log = self.add_log(text.log)?;
                Ok(self.defaults.push(Fallback { default, log })?)
            }
            Statement::Mode(mode) => match self.mode.replace(mode) {
                Some(_) => Err(Refusal::Expected(ONE_MODE)),
                None => Ok(()),
            },
            Statement::Set(name, word, members) => {
                let taken = |policy: &Self| policy.matches.has_set(name);
                if taken(self) || base.is_some_and(taken) {
                    return Err(Refusal::Fault(Fault::at_word(word, NEW_NAME)));
                }
                self.matches.add_set(name)?;
                match members {
                    Some((kind, words)) => Ok(self.matches.add_members(kind, words)?),
                    None => Ok(()),
                }
            }
            Statement::Members(kind, words) => Ok(self.matches.add_members(kind, words)?),
            Statement::Edit(_) => Err(Refusal::Expected(NO_EDIT)),
            Statement::Failsafe(words) => {
                if self.has_failsafe {
                    return Err(Refusal::Expected(ONE_FAILSAFE));
                }
                self.has_failsafe = true;
                Ok(self.failsafe.extend(failsafe::ways(words))?)
            }
        }
    }

    fn add_options(&mut self, options: &OptionsText<'_>) -> Result<Options, NoMemory> {
        Ok(Options {
            priority: options.priority,
            comment: self.add_text(options.comment)?,
            log: self.add_log(options.log)?,
        })
    }

    fn add_log(&mut self, log: Option<LogText<'_>>) -> Result<Option<Log>, NoMemory> {
        let Some(LogText { prefix, every }) = log else {
            return Ok(None);
        };
        self.logs = true;
        let prefix = self.add_text(prefix)?;
        Ok(Some(Log { prefix, every }))
    }

    fn add_text(&mut self, text: &[u8]) -> Result<Span, NoMemory> {
        let start = self.texts.len();
        self.texts.extend(text.iter().copied())?;
        Span::since(&self.texts, start)
    }

    /// Puts `other` behind this policy; its defaults take the place of those for the same scope, its mode
    /// and its `failsafe`, if it says one, that of those here.
    pub fn append(&mut self, other: &Self) -> Result<(), Misfit> {
        self.mode = other.mode.or(self.mode);
        let moved = self.matches.append(&other.matches)?;
        let texts = self.texts.len();
        self.texts.extend(other.texts.iter().copied())?;
        for rule in other.rules.iter() {
            self.rules.push(Rule {
                verb: rule.verb,
                matches: moved.to(&rule.matches)?,
                options: rule.options.behind(texts)?,
            })?;
        }
        for Fallback { default, log } in other.defaults.iter() {
            let moved = Fallback {
                default: *default,
                log: log.map(|log| log.behind(texts)).transpose()?,
            };
            match self.default_for(default) {
                Some(index) => {
                    if let Some(old) = self.defaults.get_mut(index) {
                        *old = moved;
                    }
                }
                None => self.defaults.push(moved)?,
            }
        }
        self.logs |= other.logs;
        if other.has_failsafe {
            self.failsafe = Default::default();
            self.failsafe.extend(other.failsafe.iter().copied())?;
            self.has_failsafe = true;
        }
        Ok(())
    }

    /// Makes this policy, which is empty, what `base` and `other` behind it are together, but with the
    /// rules that `order` tells only, in that order. The rules of `base` come first in its count. Nothing
    /// is kept of the rules that are left out.
    pub(crate) fn gather(
        &mut self,
        base: Option<&Self>,
        other: &Self,
        order: &[u32],
    ) -> Result<(), Misfit> {
        let none = Self::default();
        let base = base.unwrap_or(&none);
        self.mode = other.mode.or(base.mode);
        let base_sets = self.matches.append_sets(&base.matches)?;
        let other_sets = self.matches.append_sets(&other.matches)?;
        for index in order {
            let index = *index as usize;
            let (from, sets, place) = match index.checked_sub(base.rules.len()) {
                None => (base, &base_sets, index),
                Some(place) => (other, &other_sets, place),
            };
            let Some(rule) = from.rules.get(place) else {
                continue;
            };
            let matches = self.matches.copy(&from.matches, &rule.matches, sets)?;
            let log = self.copy_log(from, rule.options.log)?;
            self.logs |= rule.verb == Verb::Audit;
            let options = Options {
                comment: self.add_text(from.text(rule.options.comment).as_bytes())?,
                log,
                ..rule.options
            };
            self.rules.push(Rule {
                matches,
                options,
                ..*rule
            })?;
        }
        for from in [base, other] {
            for Fallback { default, log } in from.defaults.iter() {
                let log = self.copy_log(from, *log)?;
                let default = Fallback {
                    default: *default,
                    log,
                };
                match self.default_for(&default.default) {
                    Some(index) => {
                        if let Some(old) = self.defaults.get_mut(index) {
                            *old = default;
                        }
                    }
                    None => self.defaults.push(default)?,
                }
            }
            if from.has_failsafe {
                self.failsafe = Default::default();
                self.failsafe.extend(from.failsafe.iter().copied())?;
                self.has_failsafe = true;
            }
        }
        Ok(())
    }

    fn copy_log(&mut self, from: &Self, log: Option<Log>) -> Result<Option<Log>, NoMemory> {
        let text = log.map(|log| LogText {
            prefix: from.text(log.prefix).as_bytes(),
            every: log.every,
        });
        self.add_log(text)
    }

    /// Puts the rules into the order in which they are judged and listed: by descending priority, those
    /// of the same as they were added. Gives for each place where its rule was before; [`None`] if all
    /// stay where they are.
    pub fn settle(&mut self) -> Result<Option<M::List<u32>>, NoMemory> {
        let priority = |rule: &Rule| rule.options.priority;
        let rules = self.rules.iter();
        if rules.is_sorted_by(|rule, next| priority(rule) >= priority(next)) {
            return Ok(None);
        }
        let mut priorities = M::List::<Priority>::default();
        priorities.extend(self.rules.iter().map(priority))?;
        let order = priority::order::<M>(&priorities)?;
        let mut rules = M::List::<Rule>::default();
        let before = |place: &u32| self.rules.get(*place as usize).copied();
        rules.extend(order.iter().filter_map(before))?;
        self.rules = rules;
        Ok(Some(order))
    }

    /// The place of the default for the same scope.
    pub fn default_for(&self, default: &DefaultVerb) -> Option<usize> {
        let same = |other: &Fallback| other.default.scope == default.scope;
        self.defaults.iter().position(same)
    }

    // Any context: reading.

    /// Whether refusals are carried out.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// The match words of the rules, and the sets.
    #[inline]
    pub fn matches(&self) -> &Matches<M> {
        &self.matches
    }

    /// The rules
    #[inline]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The defaults
    #[inline]
    pub fn defaults(&self) -> &[Fallback] {
        &self.defaults
    }

    /// Whether any statement rejects.
    pub fn rejects(&self) -> bool {
        let rules = self.rules.iter().map(|rule| rule.verb);
        let defaults = self.defaults.iter().map(|default| default.default.verb);
        rules
            .chain(defaults)
            .any(|verb| matches!(verb, Verb::Reject(_)))
    }

    /// Whether anything may be logged.
    #[inline]
    pub fn logs(&self) -> bool {
        self.logs || self.mode() == Mode::Audit
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

    /// What lines about such packets begin with.
    pub fn prefix(&self, log: &Log) -> &str {
        match self.text(log.prefix) {
            "" => "log",
            prefix => prefix,
        }
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

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.matches
            .memory()
            .saturating_add(self.rules.memory())
            .saturating_add(self.defaults.memory())
            .saturating_add(self.texts.memory())
            .saturating_add(self.failsafe.memory())
    }

    /// Decides about `packet`: the first rule that matches, else the narrowest default, else allow.
    ///
    /// Rules that audit decide nothing; `audited` is called with the index of each that matches before a
    /// decision is found.
    #[inline]
    pub fn decide(&self, packet: &Packet, mut audited: impl FnMut(usize)) -> Decision {
        for (index, rule) in self.rules.iter().enumerate() {
            let doubt = rule.verb.doubt();
            if self.matches.matches(&rule.matches, packet, doubt) {
                if rule.verb == Verb::Audit {
                    audited(index);
                    continue;
                }
                return Decision {
                    verb: rule.verb,
                    decider: Decider::Rule(index),
                };
            }
        }
        let mut best: Option<(usize, &DefaultVerb)> = None;
        for (index, Fallback { default, .. }) in self.defaults.iter().enumerate() {
            let narrower = |(_, best): (usize, &DefaultVerb)| {
                default.scope.narrowness() > best.scope.narrowness()
            };
            if default.holds_for(packet) && best.is_none_or(narrower) {
                best = Some((index, default));
            }
        }
        match best {
            Some((index, default)) => Decision {
                verb: default.verb,
                decider: Decider::Default(index),
            },
            None => Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            },
        }
    }

    /// A text of one of the statements.
    fn text(&self, text: Span) -> &str {
        core::str::from_utf8(text.of(&self.texts)).unwrap_or("")
    }

    /// The comment of rule `index`; empty if it has none.
    pub fn comment(&self, index: usize) -> &str {
        let rule = self.rules.get(index);
        rule.map_or("", |rule| self.text(rule.options.comment))
    }

    /// Rule `index` in canonical form.
    pub fn rule(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let rule = self.rules.get(index)?;
        Some(RuleLine { policy: self, rule })
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
            .saturating_add(self.matches.lines())
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

    /// Line `index` of the canonical form, which loads back to the same policy: the mode, the `failsafe`,
    /// the sets, the rules, the defaults.
    pub fn line(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let Some(index) = index.checked_sub(self.mode_lines()) else {
            return Some(Line::Mode(self.mode()));
        };
        let Some(index) = index.checked_sub(self.failsafe_lines()) else {
            return self.failsafe_line().map(Line::Failsafe);
        };
        let Some(index) = index.checked_sub(self.matches.lines()) else {
            return self.matches.line(index).map(Line::Set);
        };
        match index.checked_sub(self.rules.len()) {
            None => self.rule(index).map(Line::Rule),
            Some(index) => self.fallback(index).map(Line::Default),
        }
    }
}

/// Whether a canonical line can be read back.
fn fits(line: &impl fmt::Display) -> bool {
    struct Room(usize);

    impl fmt::Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    write!(Room(MAX_LINE), "{line}").is_ok()
}

struct RuleLine<'a, M: Memory> {
    policy: &'a Policy<M>,
    rule: &'a Rule,
}

impl<M: Memory> fmt::Display for RuleLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, rule } = *self;
        write!(f, "{}{}", rule.verb, policy.matches.display(&rule.matches))?;
        if rule.options.priority != Priority::default() {
            write!(f, " priority {}", rule.options.priority)?;
        }
        policy.fmt_log(f, rule.options.log)?;
        if !rule.options.comment.is_empty() {
            write!(f, " comment \"{}\"", policy.text(rule.options.comment))?;
        }
        Ok(())
    }
}

struct DefaultLine<'a, M: Memory> {
    policy: &'a Policy<M>,
    default: &'a Fallback,
}

impl<M: Memory> fmt::Display for DefaultLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, default } = *self;
        default.default.fmt(f)?;
        policy.fmt_log(f, default.log)
    }
}

impl<M: Memory> Policy<M> {
    fn fmt_log(&self, f: &mut fmt::Formatter<'_>, log: Option<Log>) -> fmt::Result {
        let Some(Log { prefix, every }) = log else {
            return Ok(());
        };
        f.write_str(" log")?;
        if !prefix.is_empty() {
            write!(f, " \"{}\"", self.text(prefix))?;
        }
        if every != Period::DEFAULT {
            write!(f, " every {every}")?;
        }
        Ok(())
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
