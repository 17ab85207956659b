// SPDX-License-Identifier: GPL-2.0

//! A table that somebody is writing.

use ctrfw_core::edit::Addition;
use ctrfw_core::generation::Generation;
use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::parser::{self, Edit, MatchText, Statement};
use ctrfw_core::policy::{Policy, NO_EDIT};
use ctrfw_core::rule::Verb;
use ctrfw_core::slot::{Slot, Slots};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::memory::{KernelList, KernelMemory};
use super::obstacle::Obstacle;
use super::table::Table;
use super::{sockets, tracking, Firewall, Limits};
use crate::sys::conntrack::Conntrack;
use crate::sys::queue;
use crate::sys::reject::Rejecter;
use crate::sys::socket::SocketLookup;

/// Most defaults at a time: they are looked through for each packet that no rule matches.
const MAX_DEFAULTS: usize = 256;

/// A policy that is to take the place of the table, or to be added to it.
pub(crate) struct Draft {
    addition: Addition<KernelMemory>,
    /// There if any statement rejects.
    rejecter: Option<Arc<Rejecter>>,
    /// Whether there is what packets are queued by.
    queues: bool,
    /// There if any statement asks for what connection tracking knows.
    conntrack: Option<Arc<Conntrack>>,
    /// There if any statement asks for the cgroup of the socket that a packet is for.
    lookup: Option<Arc<SocketLookup>>,
    /// Whether it is added.
    pub(super) append: bool,
    /// What it would be added to, as it was when the file was opened.
    base: Option<Arc<Table>>,
    /// Where it is to be put in force.
    firewall: Arc<Firewall>,
}

/// What a draft comes to.
pub(super) struct Finished {
    /// The policy
    pub(super) policy: Policy<KernelMemory>,
    /// The slots of the old table's statements that are gone.
    pub(super) gone: KernelList<Slot>,
    /// There if any statement rejects.
    pub(super) rejecter: Option<Arc<Rejecter>>,
    /// There if any statement that is not the old table's asks for what connection tracking knows.
    pub(super) conntrack: Option<Arc<Conntrack>>,
    /// There if any statement asks for the cgroup of the socket that a packet is for.
    pub(super) lookup: Option<Arc<SocketLookup>>,
}

impl Draft {
    /// A draft of a new table, within the limits of `firewall`.
    pub(crate) fn replacing(firewall: Arc<Firewall>) -> Self {
        Self {
            addition: Addition::default(),
            rejecter: None,
            queues: false,
            conntrack: None,
            lookup: None,
            append: false,
            base: None,
            firewall,
        }
    }

    /// A draft of what is to be added to `base`, with which it keeps the limits of `firewall`.
    pub(crate) fn appending(firewall: Arc<Firewall>, base: Option<Arc<Table>>) -> Self {
        Self {
            append: true,
            base,
            ..Self::replacing(firewall)
        }
    }

    /// The only generation of the table in force that it may take the place of, or be added to.
    pub(super) fn condition(&self) -> Option<Generation> {
        self.addition.condition()
    }

    /// What comes of it when it is put behind `old`, if there is one; its new statements take `slots`.
    /// Process context.
    pub(super) fn finish(
        self,
        old: Option<&Table>,
        slots: &mut Slots<KernelMemory>,
    ) -> Result<Finished, Obstacle> {
        let Self {
            mut addition,
            mut rejecter,
            conntrack,
            mut lookup,
            base,
            firewall,
            ..
        } = self;
        let current = old.map(|old| &old.policy);
        if base.as_deref().map(core::ptr::from_ref) != old.map(core::ptr::from_ref) {
            if addition.edits() {
                return Err(Obstacle::Changed);
            }
            if let Some(current) = current {
                addition.rebase(current)?;
            }
        }
        let (policy, gone) = addition.finish(current, slots)?;
        check(&policy, firewall.limits)?;
        rejecter = rejecter.or_else(|| old.and_then(|old| old.rejecter.clone()));
        lookup = lookup.or_else(|| old.and_then(|old| old.lookup.clone()));
        Ok(Finished {
            lookup: lookup.filter(|_| policy.needs().receivers()),
            rejecter: rejecter.filter(|_| policy.rejects()),
            conntrack,
            policy,
            gone,
        })
    }

    /// Takes what a statement with this verb and these words needs. Process context; sleeps.
    fn provide(&mut self, verb: Verb, text: &MatchText<'_>) -> Result<(), Obstacle> {
        tracking::provide(text, &mut self.conntrack)?;
        sockets::provide(text, &mut self.lookup)?;
        if matches!(verb, Verb::Reject(_)) && self.rejecter.is_none() {
            let rejecter = Rejecter::new().ok_or(Obstacle::NoReject)?;
            self.rejecter = Some(Arc::new(rejecter, GFP_KERNEL)?);
        }
        if matches!(verb, Verb::Queue(_)) && !self.queues {
            if !queue::load() {
                return Err(Obstacle::NoQueue);
            }
            self.queues = true;
        }
        Ok(())
    }
}

/// Whether `policy` keeps the limits.
fn check(policy: &Policy<KernelMemory>, limits: Limits) -> Result<(), Obstacle> {
    let defaults = policy.defaults().len();
    if defaults > MAX_DEFAULTS {
        return Err(Obstacle::TooMany(MAX_DEFAULTS, "defaults"));
    }
    if policy.rules().len().saturating_add(defaults) > limits.rules {
        return Err(Obstacle::TooMany(limits.rules, "rules and defaults"));
    }
    if policy.values() > limits.values {
        return Err(Obstacle::TooMany(limits.values, "values"));
    }
    if policy.sets() > limits.sets {
        return Err(Obstacle::TooMany(limits.sets, "sets"));
    }
    if policy.memory() > limits.bytes {
        return Err(Obstacle::TooMany(limits.bytes, "bytes of memory"));
    }
    Ok(())
}

impl Sink<parser::Table> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, statement: Statement<'_>) -> Result<(), Refusal<Obstacle>> {
        // What a statement needs is taken now, so that who writes it hears of it: close(2) could not tell.
        let provided = match &statement {
            Statement::Rule(text)
            | Statement::Edit(Edit::Insert(_, _, text) | Edit::Replace(_, text)) => {
                self.provide(text.verb, &text.matches)
            }
            Statement::Default(text) => self.provide(text.default.verb, &MatchText::default()),
            _ => Ok(()),
        };
        provided.map_err(Refusal::Sink)?;
        let conditional = matches!(statement, Statement::If(..));
        let old = self.base.as_deref().map(|base| &base.policy);
        let taken = match statement {
            Statement::Edit(_) if !self.append => Err(Refusal::Expected(NO_EDIT)),
            other => self.addition.accept(other, old),
        };
        taken.map_err(|refusal| refusal.map(Obstacle::from))?;
        if conditional {
            let writers = self.firewall.writers.lock();
            writers.check(self.condition()).map_err(Refusal::Sink)?;
        }
        let resolved = self.addition.resolve_cgroups(sockets::cgroup);
        resolved.map_err(Refusal::Sink)?;
        check(self.addition.policy(), self.firewall.limits).map_err(Refusal::Sink)
    }
}
