// SPDX-License-Identifier: GPL-2.0

//! Who is traced, and the printing of trace lines.
//!
//! Hooks only record what they see. A thread prints it, while the trace is on.

use core::fmt;

use ctrfw_core::event::TraceEvent;
use ctrfw_core::iface::IfName;
use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::matcher::{Doubt, Match, Matches, Needs};
use ctrfw_core::memory::List;
use ctrfw_core::netns::NetnsScope;
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::{self, MatchText, TraceStatement};
use ctrfw_core::record::Record;
use ctrfw_core::ring::{Next, Timed as _};
use ctrfw_core::rule::{Decision, Mode};
use ctrfw_core::writer::Writer;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::poll::PollCondVar;
use kernel::sync::{Arc, Mutex};
use kernel::{new_mutex, new_poll_condvar};

use super::events::{Printer, Store};
use super::memory::{KernelList, KernelMemory};
use super::obstacle::Obstacle;
use super::throttle::Throttle;
use super::tracking::{self, Tracked};
use super::{sockets, Firewall};
use crate::sys::conntrack::{Conntrack, Tracking};
use crate::sys::net::{name_of, same};
use crate::sys::netfilter::HookState;
use crate::sys::rcu::{RcuCell, ReadSide};
use crate::sys::ring::Rings;
use crate::sys::skbuff::{HashedPointer, SkBuff};
use crate::sys::socket::SocketLookup;
use crate::sys::{static_key, task, time};

/// Most expressions at a time.
const MAX_EXPRESSIONS: usize = 64;

