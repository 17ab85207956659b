// SPDX-License-Identifier: GPL-2.0

//! What is added to a policy, and edits of the rules that it has.

use crate::error::Fault;
use crate::lexer::Word;
use crate::loader::Refusal;
use crate::matcher::Misfit;
use crate::memory::{List, Memory, NoMemory};
use crate::parser::{Edit, Statement, Target};
use crate::policy::Policy;
use crate::priority::{self, Priority};
use crate::rule::Rule;

const NUMBER: &str = "the number of a rule of the table";
const COMMENT: &str = "the comment of a rule of the table";
const ONE_COMMENT: &str = "a comment that no other rule has";

/// Places of rules.
pub type Places<M> = <M as Memory>::List<u32>;

/// What is to be put behind a policy, its base, and how the base's rules are changed.
///
/// Rules are known by their places when those of the base come first, then those that are added.
pub struct Addition<M: Memory> {
    policy: Policy<M>,
    /// Which rules there will be, in the order in which they are judged; nothing before the first
    /// edit: then it is all of them.
    order: Option<Places<M>>,
}

impl<M: Memory> Default for Addition<M> {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            order: None,
        }
    }
}

fn rules<M: Memory>(base: Option<&Policy<M>>) -> &[Rule] {
    base.map_or(&[], Policy::rules)
}

/// All process context.
impl<M: Memory> Addition<M> {
    /// What is added.
    pub fn policy(&self) -> &Policy<M> {
        &self.policy
    }

    /// Whether rules of the base are changed, so that it must be what it was.
    pub fn edits(&self) -> bool {
        self.order.is_some()
    }

    /// How many rules there will be.
    pub fn rules(&self, base: Option<&Policy<M>>) -> usize {
        let all = rules(base).len().saturating_add(self.policy.rules().len());
        self.order.as_ref().map_or(all, |order| order.len())
    }

    /// Takes what a line says. `base` is the same each time.
    ///
    /// After an error it is of no use any more.
    pub fn accept(
        &mut self,
        statement: Statement<'_>,
        base: Option<&Policy<M>>,
    ) -> Result<(), Refusal<NoMemory>> {
        let edit = match statement {
            Statement::Edit(edit) => edit,
            Statement::Rule(_) => {
                self.policy.add(statement, base)?;
                return Ok(self.place_last(base, None)?);
            }
            other => return self.policy.add(other, base),
        };
        if self.order.is_none() {
            let mut priorities = M::List::<Priority>::default();
            let both = rules(base).iter().chain(self.policy.rules());
            priorities.extend(both.map(|rule| rule.options.priority))?;
            self.order = Some(priority::order::<M>(&priorities)?);
        }
        match edit {
            Edit::Insert(word, number, rule) => {
                let at = self.numbered(word, number)?;
                self.policy.add(Statement::Rule(rule), base)?;
                Ok(self.place_last(base, Some(at))?)
            }
            Edit::Delete(target) => {
                let at = self.find(base, target)?;
                Ok(self.remove(at)?)
            }
            Edit::Replace(target, rule) => {
                let at = self.find(base, target)?;
                self.remove(at)?;
                self.policy.add(Statement::Rule(rule), base)?;
                Ok(self.place_last(base, Some(at))?)
            }
        }
    }

    fn order(&self) -> &[u32] {
        self.order.as_deref().unwrap_or(&[])
    }

    /// The policy that a rule is of, and the rule's place in it.
    fn owner<'a>(&'a self, base: Option<&'a Policy<M>>, index: u32) -> (&'a Policy<M>, usize) {
        let index = index as usize;
        match (base, index.checked_sub(rules(base).len())) {
            (Some(base), None) => (base, index),
            (_, added) => (&self.policy, added.unwrap_or(index)),
        }
    }

    fn priority(&self, base: Option<&Policy<M>>, index: u32) -> Priority {
        let (policy, place) = self.owner(base, index);
        let rule = policy.rules().get(place);
        rule.map_or(Priority::default(), |rule| rule.options.priority)
    }

    /// The place of rule `number`, which counts from 1.
    fn numbered(&self, word: Word<'_>, number: usize) -> Result<usize, Refusal<NoMemory>> {
        number
            .checked_sub(1)
            .filter(|at| *at < self.order().len())
            .ok_or_else(|| Refusal::Fault(Fault::at_word(word, NUMBER)))
    }

    fn find(
        &self,
        base: Option<&Policy<M>>,
        target: Target<'_>,
    ) -> Result<usize, Refusal<NoMemory>> {
        let (word, comment) = match target {
            Target::Number(word, number) => return self.numbered(word, number),
            Target::Comment(word, comment) => (word, comment),
        };
        let mut found = self.order().iter().enumerate().filter(|(_, index)| {
            let (policy, place) = self.owner(base, **index);
            policy.comment(place).as_bytes() == comment
        });
        let fault = |expected| Refusal::Fault(Fault::at_word(word, expected));
        let (at, _) = found.next().ok_or(fault(COMMENT))?;
        match found.next() {
            Some(_) => Err(fault(ONE_COMMENT)),
            None => Ok(at),
        }
    }

    fn remove(&mut self, at: usize) -> Result<(), NoMemory> {
        let mut order = M::List::<u32>::default();
        let kept = self.order().iter().enumerate();
        order.extend(
            kept.filter(|(place, _)| *place != at)
                .map(|(_, index)| *index),
        )?;
        self.order = Some(order);
        Ok(())
    }

    /// Gives the rule added last its place: as near to `at` as its priority lets it, else behind all of
    /// the same.
    fn place_last(&mut self, base: Option<&Policy<M>>, at: Option<usize>) -> Result<(), NoMemory> {
        if self.order.is_none() {
            return Ok(());
        }
        let all = rules(base).len().saturating_add(self.policy.rules().len());
        let last = all.checked_sub(1).and_then(|last| u32::try_from(last).ok());
        let last = last.ok_or(NoMemory)?;
        let priority = self.priority(base, last);
        let before = |judged: fn(&Priority, &Priority) -> bool| {
            let order = self.order().iter();
            let front = order.take_while(|index| judged(&self.priority(base, **index), &priority));
            front.count()
        };
        let (first, behind) = (before(Priority::gt), before(Priority::ge));
        let at = at.unwrap_or(behind).max(first).min(behind);
        let mut order = M::List::<u32>::default();
        let (front, back) = self
            .order()
            .split_at_checked(at)
            .unwrap_or((self.order(), &[]));
        order.extend(front.iter().copied())?;
        order.push(last)?;
        order.extend(back.iter().copied())?;
        self.order = Some(order);
        Ok(())
    }

    /// The policy that comes of it; and where its rules were when those of the base came first, then
    /// those that were added, unless they are all still there.
    pub fn finish(
        self,
        base: Option<&Policy<M>>,
    ) -> Result<(Policy<M>, Option<Places<M>>), Misfit> {
        let mut whole = Policy::default();
        if let Some(order) = self.order {
            whole.gather(base, &self.policy, &order)?;
            return Ok((whole, Some(order)));
        }
        match base {
            Some(base) => {
                whole.append(base)?;
                whole.append(&self.policy)?;
            }
            None => whole = self.policy,
        }
        let order = whole.settle()?;
        Ok((whole, order))
    }
}
