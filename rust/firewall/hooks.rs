// SPDX-License-Identifier: GPL-2.0

//! What happens to a packet at a hook.

use ctrfw_core::cache::Recall;
use ctrfw_core::family::Family;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::IfName;
use ctrfw_core::matcher::Needs;
use ctrfw_core::outcome::Outcome;
use ctrfw_core::packet::{Headers, Packet};
use ctrfw_core::proto::Protocol;
use ctrfw_core::reject::Answer;
use ctrfw_core::rule::{Decision, Mode, Verb};
use kernel::sync::atomic::Relaxed;

use super::flows::{names, Around, Trail};
use super::table::Table;
use super::{sockets, trace, tracking, Firewall};
use crate::sys::cpu::Here;
use crate::sys::net::Net;
use crate::sys::netfilter::{
    Handler, HookOps, HookState, Verdict, PF_IPV4, PF_IPV6, PRIORITY_FIRST,
};
use crate::sys::skbuff::SkBuff;

/// The five hooks of both families.
pub(crate) struct Hooks;

const fn hook<const PF: u8, const HOOK: u8>() -> HookOps {
    HookOps::new::<Hooks, HOOK, PF>(PRIORITY_FIRST)
}

static HOOKS: [HookOps; 10] = [
    hook::<PF_IPV4, { Hook::PreRouting as u8 }>(),
    hook::<PF_IPV4, { Hook::LocalIn as u8 }>(),
    hook::<PF_IPV4, { Hook::Forward as u8 }>(),
    hook::<PF_IPV4, { Hook::LocalOut as u8 }>(),
    hook::<PF_IPV4, { Hook::PostRouting as u8 }>(),
    hook::<PF_IPV6, { Hook::PreRouting as u8 }>(),
    hook::<PF_IPV6, { Hook::LocalIn as u8 }>(),
    hook::<PF_IPV6, { Hook::Forward as u8 }>(),
    hook::<PF_IPV6, { Hook::LocalOut as u8 }>(),
    hook::<PF_IPV6, { Hook::PostRouting as u8 }>(),
];

