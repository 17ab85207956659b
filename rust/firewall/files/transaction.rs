// SPDX-License-Identifier: GPL-2.0

//! All that is written between open and close, taking effect whole or not at all.

use ctrfw_core::loader::{Loader, Sink};
use ctrfw_core::parser::Grammar;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::{Arc, Mutex};

use crate::firewall::obstacle::Obstacle;
use crate::firewall::report::{Failure, Subject};
use crate::firewall::Firewall;
use crate::sys::procfs::Writing;
use crate::sys::task::Writer;

/// Something that is written in a language and then put in force.
pub(super) trait Draft:
    Sink<Self::Language, Error = Obstacle> + Send + Unpin + 'static
{
    /// The language that it is written in.
    type Language: Grammar<State: Send> + Send;

    /// The file that it is written to.
    const SUBJECT: Subject;

    /// All that was written so far is fine. What takes effect before the file is closed does so now.
    fn written(&mut self, _firewall: &Firewall) -> Result<(), Obstacle> {
        Ok(())
    }

    /// Puts it in force.
    fn commit(self, firewall: &Firewall) -> Result<(), Obstacle>;
}

/// A draft between open and close.
#[pin_data]
pub(super) struct Transaction<D: Draft> {
    firewall: Arc<Firewall>,
    #[pin]
    state: Mutex<State<D>>,
}

struct State<D: Draft> {
    loader: KBox<Loader<D::Language>>,
    /// Nothing any more once it failed.
    draft: Option<D>,
    /// Whether closing the file changes anything.
    begun: bool,
    /// Who wrote last.
    writer: Option<Writer>,
}

impl<D: Draft> Transaction<D> {
    /// Begins with `draft`; if nothing is written it takes effect only if `begun`.
    pub(crate) fn new(firewall: Arc<Firewall>, draft: D, begun: bool) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            firewall,
            state <- new_mutex!(State {
                loader: KBox::new(Loader::new(), GFP_KERNEL)?,
                draft: Some(draft),
                begun,
                writer: None,
            }),
        }? Error)
    }

    fn failed(&self, failure: Failure) -> Error {
        self.firewall
            .writers
            .lock()
            .reports
            .failed(D::SUBJECT, failure);
        failure.errno()
    }
}

impl<D: Draft> Writing for Transaction<D> {
    /// Takes the next piece; after an error nothing more, and nothing takes effect.
    fn write(&self, piece: &[u8]) -> Result {
        let mut state = self.state.lock();
        let State {
            loader,
            draft,
            begun,
            writer,
        } = &mut *state;
        *begun = true;
        let Some(taken) = draft else {
            return Err(EINVAL);
        };
        let written = if writer.as_ref().is_some_and(Writer::was_killed) {
            Err(Failure::Killed)
        } else {
            let fed = loader.feed(piece, taken).map_err(Failure::from);
            fed.and_then(|()| taken.written(&self.firewall).map_err(Failure::from))
        };
        *writer = Some(Writer::current());
        written.map_err(|failure| {
            *draft = None;
            self.failed(failure)
        })
    }

    /// Gives the draft up: a write of it failed with `error`.
    fn abort(&self, error: Error) {
        let mut state = self.state.lock();
        if state.draft.take().is_some() {
            self.failed(Failure::Cut(error));
        }
    }

    /// Puts the draft in force, if all of it was fine.
    fn close(&self) {
        let mut state = self.state.lock();
        if !state.begun || self.firewall.retired.load(Relaxed) {
            return;
        }
        let Some(mut draft) = state.draft.take() else {
            return;
        };
        // What a killed writer had still to say, nobody knows. It need not be who closes the file:
        // a shell may have opened it for the writer.
        let killed =
            Writer::current().was_killed() || state.writer.as_ref().is_some_and(Writer::was_killed);
        let finished = if killed {
            Err(Failure::Killed)
        } else {
            state.loader.finish(&mut draft).map_err(Failure::from)
        };
        let committed = finished.and_then(|()| draft.commit(&self.firewall).map_err(Failure::from));
        match committed {
            Ok(()) => self.firewall.writers.lock().reports.succeeded(D::SUBJECT),
            Err(failure) => {
                // close(2) cannot tell.
                pr_warn!(
                    "{}\n",
                    format_args!("{}: nothing changed: {failure}", D::SUBJECT)
                );
                self.failed(failure);
            }
        }
    }
}
