// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/events`: the events of the trace, all of them, as they come.

use core::fmt::{self, Write as _};
use core::pin::Pin;

use ctrfw_core::event::write_time;
use ctrfw_core::record::Record;
use ctrfw_core::ring::{Next, Timed as _};
use ctrfw_core::writer::Buffer;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::poll::PollCondVar;
use kernel::sync::{Arc, Mutex};
use kernel::uaccess::UserSliceWriter;

use crate::firewall::events::Reader;
use crate::firewall::trace::{Line, Tracer};
use crate::firewall::Firewall;
use crate::sys::procfs::{Mode, Stream};

/// How many bytes of text are made ready at a time; one read(2) gives no more.
const TEXT: usize = 131_072;

/// What the longest line has room in: five names of 15 characters, each escaped, are most of it.
const LINE: usize = 1024;

/// The open file.
#[pin_data]
pub(crate) struct Events {
    firewall: Arc<Firewall>,
    #[pin]
    state: Mutex<State>,
}

struct State {
    reader: Reader,
    /// Room for [`TEXT`] bytes.
    text: Buffer<KVVec<u8>>,
    /// How many bytes of the text have been given already.
    given: usize,
}

/// Adds an event's line.
fn push(text: &mut Buffer<KVVec<u8>>, record: &Record) -> fmt::Result {
    write_time(text, record.time())?;
    text.write_str(" ctrfw: ")?;
    Line(record).write(text)?;
    text.write_str("\n")
}

impl State {
    /// What of the text has not been given.
    fn rest(&self) -> &[u8] {
        self.text.text().get(self.given..).unwrap_or(&[])
    }

    /// What of it is to be given where there is room for so many bytes: whole lines, so that those who share
    /// the file tear none apart, unless not even one fits.
    fn piece(&self, room: usize) -> &[u8] {
        let rest = self.rest();
        let Some(fitting) = rest.get(..room) else {
            return rest;
        };
        let newline = fitting.iter().rposition(|&byte| byte == b'\n');
        let lines = newline.and_then(|last| fitting.get(..=last));
        lines.unwrap_or(fitting)
    }

    /// Makes the next lines ready, if nothing is.
    fn refill(&mut self, tracer: &Tracer) {
        if !self.rest().is_empty() {
            return;
        }
        self.text.clear();
        self.given = 0;
        while self.text.left() >= LINE {
            let Some(next) = self.reader.next() else {
                break;
            };
            // There is room.
            let _ = match next {
                Next::Entry(record) => push(&mut self.text, record),
                Next::Lost { ring, count } => {
                    tracer.lost(count);
                    writeln!(self.text, "ctrfw: trace: {count} events lost on CPU {ring}")
                }
            };
        }
    }
}

impl Stream for Events {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        if mode.write {
            return Err(EACCES);
        }
        let firewall = Firewall::load()?;
        let state = State {
            reader: Reader::new(&firewall.tracer.store)?,
            text: Buffer::new(KVVec::from_elem(0, TEXT, GFP_KERNEL)?),
            given: 0,
        };
        KBox::pin_init(
            pin_init!(Self {
                firewall,
                state <- new_mutex!(state),
            }),
            GFP_KERNEL,
        )
    }

    fn read(&self, to: &mut UserSliceWriter, wait: bool) -> Result {
        let tracer = &self.firewall.tracer;
        while !to.is_empty() {
            let seen = tracer.news();
            let mut state = self.state.lock();
            state.refill(tracer);
            let piece = state.piece(to.len());
            if !piece.is_empty() {
                to.write_slice(piece)?;
                let len = piece.len();
                state.given = state.given.saturating_add(len);
                break;
            }
            drop(state);
            if self.firewall.retired.load(Relaxed) {
                break;
            }
            if !wait {
                return Err(EAGAIN);
            }
            tracer.wait_for_news(seen)?;
        }
        Ok(())
    }

    fn poll(&self, register: impl FnOnce(&PollCondVar)) -> bool {
        register(self.firewall.tracer.told());
        let state = self.state.lock();
        !state.rest().is_empty() || state.reader.waiting() != 0
    }
}