impl Handler for Hooks {
    fn hooks() -> &'static [HookOps] {
        &HOOKS
    }

    #[inline(always)]
    fn handle(skb: &SkBuff, state: &HookState<'_>) -> Verdict {
        // Constants, as long as nobody else has seen the state.
        let (hook, family, net) = (state.hook(), state.family(), state.net());
        if hook == Hook::PreRouting && skb.repeats_pre_routing(net) {
            // Judged, counted and traced when it was on the bridge.
            return Verdict::ACCEPT;
        }
        let read_side = state.read_side();
        let Some(firewall) = Firewall::get(read_side) else {
            return Verdict::ACCEPT;
        };
        let table = firewall.table.read(read_side);
        if trace::enabled() {
            let table = table.filter(|table| !table.is_empty());
            return firewall.judge(table, skb, state, None);
        }
        let Some(table) = table else {
            firewall.stats.seen(&Here::enter(), hook);
            return Verdict::ACCEPT;
        };
        if !table.policy.reaches(hook, family, net.id()) {
            firewall.pass_by(table, (hook, family), skb);
            return Verdict::ACCEPT;
        }
        if table.looks_around {
            return firewall.look_around(table, skb, state);
        }
        firewall.recall(table, (hook, family), skb, state, &Around::default())
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
    /// Counts a packet about which nobody decides, as none of the table's statements is for the hook. Any
    /// context.
    #[inline]
    fn pass_by(&self, table: &Table, (hook, family): (Hook, Family), skb: &SkBuff) {
        let slot = table.policy.nobody_slot().filter(|_| !table.is_empty());
        let counted = slot.map(|slot| (slot, Headers::len_of(family, &skb.network())));
        let here = Here::enter();
        self.stats.seen(&here, hook);
        if let Some((slot, len)) = counted {
            table.add(&here, slot, len);
        }
    }

    /// What was decided about such packets, or what is decided about this one. Any context, under RCU.
    #[inline(always)]
    fn recall(
        &self,
        table: &Table,
        (hook, family): (Hook, Family),
        skb: &SkBuff,
        state: &HookState<'_>,
        around: &Around,
    ) -> Verdict {
        // May take memory, which with preemption off may not be on PREEMPT_RT.
        let Some(trail) = Trail::of((hook, family), skb, state, around) else {
            return self.judge(Some(table), skb, state, None);
        };
        let here = Here::enter();
        let recall = self.flows.find(&here, table, &trail);
        if let Recall::Known(outcome) = recall {
            return self.carry_out(&here, table, hook, outcome, trail.len);
        }
        self.look(here, table, skb, state, (trail, recall == Recall::Again))
    }

    /// The same of a packet that is not remembered, but shall be if that is told. Any context, under RCU.
    // Who gets a reference to the trail has it written to memory: not before it was looked for.
    #[inline(always)]
    fn look(
        &self,
        here: Here,
        table: &Table,
        skb: &SkBuff,
        state: &HookState<'_>,
        (trail, remember): (Trail<'_>, bool),
    ) -> Verdict {
        // With preemption off, as iptables goes through its tables: to enter the CPU twice would take as long as
        // some of the rules.
        let Some(outcome) = table.first_look(&trail.key, state.net().id()) else {
            drop(here);
            return self.judge(Some(table), skb, state, remember.then_some(&trail));
        };
        if remember {
            self.flows.remember(&here, table, &trail, outcome);
        }
        self.carry_out(&here, table, state.hook(), outcome, trail.len)
    }

    /// Counts a packet of `len` bytes, and does what was decided about it. Any context.
    #[inline(always)]
    fn carry_out(
        &self,
        here: &Here,
        table: &Table,
        hook: Hook,
        outcome: Outcome,
        len: u32,
    ) -> Verdict {
        self.stats.seen(here, hook);
        table.add(here, outcome.slot, len);
        if outcome.dropped {
            self.stats.dropped(here, hook);
            return Verdict::DROP;
        }
        Verdict::ACCEPT
    }

    /// The same where rules ask for more than the headers tell. Out of line: what is asked for little keeps
    /// others' way long.
    #[inline(never)]
    fn look_around(&self, table: &Table, skb: &SkBuff, state: &HookState<'_>) -> Verdict {
        let mut around = Around::default();
        if !around.look(table, skb, state) {
            return self.judge(Some(table), skb, state, None);
        }
        let place = (state.hook(), state.family());
        self.recall(table, place, skb, state, &around)
    }

    /// Counts a packet, judges it by the table, and traces it; what was decided is remembered if there is a
    /// `trail`. Softirq or process context, under RCU.
    ///
    /// Out of line, as it has a large stack frame.
    #[inline(never)]
    fn judge(
        &self,
        table: Option<&Table>,
        skb: &SkBuff,
        state: &HookState<'_>,
        trail: Option<&Trail<'_>>,
    ) -> Verdict {
        self.stats.seen(&Here::enter(), state.hook());
        let headers = Headers::parse(state.family(), &skb.network());
        let tracing = trace::enabled();
        // A trace may have begun only now.
        let trail = trail.filter(|_| !tracing);
        let needs = table.map_or_else(Needs::default, Table::needs);
        let mut packet = Packet::new(state.hook(), state.net().id(), state.family(), headers);
        let (devices, ports) = (tracing || needs.interfaces, tracing || needs.ports);
        if devices || ports {
            let names = trail.and_then(Trail::names).copied();
            let names = names.unwrap_or_else(|| self::names(skb, state, devices, ports));
            [packet.input, packet.output] = names.devices.map(IfName::from_words);
            [packet.phys_input, packet.phys_output] = names.ports.map(IfName::from_words);
        }
        if tracing || needs.mark {
            packet.mark = skb.mark();
        }
        let read_side = state.read_side();
        let traced = if tracing {
            self.tracer.needs(read_side)
        } else {
            Needs::default()
        };
        let asking = table.filter(|table| table.asks_for_flow(packet.hook, packet.netns));
        let mut tracking = asking.and_then(|_| self.tracking.get(read_side));
        if tracing {
            tracking = tracking.or_else(|| self.tracer.tracking(&packet, read_side));
        }
        if let Some(tracking) = tracking {
            packet.flow = tracking::flow(tracking, skb, state, &packet);
        }
        if table.is_some_and(|table| table.asks_for_cgroup(packet.hook, packet.netns))
            || traced.cgroups.contains(packet.hook)
        {
            let lookup = table.and_then(|table| table.lookup.as_deref());
            let lookup = lookup.or_else(|| self.tracer.lookup(read_side));
            sockets::tell_cgroup(&mut packet, lookup, skb, state);
        }
        // Of the two hooks that do not tell whose a packet is. Broadcast is for the host as well.
        let mut routed = false;
        let own = |addr| {
            routed = true;
            match state.hook() {
                Hook::PreRouting => state.net().takes(addr, state.input()),
                _ => state.net().owns(addr, state.output()),
            }
        };
        let mut audited = false;
        let (decision, slot) = Table::decide(table, &packet, own, |table, decision| {
            audited = true;
            self.log(table, state, &packet, decision);
        });
        if packet.headers.unparsed.is_some() {
            self.stats.unparsed(&Here::enter(), packet.hook);
        }
        let mode = table.map_or(Mode::Enforce, |table| table.policy.mode());
        let refused = decision.verb.refuses();
        if audited || (refused && mode == Mode::Audit) {
            self.stats.would_drop(&Here::enter(), packet.hook);
        }
        if tracing {
            self.tracer.trace(skb, state, &packet, decision, mode);
        }
        if let Some(table) = table {
            self.log(table, state, &packet, decision);
            // What routing has a say in, or what takes more than to be counted, is not remembered.
            if let (Some(trail), Some(slot), false) = (trail, slot, routed || audited) {
                let plain = match decision.verb {
                    Verb::Allow => true,
                    Verb::Deny => mode == Mode::Enforce,
                    Verb::Reject(_) | Verb::Audit | Verb::Queue(_) => false,
                };
                if plain && table.log(decision).is_none() {
                    let dropped = refused;
                    let outcome = Outcome { slot, dropped };
                    self.flows.remember(&Here::enter(), table, trail, outcome);
                }
            }
        }
        if mode == Mode::Audit {
            return Verdict::ACCEPT;
        }
        match decision.verb {
            // Netfilter drops what is queued when the hooks go. What came after that would go on at
            // the wrong place.
            Verb::Queue(_) if self.retired.load(Relaxed) => return Verdict::DROP,
            Verb::Queue(queue) => return Verdict::queue(queue),
            _ if !refused => return Verdict::ACCEPT,
            _ => {}
        }
        self.stats.dropped(&Here::enter(), packet.hook);
        if let (Verb::Reject(answer), Some(table)) = (decision.verb, table) {
            reject(table, answer, skb, state, &packet);
        }
        Verdict::DROP
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