/// The packets to trace: those that any of the expressions matches.
#[derive(Default)]
pub(crate) struct Expressions {
    matches: Matches<KernelMemory>,
    all: KernelList<Match>,
    /// There if any of them asks for the cgroup of the socket that a packet is for.
    lookup: Option<Arc<SocketLookup>>,
    /// The namespaces where any of them asks what connection tracking knows; noted when they are put in
    /// force.
    flows: NetnsScope,
    /// Where what they match is recorded, once they are in force.
    rings: Option<Arc<Rings>>,
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
        let added = self.matches.add_expression(text);
        let expression = added.map_err(|refusal| refusal.map(Obstacle::from))?;
        let resolved = self.matches.resolve_cgroups(sockets::cgroup);
        resolved.map_err(Refusal::Sink)?;
        let provided = sockets::provide(text, &mut self.lookup);
        provided.map_err(Refusal::Sink)?;
        let pushed = self.all.push(expression);
        pushed.map_err(|error| Refusal::Sink(error.into()))
    }

    /// Adds those of `other`.
    fn append(&mut self, other: &Self) -> Result<(), Obstacle> {
        for expression in other.all.iter() {
            let copy = self.matches.copy_expression(&other.matches, expression)?;
            self.all.push(copy)?;
        }
        if self.lookup.is_none() {
            self.lookup = other.lookup.clone();
        }
        Ok(())
    }

    /// The namespaces where any of them asks what connection tracking knows.
    fn flow_scope(&self) -> NetnsScope {
        let mut scope = NetnsScope::default();
        for expression in self.all.iter() {
            self.matches.add_flow_scope(expression, &mut scope);
        }
        scope
    }

    /// Whether any of them matches.
    fn any(&self, packet: &Packet) -> bool {
        let matches = &self.matches;
        let wanted = |expression| matches.expression_matches(expression, packet, Doubt::TRACE);
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
#[pin_data]
pub(crate) struct Tracer {
    expressions: RcuCell<Expressions>,
    /// What tracks connections for them.
    tracking: Tracked,
    throttle: Throttle,
    /// Where the recorded events are.
    pub(super) store: Arc<Store>,
    /// There while anything is traced.
    #[pin]
    printer: Mutex<Option<Printer>>,
    /// How often readers were told that there may be something new.
    #[pin]
    news: Mutex<u64>,
    /// What tells them.
    #[pin]
    told: PollCondVar,
    /// Events that somebody read too late.
    lost: Atomic<u64>,
}

/// What the status file says of the trace.
pub(crate) struct TraceStats {
    /// Number of expressions
    pub(crate) expressions: usize,
    /// Lines printed
    pub(crate) printed: u64,
    /// Lines that the limit held back
    pub(crate) left_out: u64,
    /// Events that readers of the events file missed
    pub(crate) lost: u64,
    /// Bytes that the events take
    pub(crate) memory: usize,
}

impl Tracer {
    /// A trace of nothing, limited to `rate` lines a second and `burst` at once, and to so many `bytes`
    /// for what is not read yet. Process context.
    pub(crate) fn new(rate: u32, burst: u32, bytes: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            expressions: RcuCell::empty(),
            tracking: Tracked::nowhere(),
            throttle: Throttle::new("trace", rate, burst),
            store: Store::new(bytes)?,
            printer <- new_mutex!(None),
            news <- new_mutex!(0),
            told <- new_poll_condvar!(),
            lost: Atomic::new(0),
        })
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
            lost: self.lost.load(Relaxed),
            memory: self.store.memory(),
        }
    }

    /// Which fields of a packet the expressions ask for. Any context.
    pub(super) fn needs(&self, read_side: ReadSide<'_>) -> Needs {
        let expressions = self.expressions.read(read_side);
        expressions.map_or(Needs::default(), |expressions| expressions.matches.needs())
    }

    /// What tracks connections, if expressions ask for what it knows of the packet. Any context.
    pub(super) fn tracking<'a>(
        &'a self,
        packet: &Packet,
        read_side: ReadSide<'a>,
    ) -> Option<&'a Tracking> {
        let expressions = self.expressions.read(read_side)?;
        let asked = expressions.matches.needs().flows.contains(packet.hook)
            && expressions.flows.contains(packet.netns);
        self.tracking.get(read_side).filter(|_| asked)
    }

    /// What finds the sockets that packets are for, if expressions ask for that. Any context.
    pub(super) fn lookup<'a>(&'a self, read_side: ReadSide<'a>) -> Option<&'a SocketLookup> {
        self.expressions.read(read_side)?.lookup.as_deref()
    }

    /// Records the packet's passage if it is to be traced. Any context, under RCU.
    ///
    /// Out of line, for the sake of the hook's stack frame.
    #[inline(never)]
    pub(crate) fn trace(
        &self,
        skb: &SkBuff,
        state: &HookState<'_>,
        packet: &Packet,
        decision: Decision,
        mode: Mode,
    ) {
        let Some(expressions) = self.expressions.read(state.read_side()) else {
            return;
        };
        let wanted = expressions.rings.as_ref();
        let Some(rings) = wanted.filter(|_| expressions.any(packet)) else {
            return;
        };
        let event = TraceEvent {
            id: skb.address(),
            packet,
            device: device_name(skb, state, packet),
            decision,
            mode,
        };
        rings.write(&Record::new(time::log_ns(), &event));
    }

    /// Prints what has been recorded by now, as far as the limit allows. Process context; sleeps.
    pub(super) fn print(&self) {
        let mut printer = self.printer.lock();
        let Some(Printer { reader, .. }) = &mut *printer else {
            return;
        };
        let mut left = reader.waiting();
        if left != 0 {
            self.tell_readers();
        }
        while left != 0 {
            let done = match reader.next() {
                Some(Next::Entry(record)) => {
                    if self.throttle.admit(record.time()) {
                        self.throttle.printing();
                        pr_info!("{}\n", format_args!("{}", Line(record)));
                        // A console may be slow.
                        self.tell_readers();
                    } else if !self.throttle.has_room(time::log_ns()) {
                        // Nor is there for what came till now.
                        self.throttle.leave_out(reader.skip());
                        break;
                    }
                    1
                }
                Some(Next::Lost { count, .. }) => {
                    self.throttle.leave_out(count);
                    count
                }
                None => break,
            };
            left = left.saturating_sub(done);
            // There may be many.
            task::cond_resched();
        }
    }

    /// Has the printer that there is, or else this one, print what is recorded from now on; where that
    /// is. Process context; sleeps.
    fn begin_printing(&self, spare: &mut Option<Printer>) -> Option<Arc<Rings>> {
        let mut printer = self.printer.lock();
        if printer.is_none() {
            if let Some(new) = spare.as_mut() {
                new.reader.skip();
            }
            *printer = spare.take();
        }
        printer.as_ref().map(|printer| printer.reader.rings())
    }

    /// Prints what is left, and nothing any more. Process context; sleeps.
    pub(super) fn end_printing(&self) {
        self.print();
        let printer = self.printer.lock().take();
        // Its thread may just be waiting for the lock.
        drop(printer);
    }

    /// Tells readers that there may be something new. Process context; sleeps.
    pub(super) fn tell_readers(&self) {
        let mut news = self.news.lock();
        *news = news.wrapping_add(1);
        self.told.notify_all();
    }

    /// How often readers have been told. Process context; sleeps.
    pub(crate) fn news(&self) -> u64 {
        *self.news.lock()
    }

    /// Sleeps until readers have been told more often than `seen` times. Process context.
    pub(crate) fn wait_for_news(&self, seen: u64) -> Result {
        let mut news = self.news.lock();
        while *news == seen {
            if self.told.wait_interruptible(&mut news) {
                return Err(ERESTARTSYS);
            }
        }
        Ok(())
    }

    /// What tells readers.
    pub(crate) fn told(&self) -> &PollCondVar {
        &self.told
    }

    /// Counts events that somebody read too late. Any context.
    pub(crate) fn lost(&self, count: u64) {
        self.lost.add(count, Relaxed);
    }
}

