// SPDX-License-Identifier: GPL-2.0

//! A table that somebody is writing.

use ctrfw_core::edit::Addition;
use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::parser::{self, Edit, Statement};
use ctrfw_core::policy::Policy;
use ctrfw_core::rule::Verb;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::memory::{KernelList, KernelMemory};
use super::obstacle::Obstacle;
use super::table::Table;
use super::Limits;
use crate::sys::reject::Rejecter;

/// Most defaults at a time: they are looked through for each packet that no rule matches.
const MAX_DEFAULTS: usize = 256;

const NO_EDIT: &str = "a statement that is no edit: those are for what is appended (>>)";

/// A policy that is to take the place of the table, or to be added to it.
pub(crate) struct Draft {
    addition: Addition<KernelMemory>,
    /// There if any statement rejects.
    rejecter: Option<Arc<Rejecter>>,
    /// How many of the defaults are for a scope that `base` has no default for.
    new_scopes: usize,
    /// Whether it is added.
    pub(super) append: bool,
    /// What it would be added to, as it was when the file was opened.
    base: Option<Arc<Table>>,
    limits: Limits,
}

/// What a draft comes to.
pub(super) struct Finished {
    /// The policy
    pub(super) policy: Policy<KernelMemory>,
    /// Where its rules were when they stood one behind the other, unless they still do.
    pub(super) order: Option<KernelList<u32>>,
    /// There if any statement rejects.
    pub(super) rejecter: Option<Arc<Rejecter>>,
}

impl Draft {
    /// A draft of a new table within `limits`.
    pub(crate) fn replacing(limits: Limits) -> Self {
        Self {
            addition: Addition::default(),
            rejecter: None,
            new_scopes: 0,
            append: false,
            base: None,
            limits,
        }
    }

    /// A draft of what is to be added to `base`, within `limits` with what is there.
    pub(crate) fn appending(limits: Limits, base: Option<Arc<Table>>) -> Self {
        Self {
            append: true,
            base,
            ..Self::replacing(limits)
        }
    }

    /// What comes of it when it is put behind `old`, if there is one. Process context.
    pub(super) fn finish(self, old: Option<&Table>) -> Result<Finished, Obstacle> {
        let in_force = old.map(core::ptr::from_ref);
        if self.addition.edits() && self.base.as_deref().map(core::ptr::from_ref) != in_force {
            return Err(Obstacle::Changed);
        }
        let (policy, order) = self.addition.finish(old.map(|old| &old.policy))?;
        check(
            &policy,
            None,
            policy.rules().len(),
            policy.defaults().len(),
            self.limits,
        )?;
        let mut rejecter = self.rejecter;
        rejecter = rejecter.or_else(|| old.and_then(|old| old.rejecter.clone()));
        Ok(Finished {
            rejecter: rejecter.filter(|_| policy.rejects()),
            policy,
            order,
        })
    }

    /// Takes what a statement with this verb needs. Process context; sleeps.
    fn provide(&mut self, verb: Verb) -> Result<(), Obstacle> {
        if matches!(verb, Verb::Reject(_)) && self.rejecter.is_none() {
            let rejecter = Rejecter::new().ok_or(Obstacle::NoReject)?;
            self.rejecter = Some(Arc::new(rejecter, GFP_KERNEL)?);
        }
        Ok(())
    }
}

/// Whether `policy` with what is in `base`, and with so many `rules` and `defaults` in all, keeps the
/// limits.
fn check(
    policy: &Policy<KernelMemory>,
    base: Option<&Table>,
    rules: usize,
    defaults: usize,
    limits: Limits,
) -> Result<(), Obstacle> {
    let with_base = |count: fn(&Policy<KernelMemory>) -> usize| {
        count(policy).saturating_add(base.map_or(0, |base| count(&base.policy)))
    };
    if defaults > MAX_DEFAULTS {
        return Err(Obstacle::TooMany(MAX_DEFAULTS, "defaults"));
    }
    let most = rules.max(policy.rules().len());
    if most.saturating_add(defaults) > limits.rules {
        return Err(Obstacle::TooMany(limits.rules, "rules and defaults"));
    }
    if with_base(|policy| policy.matches().len()) > limits.values {
        return Err(Obstacle::TooMany(limits.values, "values"));
    }
    if with_base(|policy| policy.matches().sets().len()) > limits.sets {
        return Err(Obstacle::TooMany(limits.sets, "sets"));
    }
    Ok(())
}

impl Sink<parser::Table> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, statement: Statement<'_>) -> Result<(), Refusal<Obstacle>> {
        // What a verb needs is taken now, so that who writes it hears of it: close(2) could not tell.
        match &statement {
            Statement::Rule(text)
            | Statement::Edit(Edit::Insert(_, _, text) | Edit::Replace(_, text)) => {
                self.provide(text.verb).map_err(Refusal::Sink)?;
            }
            Statement::Default(text) => self.provide(text.default.verb).map_err(Refusal::Sink)?,
            _ => {}
        }
        let base = self.base.as_deref();
        if let Statement::Default(text) = &statement {
            if base.is_none_or(|base| base.policy.default_for(&text.default).is_none()) {
                self.new_scopes = self.new_scopes.saturating_add(1);
            }
        }
        let old = base.map(|base| &base.policy);
        let taken = match statement {
            Statement::Edit(_) if !self.append => Err(Refusal::Expected(NO_EDIT)),
            other => self.addition.accept(other, old),
        };
        taken.map_err(|refusal| refusal.map(Obstacle::from))?;
        let before = base.map_or(0, |base| base.policy.defaults().len());
        let defaults = before.saturating_add(self.new_scopes);
        let rules = self.addition.rules(old);
        let policy = self.addition.policy();
        check(policy, base, rules, defaults, self.limits).map_err(Refusal::Sink)
    }
}
