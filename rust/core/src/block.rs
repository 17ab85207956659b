// SPDX-License-Identifier: GPL-2.0

//! Some neighbouring rules of a policy, with all that is theirs.

use core::fmt::{self, Write};

use crate::cgroup::CgroupId;
use crate::classifier::Pattern;
use crate::facts::Facts;
use crate::head::Head;
use crate::loader::{Refusal, MAX_LINE};
use crate::matcher::{Match, Matches, Probe, Survey};
use crate::memory::{Duplicate, List, Memory, NoMemory, Span};
use crate::more::More;
use crate::parser::RuleText;
use crate::priority::Priority;
use crate::rule::{Log, Options, Rule, Verb};
use crate::sets::Sets;
use crate::slot::{Slot, Slots};
use crate::text::Tag;

/// A line that is at most so long has a canonical form that is not too long.
const SHORT_LINE: usize = 256;

const SHORTER: &str = "fewer values on the line: its canonical form is too long; use a set";

/// The rules, in the order in which they are judged. It is changed while it belongs to one policy only
/// that is being written, and does not change any more once several may share it.
pub struct Block<M: Memory> {
    heads: M::List<Head>,
    matches: Matches<M>,
    /// What the rules ask for, and perhaps what those asked for that are gone.
    facts: Facts,
    /// How many rules are gone whose words and texts are still there.
    gone: usize,
}

impl<M: Memory> Default for Block<M> {
    fn default() -> Self {
        Self {
            heads: Default::default(),
            matches: Default::default(),
            facts: Facts::default(),
            gone: 0,
        }
    }
}

/// A table of many blocks may be the last that has them. Process context.
impl<M: Memory> Drop for Block<M> {
    fn drop(&mut self) {
        M::pause();
    }
}

impl<M: Memory> Duplicate for Block<M> {
    fn duplicate(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            heads: self.heads.duplicate()?,
            matches: self.matches.duplicate()?,
            ..*self
        })
    }
}

impl<M: Memory> Block<M> {
    // Process context: building.

    /// Puts a rule before the one at `place`; a set that it names is one of these. How many values are
    /// listed in it.
    pub(crate) fn insert(
        &mut self,
        place: usize,
        text: &RuleText<'_>,
        sets: &Sets<M>,
    ) -> Result<usize, Refusal<NoMemory>> {
        let start = self.matches.bytes().len();
        let more = self.matches.add_more(text.verb, &text.options)?;
        let (matches, survey) = self.matches.add(&text.matches, sets)?;
        let head = Head::new(text.verb, text.options.priority, &matches, start, more)?;
        if text.matches.len() > SHORT_LINE && !fits(&self.line(head, sets)) {
            return Err(Refusal::Expected(SHORTER));
        }
        Ok(self.put(place, head, &matches, survey)?)
    }

    /// Puts a rule of `from` before the one at `place`; a set that is at some place there is at that
    /// which `set` tells here. How many values are listed in it.
    pub(crate) fn copy<E: From<NoMemory>>(
        &mut self,
        place: usize,
        from: &Self,
        head: Head,
        set: impl Fn(u32) -> Result<u32, E>,
    ) -> Result<usize, E> {
        let start = self.matches.bytes().len();
        let m = from.words(head);
        let copied = self.matches.copy(&from.matches, head.start(), &m, set)?;
        let (matches, survey) = copied;
        Ok(self.put(place, head.at(start)?, &matches, survey)?)
    }

    fn put(
        &mut self,
        place: usize,
        head: Head,
        matches: &Match,
        survey: Survey,
    ) -> Result<usize, NoMemory> {
        self.facts.note(self.verb(head), self.more(head).log);
        self.matches.add_reach(matches, &mut self.facts.reach);
        if survey.flow {
            self.matches.add_scope(matches, &mut self.facts.flows);
        }
        if survey.cgroup {
            self.matches.add_scope(matches, &mut self.facts.cgroups);
        }
        self.facts.needs = self.matches.needs();
        self.heads.insert(place, head)?;
        Ok(survey.values)
    }

    /// Puts some rules of `from` behind these.
    pub(crate) fn append(&mut self, from: &Self, heads: &[Head]) -> Result<(), NoMemory> {
        for head in heads {
            self.copy(self.heads.len(), from, *head, Ok::<u32, NoMemory>)?;
        }
        Ok(())
    }

    /// Takes a rule away; where it was counted, and how many values were listed in it.
    pub(crate) fn remove(&mut self, place: usize) -> Result<(Option<Slot>, usize), NoMemory> {
        let Some(head) = self.heads.remove(place) else {
            return Ok((None, 0));
        };
        self.gone = self.gone.saturating_add(1);
        let values = self.matches.count(&self.words(head));
        if self.gone > M::BLOCK {
            self.tidy()?;
        }
        Ok((head.slot, values))
    }

