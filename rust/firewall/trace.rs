// SPDX-License-Identifier: GPL-2.0

//! Who is traced, and the printing of trace lines.

use core::fmt;

use ctrfw_core::event::TraceEvent;
use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::matcher::{Doubt, Match, Matches};
use ctrfw_core::memory::List;
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::{self, MatchText, TraceStatement};
use ctrfw_core::rule::{Decision, Mode};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::memory::{KernelList, KernelMemory};
use super::obstacle::Obstacle;
use super::throttle::Throttle;
use super::Firewall;
use crate::sys::net::name_of;
use crate::sys::netfilter::HookState;
use crate::sys::rcu::RcuCell;
use crate::sys::skbuff::SkBuff;
use crate::sys::static_key;

/// Most expressions at a time.
const MAX_EXPRESSIONS: usize = 64;

/// The packets to trace: those that any of the expressions matches.
#[derive(Default)]
pub(crate) struct Expressions {
    matches: Matches<KernelMemory>,
    all: KernelList<Match>,
}

impl Expressions {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Expression `index` as a line of the trace file.
    pub(crate) fn line(&self, index: usize) -> Option<impl fmt::Display + '_> {
        Some(self.matches.line_of(self.all.get(index)?))
    }

    /// Adds an expression.
    fn push(&mut self, text: &MatchText<'_>) -> Result<(), Refusal<Obstacle>> {
        let added = self.matches.add(text, None);
        let expression = added.map_err(|refusal| refusal.map(Obstacle::from))?;
        let pushed = self.all.push(expression);
        pushed.map_err(|error| Refusal::Sink(error.into()))
    }

    /// Adds those of `other`.
    fn append(&mut self, other: &Self) -> Result<(), Obstacle> {
        let moved = self.matches.append(&other.matches)?;
        for expression in other.all.iter() {
            self.all.push(moved.to(expression)?)?;
        }
        Ok(())
    }

    /// Whether any of them matches.
    fn any(&self, packet: &Packet) -> bool {
        let wanted = |expression| self.matches.matches(expression, packet, Doubt::TRACE);
        self.all.iter().any(wanted)
    }
}

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
    throttle: Throttle,
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
            throttle: Throttle::new("trace", rate, burst),
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
            printed: self.throttle.printed(),
            left_out: self.throttle.left_out(),
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
        let expressions = self.expressions.read(state.read_side());
        let wanted = expressions.is_some_and(|expressions| expressions.any(packet));
        if wanted && self.throttle.admit() {
            self.print(skb, packet, decision, mode);
        }
    }

    /// Out of line, as formatting needs a large stack frame.
    #[cold]
    #[inline(never)]
    fn print(&self, skb: &SkBuff, packet: &Packet, decision: Decision, mode: Mode) {
        self.throttle.printing();
        let event = TraceEvent {
            id: skb.id(),
            packet,
            device: name_of(skb.device()),
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
            expressions: Expressions::default(),
            append,
        }
    }
}

impl Sink<parser::Trace> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, statement: TraceStatement<'_>) -> Result<(), Refusal<Obstacle>> {
        match statement {
            TraceStatement::Off => {
                self.expressions = Expressions::default();
                self.append = None;
                Ok(())
            }
            TraceStatement::Expression(text) => {
                self.expressions.push(&text)?;
                check(&self.expressions, self.append.unwrap_or(0)).map_err(Refusal::Sink)
            }
        }
    }
}

/// Whether the expressions, with `others` elsewhere, keep the limits.
fn check(expressions: &Expressions, others: usize) -> Result<(), Obstacle> {
    if expressions.len().saturating_add(others) > MAX_EXPRESSIONS {
        return Err(Obstacle::TooMany(MAX_EXPRESSIONS, "expressions"));
    }
    Ok(())
}

impl Firewall {
    /// Puts the draft in force. Process context. On an error the old expressions stay.
    pub(crate) fn commit_trace(&self, draft: Draft) -> Result<(), Obstacle> {
        let _writers = self.writers.lock();
        let mut expressions = Expressions::default();
        if let (Some(old), true) = (self.tracer.expressions(), draft.append.is_some()) {
            expressions.append(&old)?;
        }
        expressions.append(&draft.expressions)?;
        check(&expressions, 0)?;
        let on = expressions.len() != 0;
        let expressions = Arc::new(expressions, GFP_KERNEL)?;
        self.tracer.expressions.replace(Some(expressions));
        static_key::set_trace_enabled(on);
        Ok(())
    }
}
