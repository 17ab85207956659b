// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/events`: the events of the trace, all of them, as they come.

use core::fmt::{self, Write as _};
use core::pin::Pin;

use ctrfw_core::record::Record;
use ctrfw_core::ring::{Next, Timed as _};
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
const TEXT: usize = 32768;

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
    text: Text,
    /// How many bytes of the text have been given already.
    given: usize,
}

/// Text that is not given yet.
struct Text {
    /// Room for [`TEXT`] bytes.
    room: KVVec<u8>,
    /// How many of them are text.
    len: usize,
}

impl fmt::Write for Text {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.room.get_mut(self.len..);
        let to = free.and_then(|free| free.get_mut(..text.len()));
        to.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = self.len.saturating_add(text.len());
        Ok(())
    }
}

impl Text {
    /// Adds an event's line.
    fn push(&mut self, record: &Record) -> fmt::Result {
        let micros = record.time() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        write!(self, "[{seconds:5}.{micros:06}] ctrfw: ")?;
        Line(record).write(self)?;
        self.write_str("\n")
    }
}

impl State {
    /// What of the text has not been given.
    fn rest(&self) -> &[u8] {
        let text = &self.text;
        text.room.get(self.given..text.len).unwrap_or(&[])
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
        self.text.len = 0;
        self.given = 0;
        while self.text.len.saturating_add(LINE) <= TEXT {
            let Some(next) = self.reader.next() else {
                break;
            };
            // There is room.
            let _ = match next {
                Next::Entry(record) => self.text.push(&record),
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
            text: Text {
                room: KVVec::from_elem(0, TEXT, GFP_KERNEL)?,
                len: 0,
            },
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