    /// Keeps nothing of rules that are gone, and no more memory than is needed.
    pub(crate) fn tidy(&mut self) -> Result<(), NoMemory> {
        if self.gone != 0 {
            let mut block = Self::default();
            block.append(self, &self.heads)?;
            *self = block;
        }
        *self = self.duplicate()?;
        Ok(())
    }

    /// Has `find` tell of the paths that were added last which cgroups they lead to.
    pub(crate) fn resolve_cgroups<E>(
        &mut self,
        find: impl FnMut(&str) -> Result<CgroupId, E>,
    ) -> Result<(), E> {
        self.matches.resolve_cgroups(find)
    }

    /// Gives each rule a slot that has none.
    pub(crate) fn settle(&mut self, slots: &mut Slots<M>) -> Result<(), NoMemory> {
        for head in self.heads.iter_mut() {
            if head.slot.is_none() {
                head.slot = Some(slots.take()?);
            }
        }
        Ok(())
    }

    // Any context: reading.

    /// The heads of the rules.
    #[inline]
    pub(crate) fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The words of a rule.
    #[inline(always)]
    pub(crate) fn words(&self, head: Head) -> Match {
        let mut start = head.start();
        if head.has_more() {
            let more = More::len(self.matches.bytes(), start);
            start = start.saturating_add(more.unwrap_or_default());
        }
        Match {
            bounds: head.bounds,
            words: head.words(),
            // Heads have room for less.
            start: start as u32,
        }
    }

    /// What few rules have, of a rule.
    fn more(&self, head: Head) -> More {
        let more = head
            .has_more()
            .then(|| More::unpack(self.matches.bytes(), head.start()));
        more.flatten().unwrap_or_default()
    }

    /// What becomes of the packets that a rule matches.
    #[inline]
    pub(crate) fn verb(&self, head: Head) -> Verb {
        head.verb(|| self.more(head).queue)
    }

    /// All that a rule says.
    pub(crate) fn rule(&self, head: Head) -> Rule {
        let more = self.more(head);
        Rule {
            verb: head.verb(|| more.queue),
            matches: self.words(head),
            options: Options {
                priority: head.priority,
                comment: more.comment,
                log: more.log,
            },
        }
    }

    /// The priority of the last rule, which is the lowest.
    pub(crate) fn lowest(&self) -> Option<Priority> {
        self.heads.last().map(|head| head.priority)
    }

    /// What the rules ask for.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The match words of the rules.
    #[inline]
    pub(crate) fn matches(&self) -> &Matches<M> {
        &self.matches
    }

    /// Whether a rule is for such a packet, with these sets.
    #[inline(always)]
    pub(crate) fn speaks_of(&self, head: Head, sets: &Sets<M>, probe: &Probe<'_>) -> bool {
        self.matches
            .matches(sets, &self.words(head), probe, head.doubt())
    }

    /// Notes in `pattern` which packets of its family a rule is for, with these sets, as far as a classifier
    /// can tell; whether there are any.
    pub(crate) fn fill(&self, pattern: &mut Pattern, head: Head, sets: &Sets<M>) -> bool {
        let words = self.words(head);
        let allows = match self.verb(head) {
            Verb::Allow => Some(true),
            Verb::Deny => Some(false),
            Verb::Reject(_) | Verb::Audit | Verb::Queue(_) => None,
        };
        let allows = allows.filter(|_| self.more(head).log.is_none());
        self.matches
            .fill(pattern, sets, &words, (allows, head.doubt()))
    }

    /// Whether a rule has this comment, whose tag it is.
    #[inline]
    pub(crate) fn is_commented(&self, head: Head, tag: Tag, comment: &[u8]) -> bool {
        let more = self.more(head);
        more.tag == tag && more.comment.of(self.matches.bytes()) == comment
    }

    /// What lines begin with that are so logged; empty if nothing was said.
    pub(crate) fn prefix(&self, log: &Log) -> &str {
        self.text(log.prefix)
    }

    fn text(&self, text: Span) -> &str {
        core::str::from_utf8(text.of(self.matches.bytes())).unwrap_or("")
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            .saturating_add(self.heads.memory())
            .saturating_add(self.matches.memory())
    }

    /// A rule in canonical form, with these sets.
    pub(crate) fn line<'a>(&'a self, head: Head, sets: &'a Sets<M>) -> impl fmt::Display + 'a {
        RuleLine {
            block: self,
            rule: self.rule(head),
            sets,
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
    block: &'a Block<M>,
    rule: Rule,
    sets: &'a Sets<M>,
}

impl<M: Memory> fmt::Display for RuleLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, rule, sets } = self;
        let words = block.matches.display(sets, &rule.matches);
        write!(f, "{}{words}", rule.verb)?;
        let options = rule.options;
        if options.priority != Priority::default() {
            write!(f, " priority {}", options.priority)?;
        }
        if let Some(log) = &options.log {
            log.fmt(f, block.prefix(log))?;
        }
        if !options.comment.is_empty() {
            write!(f, " comment \"{}\"", block.text(options.comment))?;
        }
        Ok(())
    }
}
