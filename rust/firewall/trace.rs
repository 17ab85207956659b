// SPDX-License-Identifier: GPL-2.0

//! Who is traced, and the printing of trace lines.

use ctrfw_core::event::TraceEvent;
use ctrfw_core::limit::RateLimit;
use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::matcher::{Doubt, Match};
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::TraceStatement;
use ctrfw_core::rule::{Decision, Mode};
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;

use super::obstacle::Obstacle;
use super::Firewall;
use crate::sys::net::name_of;
use crate::sys::netfilter::HookState;
use crate::sys::rcu::RcuCell;
use crate::sys::skbuff::SkBuff;
use crate::sys::{static_key, time};

/// Most expressions at a time.
const MAX_EXPRESSIONS: usize = 64;

/// The packets to trace: those that any of the expressions matches.
pub(crate) type Expressions = KVec<Match>;

/// Whether anything is to be traced. Any context; costs nothing while not.
#[inline(always)]
pub(crate) fn enabled() -> bool {
    static_key::trace_enabled()
}

/// Turns the trace off for good. Process context.
pub(crate) fn disable() {
    static_key::set_trace_enabled(false);
}

/// The trace.
pub(crate) struct Tracer {
    expressions: RcuCell<Expressions>,
    limit: RateLimit,
    /// The state of `limit`.
    due: Atomic<u64>,
    printed: Atomic<u64>,
    left_out: Atomic<u64>,
    /// The part of `left_out` that no line has told of yet.
    untold: Atomic<u64>,
}

/// What the status file says of the trace.
pub(crate) struct TraceStats {
    /// Number of expressions
    pub(crate) expressions: usize,
    /// Lines printed
    pub(crate) printed: u64,
    /// Lines that the limit held back
    pub(crate) left_out: u64,
}

impl Tracer {
    /// A trace of nothing, limited to `rate` lines a second and `burst` at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        Self {
            expressions: RcuCell::empty(),
            limit: RateLimit::new(rate, burst),
            due: Atomic::new(0),
            printed: Atomic::new(0),
            left_out: Atomic::new(0),
            untold: Atomic::new(0),
        }
    }

    /// The expressions in force.
    pub(crate) fn expressions(&self) -> Option<Arc<Expressions>> {
        self.expressions.load()
    }

    /// What the status file says of the trace.
    pub(crate) fn stats(&self) -> TraceStats {
        TraceStats {
            expressions: self
                .expressions()
                .map_or(0, |expressions| expressions.len()),
            printed: self.printed.load(Relaxed),
            left_out: self.left_out.load(Relaxed),
        }
    }

    /// Prints a line if the packet is to be traced. Any context, under RCU.
    pub(crate) fn trace(
        &self,
        skb: &SkBuff,
        state: &HookState<'_>,
        packet: &Packet,
        decision: Decision,
        mode: Mode,
    ) {
        let wanted = |expression: &Match| expression.matches(packet, Doubt::TRACE);
        let expressions = self.expressions.read(state.read_side());
        if expressions.is_some_and(|expressions| expressions.iter().any(wanted)) {
            if self.admit() {
                self.print(skb, state, packet, decision, mode);
            } else {
                self.left_out.add(1u64, Relaxed);
                self.untold.add(1u64, Relaxed);
            }
        }
    }

    /// Whether the limit lets a line pass now. Lock-free: who loses a race tries again.
    fn admit(&self) -> bool {
        let now = time::monotonic_ns();
        let mut state = self.due.load(Relaxed);
        while let Some(next) = self.limit.admit(state, now) {
            match self.due.cmpxchg(state, next, Relaxed) {
                Ok(_) => return true,
                Err(current) => state = current,
            }
        }
        false
    }

    /// Out of line, as formatting needs a large stack frame.
    #[cold]
    #[inline(never)]
    fn print(
        &self,
        skb: &SkBuff,
        state: &HookState<'_>,
        packet: &Packet,
        decision: Decision,
        mode: Mode,
    ) {
        let untold = self.untold.xchg(0, Relaxed);
        if untold != 0 {
            pr_info!("trace: {} lines left out\n", untold);
        }
        self.printed.add(1u64, Relaxed);
        let event = TraceEvent {
            id: skb.id(),
            packet,
            device: name_of(skb.device()),
            phys_input: name_of(skb.phys_input(state.net())),
            phys_output: name_of(skb.phys_output()),
            decision,
            mode,
        };
        pr_info!("{}\n", format_args!("{event}"));
    }
}

/// Expressions that somebody is writing.
pub(crate) struct Draft {
    expressions: Expressions,
    /// If they are added to those in force: how many these were when the file was opened.
    append: Option<usize>,
}

impl Draft {
    /// A draft that says nothing yet, to be added to so many in force if there is an `append`.
    pub(crate) fn new(append: Option<usize>) -> Self {
        Self {
            expressions: KVec::new(),
            append,
        }
    }
}

impl Sink<TraceStatement> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, statement: TraceStatement) -> Result<(), Refusal<Obstacle>> {
        match statement {
            TraceStatement::Off => {
                self.expressions.clear();
                self.append = None;
                Ok(())
            }
            TraceStatement::Expression(expression) => {
                let others = self.append.unwrap_or(0);
                push(&mut self.expressions, others, expression).map_err(Refusal::Sink)
            }
        }
    }
}

/// Adds an expression, where there are `others` elsewhere.
fn push(expressions: &mut Expressions, others: usize, expression: Match) -> Result<(), Obstacle> {
    if expressions.len().saturating_add(others) >= MAX_EXPRESSIONS {
        return Err(Obstacle::TooMany(MAX_EXPRESSIONS, "expressions"));
    }
    Ok(expressions.push(expression, GFP_KERNEL)?)
}

impl Firewall {
    /// Puts the draft in force. Process context. On an error the old expressions stay.
    pub(crate) fn commit_trace(&self, draft: Draft) -> Result<(), Obstacle> {
        let _writers = self.writers.lock();
        let mut expressions = KVec::new();
        if let (Some(old), true) = (self.tracer.expressions(), draft.append.is_some()) {
            expressions.extend_from_slice(&old, GFP_KERNEL)?;
        }
        for expression in &draft.expressions {
            push(&mut expressions, 0, *expression)?;
        }
        let on = !expressions.is_empty();
        let expressions = Arc::new(expressions, GFP_KERNEL)?;
        self.tracer.expressions.replace(Some(expressions));
        static_key::set_trace_enabled(on);
        Ok(())
    }
}