/// The name of the packet's own device, mostly one of those that are known by now. Any context, under RCU.
#[inline]
fn device_name(skb: &SkBuff, state: &HookState<'_>, packet: &Packet) -> IfName {
    let device = skb.device();
    if same(device, state.input()) {
        packet.input
    } else if same(device, state.output()) {
        packet.output
    } else {
        name_of(device)
    }
}

/// A record as its line, without what comes before `trace`.
pub(crate) struct Line<'a>(pub(crate) &'a Record);

impl Line<'_> {
    /// Prints it to anything; [`fmt::Display`] does the same.
    pub(crate) fn write(&self, to: &mut impl Writer) -> fmt::Result {
        let id = HashedPointer(self.0.id());
        self.0.passage().event(id).write(to)
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// Expressions that somebody is writing.
pub(crate) struct Draft {
    expressions: Expressions,
    /// If they are added to those in force: how many these were when the file was opened.
    append: Option<usize>,
    /// There if any of them asks for what connection tracking knows.
    conntrack: Option<Arc<Conntrack>>,
    /// Where events are to be recorded.
    store: Arc<Store>,
    /// There if there is any expression, for the case that nothing is traced yet.
    printer: Option<Printer>,
}

impl Draft {
    /// A draft that says nothing yet, to be added to so many in force if there is an `append`.
    pub(crate) fn new(tracer: &Tracer, append: Option<usize>) -> Self {
        Self {
            expressions: Expressions::default(),
            append,
            conntrack: None,
            store: tracer.store.clone(),
            printer: None,
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
                let provided = tracking::provide(&text, &mut self.conntrack);
                provided.map_err(Refusal::Sink)?;
                if self.printer.is_none() {
                    let printer = Printer::new(&self.store);
                    self.printer = Some(printer.map_err(|error| Refusal::Sink(error.into()))?);
                }
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
        let mut spare = draft.printer;
        if expressions.len() != 0 {
            expressions.rings = self.tracer.begin_printing(&mut spare);
        }
        let scope = expressions.flow_scope();
        expressions.flows = scope;
        let expressions = Arc::new(expressions, GFP_KERNEL).map_err(Obstacle::from);
        let changed = expressions.and_then(|expressions| {
            self.tracer.tracking.change(scope, draft.conntrack, || {
                self.tracer.expressions.replace(Some(expressions))
            })
        });
        let in_force = self.tracer.expressions();
        let on = in_force.is_some_and(|expressions| expressions.len() != 0);
        static_key::set_trace_enabled(on);
        if on {
            // What was asked for before.
            self.tracer.print();
        } else {
            self.tracer.end_printing();
        }
        changed.map(|_| ())
    }
}
