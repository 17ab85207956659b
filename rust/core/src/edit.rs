// SPDX-License-Identifier: GPL-2.0

//! What is added to a policy, edits of the rules that it has, and on which condition.

use crate::cgroup::CgroupId;
use crate::error::Fault;
use crate::generation::Generation;
use crate::lexer::Word;
use crate::loader::Refusal;
use crate::matcher::Misfit;
use crate::memory::{Memory, NoMemory};
use crate::parser::{Edit, Statement, Target};
use crate::policy::Policy;
use crate::slot::{Slot, Slots};

const NUMBER: &str = "the number of a rule of the table";
const COMMENT: &str = "the comment of a rule of the table";
const ONE_COMMENT: &str = "a comment that no other rule has";
const NO_CONDITION: &str = "a condition only once, before all other statements";

/// What is to be put behind a policy, its base, and how the base's rules are changed.
pub struct Addition<M: Memory> {
    /// The base with what was said so far.
    policy: Policy<M>,
    /// Whether rules or sets of the base are changed.
    edits: bool,
    /// Which table the base must be, if that was said.
    condition: Option<Generation>,
    /// Whether anything was said.
    begun: bool,
}

impl<M: Memory> Default for Addition<M> {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            edits: false,
            condition: None,
            begun: false,
        }
    }
}

/// All process context.
impl<M: Memory> Addition<M> {
    /// The base with what was said so far; nothing before something was.
    pub fn policy(&self) -> &Policy<M> {
        &self.policy
    }

    /// Whether rules or sets of the base are changed, so that it must be what it was.
    pub fn edits(&self) -> bool {
        self.edits
    }

    /// The only generation of the table in force that it may be added to, or take the place of.
    pub fn condition(&self) -> Option<Generation> {
        self.condition
    }

    /// Takes what a line says. `base` is the same each time.
    ///
    /// After an error it is of no use any more.
    pub fn accept(
        &mut self,
        statement: Statement<'_>,
        base: Option<&Policy<M>>,
    ) -> Result<(), Refusal<NoMemory>> {
        let first = !self.begun;
        self.begin(base)?;
        let policy = &mut self.policy;
        let edit = match statement {
            Statement::Edit(edit) => edit,
            Statement::Rule(rule) => return policy.add_rule(&rule),
            Statement::Default(text) => return policy.add_default(&text),
            Statement::Mode(mode) => return policy.set_mode(mode),
            Statement::Failsafe(words) => return policy.set_failsafe(words),
            Statement::Set(name, word, members) => return policy.add_set(name, word, members),
            Statement::Members(kind, words) => return policy.add_members(Some((kind, words))),
            Statement::If(_, generation) if first => {
                self.condition = Some(generation);
                return Ok(());
            }
            Statement::If(word, _) => {
                return Err(Refusal::Fault(Fault::at_word(word, NO_CONDITION)));
            }
        };
        self.edits = true;
        match edit {
            Edit::Insert(word, number, rule) => {
                let at = self.numbered(word, number)?;
                self.policy.insert_rule(at, &rule)
            }
            Edit::Delete(target) => {
                let at = self.find(target)?;
                Ok(self.policy.remove_rule(at)?)
            }
            Edit::ReplaceSet(name, word, members) => self.policy.replace_set(name, word, members),
            Edit::Replace(target, rule) => {
                let at = self.find(target)?;
                self.policy.remove_rule(at)?;
                self.policy.insert_rule(at, &rule)
            }
        }
    }

    /// Has `find` tell of the paths in the last statement which cgroups they lead to.
    pub fn resolve_cgroups<E>(
        &mut self,
        find: impl FnMut(&str) -> Result<CgroupId, E>,
    ) -> Result<(), E> {
        self.policy.resolve_cgroups(find)
    }

    /// Begins with what is there.
    fn begin(&mut self, base: Option<&Policy<M>>) -> Result<(), NoMemory> {
        if let (false, Some(base)) = (self.begun, base) {
            self.policy = base.share()?;
        }
        self.begun = true;
        Ok(())
    }

    /// The index of rule `number`, which counts from 1.
    fn numbered(&self, word: Word<'_>, number: usize) -> Result<usize, Refusal<NoMemory>> {
        number
            .checked_sub(1)
            .filter(|at| *at < self.policy.rules().len())
            .ok_or_else(|| Refusal::Fault(Fault::at_word(word, NUMBER)))
    }

    fn find(&self, target: Target<'_>) -> Result<usize, Refusal<NoMemory>> {
        let (word, comment) = match target {
            Target::Number(word, number) => return self.numbered(word, number),
            Target::Comment(word, comment) => (word, comment),
        };
        let fault = |expected| Refusal::Fault(Fault::at_word(word, expected));
        match self.policy.commented(comment) {
            None => Err(fault(COMMENT)),
            Some((_, true)) => Err(fault(ONE_COMMENT)),
            Some((at, false)) => Ok(at),
        }
    }

    /// Puts what was said behind another base. It changes nothing of its base.
    pub fn rebase(&mut self, base: &Policy<M>) -> Result<(), Misfit> {
        let mut policy = base.share()?;
        policy.take_new(&self.policy)?;
        self.policy = policy;
        self.begun = true;
        Ok(())
    }

    /// The policy that comes of it, whose new statements have taken `slots`, and the slots of the
    /// statements that are gone. `base` is the same as before, and the slots of its statements are among
    /// those that are taken: a slot tells a statement from all others.
    #[inline(never)]
    pub fn finish(
        mut self,
        base: Option<&Policy<M>>,
        slots: &mut Slots<M>,
    ) -> Result<(Policy<M>, M::List<Slot>), NoMemory> {
        self.begin(base)?;
        self.policy.freeze(slots)
    }
}
