// SPDX-License-Identifier: GPL-2.0

//! A table that somebody is writing.

use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::parser::Statement;
use ctrfw_core::rule::{DefaultVerb, Mode, Rule, Verb};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::obstacle::Obstacle;
use super::table::Table;
use crate::sys::reject::Rejecter;

/// Most defaults at a time: they are looked through for each packet that no rule matches.
const MAX_DEFAULTS: usize = 256;

/// Statements that are to take the place of the table, or to be added to it.
pub(crate) struct Draft {
    pub(super) rules: KVVec<Rule>,
    pub(super) defaults: KVVec<DefaultVerb>,
    /// What was said of the mode.
    pub(super) mode: Option<Mode>,
    /// There if any statement rejects.
    pub(super) rejecter: Option<Arc<Rejecter>>,
    /// How many of the defaults are for a scope that `base` has no default for.
    new_scopes: usize,
    /// Whether they are added.
    pub(super) append: bool,
    /// What they would be added to, as it was when the file was opened.
    base: Option<Arc<Table>>,
    /// Most statements that the table may have.
    max: usize,
}

impl Draft {
    /// A draft of a new table of at most `max` statements.
    pub(crate) fn replacing(max: usize) -> Self {
        Self {
            rules: KVVec::new(),
            defaults: KVVec::new(),
            mode: None,
            rejecter: None,
            new_scopes: 0,
            append: false,
            base: None,
            max,
        }
    }

    /// A draft of what is to be added to `base`, at most `max` statements with what is there.
    pub(crate) fn appending(max: usize, base: Option<Arc<Table>>) -> Self {
        Self {
            append: true,
            base,
            ..Self::replacing(max)
        }
    }

    /// Puts the statements of `old` in front; the draft's defaults take the place of those for the
    /// same scope, its mode that of the old mode. Process context.
    pub(super) fn put_behind(self, old: &Table) -> Result<Self, Obstacle> {
        let mut whole = Self::replacing(self.max);
        whole.mode = self.mode.or(Some(old.mode));
        whole.rejecter = self.rejecter.or_else(|| old.rejecter.clone());
        whole.rules.extend_from_slice(&old.rules, GFP_KERNEL)?;
        whole.rules.extend_from_slice(&self.rules, GFP_KERNEL)?;
        whole
            .defaults
            .extend_from_slice(&old.defaults, GFP_KERNEL)?;
        for default in &self.defaults {
            let same_scope = |other: &&mut DefaultVerb| other.scope == default.scope;
            match whole.defaults.iter_mut().find(same_scope) {
                Some(other) => *other = *default,
                None => whole.defaults.push(*default, GFP_KERNEL)?,
            }
        }
        whole.check()?;
        Ok(whole)
    }

    /// Takes what a statement with this verb needs. Process context; sleeps.
    fn provide(&mut self, verb: Verb) -> Result<(), Obstacle> {
        if matches!(verb, Verb::Reject(_)) && self.rejecter.is_none() {
            let rejecter = Rejecter::new().ok_or(Obstacle::NoReject)?;
            self.rejecter = Some(Arc::new(rejecter, GFP_KERNEL)?);
        }
        Ok(())
    }

    /// Whether the draft, with what it is added to, keeps the limits.
    fn check(&self) -> Result<(), Obstacle> {
        let (rules, defaults) = match &self.base {
            Some(base) => (
                self.rules.len().saturating_add(base.rules.len()),
                self.new_scopes.saturating_add(base.defaults.len()),
            ),
            None => (self.rules.len(), self.defaults.len()),
        };
        if defaults > MAX_DEFAULTS {
            return Err(Obstacle::TooMany(MAX_DEFAULTS, "defaults"));
        }
        if rules.saturating_add(defaults) > self.max {
            return Err(Obstacle::TooMany(self.max, "rules and defaults"));
        }
        Ok(())
    }
}

impl Sink<Statement> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, statement: Statement) -> Result<(), Refusal<Obstacle>> {
        // What a verb needs is taken now, so that who writes it hears of it: close(2) could not tell.
        let pushed = match statement {
            Statement::Mode(mode) => {
                if self.mode.replace(mode).is_some() {
                    return Err(Refusal::Expected("one mode for the table"));
                }
                Ok(())
            }
            Statement::Rule(rule) => {
                self.provide(rule.verb).map_err(Refusal::Sink)?;
                self.rules.push(rule, GFP_KERNEL)
            }
            Statement::Default(default) => {
                self.provide(default.verb).map_err(Refusal::Sink)?;
                if self
                    .defaults
                    .iter()
                    .any(|other| other.scope == default.scope)
                {
                    return Err(Refusal::Expected("one default for each scope"));
                }
                let same_scope = |old: &DefaultVerb| old.scope == default.scope;
                if !self
                    .base
                    .as_ref()
                    .is_some_and(|base| base.defaults.iter().any(same_scope))
                {
                    self.new_scopes = self.new_scopes.saturating_add(1);
                }
                self.defaults.push(default, GFP_KERNEL)
            }
        };
        pushed.map_err(|error| Refusal::Sink(error.into()))?;
        self.check().map_err(Refusal::Sink)
    }
}
