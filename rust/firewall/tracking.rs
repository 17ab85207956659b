// SPDX-License-Identifier: GPL-2.0

//! Connection tracking for the table, and for the trace: where they ask for it, and no longer.

use ctrfw_core::flow::{Finding, Flow, Search};
use ctrfw_core::hook::Hook;
use ctrfw_core::netns::NetnsScope;
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::MatchText;
use kernel::prelude::*;
use kernel::sync::rcu::synchronize_rcu;
use kernel::sync::Arc;

use super::obstacle::Obstacle;
use crate::sys::conntrack::{attached, Conntrack, Tracking};
use crate::sys::netfilter::HookState;
use crate::sys::rcu::{RcuCell, ReadSide};
use crate::sys::skbuff::SkBuff;

/// Takes the kernel's connection tracking, if a statement with these words asks for it and it was not
/// taken yet. Process context; sleeps.
pub(super) fn provide(
    text: &MatchText<'_>,
    conntrack: &mut Option<Arc<Conntrack>>,
) -> Result<(), Obstacle> {
    if text.asks_for_flow() && conntrack.is_none() {
        let taken = Conntrack::new().ok_or(Obstacle::NoConntrack)?;
        *conntrack = Some(Arc::new(taken, GFP_KERNEL)?);
    }
    Ok(())
}

/// What tracks connections for the statements in force.
pub(crate) struct Tracked(RcuCell<Tracking>);

impl Tracked {
    /// Nothing yet.
    pub(crate) const fn nowhere() -> Self {
        Self(RcuCell::empty())
    }

    /// Calls `switch`, which puts statements in force that ask for connection tracking in `scope`. It
    /// works there before, and where only the statements before them asked for it until after that.
    /// Process context; sleeps. Writers do not meet here.
    ///
    /// On an error nothing was called.
    pub(super) fn change<R>(
        &self,
        scope: NetnsScope,
        conntrack: Option<Arc<Conntrack>>,
        switch: impl FnOnce() -> R,
    ) -> Result<R, Obstacle> {
        if scope.is_empty() {
            let done = switch();
            self.0.replace(None);
            return Ok(done);
        }
        let current = self.0.load();
        if current
            .as_ref()
            .is_some_and(|current| *current.scope() == scope)
        {
            return Ok(switch());
        }
        let conntrack = conntrack
            .or_else(|| current.as_ref().map(|current| current.conntrack().clone()))
            .ok_or(Obstacle::NoConntrack)?;
        let tracking = Tracking::new(conntrack, scope).map_err(|error| {
            if error == ENOMEM {
                Obstacle::Memory
            } else {
                Obstacle::NoTracking
            }
        })?;
        let tracking = Arc::new(tracking, GFP_KERNEL)?;
        let before = self.0.replace(Some(tracking));
        if before.is_none() {
            // That waited for nobody. What passed PRE_ROUTING before anybody tracked it must be through,
            // or it would be taken for invalid further on.
            synchronize_rcu();
        }
        let done = switch();
        drop(before);
        Ok(done)
    }

    /// What tracks connections, wherever statements ask for it that were in force at any time since
    /// `read_side` began. Any context.
    #[inline]
    pub(super) fn get<'a>(&'a self, read_side: ReadSide<'a>) -> Option<&'a Tracking> {
        self.0.read(read_side)
    }
}

/// What connection tracking knows of a packet. Softirq or process context, under RCU.
pub(super) fn flow(
    tracking: &Tracking,
    skb: &SkBuff,
    state: &HookState<'_>,
    packet: &Packet,
) -> Flow {
    if let Some(finding) = attached(skb, state.net()) {
        return finding.into();
    }
    match packet.hook {
        Hook::PreRouting | Hook::LocalOut => {
            let search = Search::of(packet.family, &packet.headers);
            let finding = tracking.find(skb, state, search);
            search.found(packet.family, &packet.headers, finding)
        }
        Hook::LocalIn | Hook::Forward | Hook::PostRouting => Finding::Nothing.into(),
    }
}
