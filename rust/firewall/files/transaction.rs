// SPDX-License-Identifier: GPL-2.0

//! All that is written between open and close, taking effect whole or not at all.

use ctrfw_core::loader::{Loader, Sink};
use ctrfw_core::parser::Grammar;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

use crate::firewall::report::{Failure, Subject};
use crate::firewall::table::Obstacle;
use crate::firewall::Firewall;
use crate::sys::task;

/// Something that is written in a language and then put in force.
pub(crate) trait Draft:
    Sink<<Self::Language as Grammar>::Item, Error = Obstacle> + Send + Unpin + 'static
{
    /// The language that it is written in.
    type Language: Grammar + Send;

    /// The file that it is written to.
    const SUBJECT: Subject;

    /// Puts it in force.
    fn commit(self, firewall: &Firewall) -> Result<(), Obstacle>;
}

/// A draft between open and close.
#[pin_data]
pub(crate) struct Transaction<D: Draft> {
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
            }),
        }? Error)
    }

    /// Takes the next piece; after an error nothing more, and nothing takes effect.
    pub(crate) fn write(&self, piece: &[u8]) -> Result {
        let mut state = self.state.lock();
        let State {
            loader,
            draft,
            begun,
        } = &mut *state;
        *begun = true;
        let fed = match draft {
            Some(draft) => loader.feed(piece, draft),
            None => return Err(EINVAL),
        };
        fed.map_err(|error| {
            *draft = None;
            self.failed(error.into())
        })
    }

    /// Puts the draft in force, if all of it was fine.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if !state.begun {
            return;
        }
        let Some(mut draft) = state.draft.take() else {
            return;
        };
        // What a killed writer had still to say, nobody knows.
        let finished = if task::killed() {
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

    fn failed(&self, failure: Failure) -> Error {
        self.firewall
            .writers
            .lock()
            .reports
            .failed(D::SUBJECT, failure);
        failure.errno()
    }
}
