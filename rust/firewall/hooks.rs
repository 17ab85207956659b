// SPDX-License-Identifier: GPL-2.0

//! What happens to a packet at a hook.

use ctrfw_core::family::Family;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::IfName;
use ctrfw_core::matcher::Needs;
use ctrfw_core::packet::{Headers, Packet};
use ctrfw_core::proto::Protocol;
use ctrfw_core::reject::Answer;
use ctrfw_core::rule::{Decision, Mode, Verb};
use kernel::sync::atomic::Relaxed;

use super::table::Table;
use super::{trace, Firewall};
use crate::sys::net::{name_of, Net};
use crate::sys::netfilter::{Handler, HookOps, HookState, Verdict, PRIORITY_FIRST};
use crate::sys::skbuff::SkBuff;

/// The five hooks of both families.
pub(crate) struct Hooks;

const fn hook(family: Family, hook: Hook) -> HookOps {
    HookOps::new::<Hooks>(family, hook, PRIORITY_FIRST)
}

static HOOKS: [HookOps; 10] = [
    hook(Family::Ipv4, Hook::PreRouting),
    hook(Family::Ipv4, Hook::LocalIn),
    hook(Family::Ipv4, Hook::Forward),
    hook(Family::Ipv4, Hook::LocalOut),
    hook(Family::Ipv4, Hook::PostRouting),
    hook(Family::Ipv6, Hook::PreRouting),
    hook(Family::Ipv6, Hook::LocalIn),
    hook(Family::Ipv6, Hook::Forward),
    hook(Family::Ipv6, Hook::LocalOut),
    hook(Family::Ipv6, Hook::PostRouting),
];

impl Handler for Hooks {
    fn hooks() -> &'static [HookOps] {
        &HOOKS
    }

    fn handle(skb: &SkBuff, state: &HookState<'_>) -> Verdict {
        if state.hook() == Hook::PreRouting && skb.repeats_pre_routing(state.net()) {
            // Judged, counted and traced when it was on the bridge.
            return Verdict::Accept;
        }
        let read_side = state.read_side();
        let Some(firewall) = Firewall::get(read_side) else {
            return Verdict::Accept;
        };
        firewall.stats.seen(state.hook(), skb.data_len());
        let table = firewall
            .table
            .read(read_side)
            .filter(|table| !table.is_empty());
        if table.is_none() && !trace::enabled() {
            return Verdict::Accept;
        }
        firewall.judge(table, skb, state)
    }

    fn namespace_added(_net: &Net) {
        if let Ok(firewall) = Firewall::load() {
            firewall.namespaces.add(1u64, Relaxed);
        }
    }

    fn namespace_removed(_net: &Net) {
        if let Ok(firewall) = Firewall::load() {
            firewall.namespaces.fetch_sub(1u64, Relaxed);
        }
    }
}

impl Firewall {
    /// Judges a packet by the table, and traces it. Softirq or process context, under RCU.
    fn judge(&self, table: Option<&Table>, skb: &SkBuff, state: &HookState<'_>) -> Verdict {
        let headers = Headers::parse(state.family(), &skb.network());
        let tracing = trace::enabled();
        let needs = table.map_or_else(Needs::default, Table::needs);
        let mut packet = Packet {
            hook: state.hook(),
            netns: state.net().id(),
            input: IfName::default(),
            output: IfName::default(),
            phys_input: IfName::default(),
            phys_output: IfName::default(),
            mark: skb.mark(),
            family: state.family(),
            headers,
        };
        if tracing || needs.interfaces {
            packet.input = name_of(state.input());
            packet.output = name_of(state.output());
        }
        if tracing || needs.ports {
            packet.phys_input = name_of(skb.phys_input(state.net()));
            packet.phys_output = name_of(skb.phys_output());
        }
        // Of the two hooks that do not tell whose a packet is. Broadcast is for the host as well.
        let own = |addr| match state.hook() {
            Hook::PreRouting => state.net().takes(addr, state.input()),
            _ => state.net().owns(addr, state.output()),
        };
        let mut audited = false;
        let decision = Table::decide(table, &packet, own, |table, decision| {
            audited = true;
            self.log(table, state, &packet, decision);
        });
        if packet.headers.unparsed.is_some() {
            self.stats.unparsed(packet.hook, packet.headers.len);
        }
        let mode = table.map_or(Mode::Enforce, |table| table.policy.mode());
        let refused = decision.verb.refuses();
        if audited || (refused && mode == Mode::Audit) {
            self.stats.would_drop(packet.hook, packet.headers.len);
        }
        if tracing {
            self.tracer.trace(skb, state, &packet, decision, mode);
        }
        if let Some(table) = table {
            self.log(table, state, &packet, decision);
        }
        if !refused || mode == Mode::Audit {
            return Verdict::Accept;
        }
        self.stats.dropped(packet.hook, packet.headers.len);
        if let (Verb::Reject(answer), Some(table)) = (decision.verb, table) {
            reject(table, answer, skb, state, &packet);
        }
        Verdict::Drop
    }

    /// Logs a packet about which that was decided, if it is to be logged.
    #[inline]
    fn log(&self, table: &Table, state: &HookState<'_>, packet: &Packet, decision: Decision) {
        if let Some(log) = table.log(decision) {
            self.logger.log(table, log, state, packet, decision);
        }
    }
}

/// Answers the sender of a packet that is dropped, where there is a way to. Any context, under RCU.
///
/// Out of line, as few packets need it.
#[cold]
#[inline(never)]
fn reject(table: &Table, answer: Answer, skb: &SkBuff, state: &HookState<'_>, packet: &Packet) {
    let Some(rejecter) = &table.rejecter else {
        return;
    };
    // A sender on this machine has an error from his system call; all but TCP, which takes the loss of
    // a segment for the network's and tries again.
    let own = match packet.hook {
        Hook::LocalOut => true,
        // What is only bridged has no input device there either.
        Hook::PostRouting => state.input().is_none() && !skb.came_by_bridge(),
        Hook::PreRouting | Hook::LocalIn | Hook::Forward => false,
    };
    if own && packet.headers.proto != Some(Protocol::TCP) {
        return;
    }
    if let Some(reply) = answer.reply(state.family(), &packet.headers) {
        rejecter.send(skb, state, reply);
    }
}
