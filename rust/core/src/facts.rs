// SPDX-License-Identifier: GPL-2.0

//! What some statements ask for, all together.

use crate::family::{Family, FamilySet};
use crate::flags::Flag;
use crate::hook::{Hook, HookSet};
use crate::matcher::Needs;
use crate::netns::{NetnsId, NetnsScope};
use crate::rule::{Log, Verb};

/// What they ask for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Facts {
    /// Fields of packets
    pub(crate) needs: Needs,
    /// Connection tracking, in these namespaces
    pub(crate) flows: NetnsScope,
    /// The cgroups of sockets, in these namespaces
    pub(crate) cgroups: NetnsScope,
    /// The only places where any of them may decide
    pub(crate) reach: Reach,
    /// Whether any of them logs
    pub(crate) logs: bool,
    /// Whether any of them rejects
    pub(crate) rejects: bool,
}

impl Facts {
    /// Adds what a statement asks for that says this.
    pub(crate) fn note(&mut self, verb: Verb, log: Option<Log>) {
        self.logs |= verb == Verb::Audit || log.is_some();
        self.rejects |= matches!(verb, Verb::Reject(_));
    }

    /// Adds what others ask for.
    pub(crate) fn join(&mut self, other: &Self) {
        self.needs = self.needs.or(other.needs);
        self.flows.join(&other.flows);
        self.cgroups.join(&other.cgroups);
        self.reach.join(&other.reach);
        self.logs |= other.logs;
        self.rejects |= other.rejects;
    }
}

/// Where statements may decide, or a little more: hooks of families, in namespaces.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reach {
    /// A bit for each hook of each family, in the initial namespace and in all others
    places: u32,
    scope: NetnsScope,
}

impl Reach {
    /// The bit of a hook of a family.
    #[inline]
    fn bit(hook: Hook, family: Family, host: bool) -> u32 {
        let side = if host { 0 } else { 16 };
        let family = if family == Family::Ipv4 { 0 } else { 8 };
        u32::from(hook.bit()) << side << family
    }

    /// Adds where a statement may decide.
    pub(crate) fn add(&mut self, hooks: HookSet, families: FamilySet, scope: &NetnsScope) {
        for (there, host) in scope.sides().into_iter().zip([true, false]) {
            let families = families.iter().filter(|_| there);
            for family in families {
                for hook in hooks.iter() {
                    self.places |= Self::bit(hook, family, host);
                }
            }
        }
        self.scope.join(scope);
    }

    fn join(&mut self, other: &Self) {
        self.places |= other.places;
        self.scope.join(&other.scope);
    }

    /// Whether a statement may decide there.
    #[inline]
    pub(crate) fn contains(&self, hook: Hook, family: Family, netns: NetnsId) -> bool {
        self.places & Self::bit(hook, family, netns.host) != 0 && self.scope.contains(netns)
    }
}
