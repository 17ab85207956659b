// SPDX-License-Identifier: GPL-2.0

//! The events of the trace, between the hooks, which write them, and those who read them.

use ctrfw_core::record::Record;
use ctrfw_core::ring::{self, Next, Place};
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

use super::Firewall;
use crate::sys::ring::Rings;
use crate::sys::thread::{Chore, Thread};

/// The place of the buffers, which are there while somebody has [`Buffers`].
#[pin_data]
pub(crate) struct Store {
    /// How many bytes they may take, on all CPUs together.
    limit: usize,
    #[pin]
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    rings: Option<Arc<Rings>>,
    /// How many [`Buffers`] there are.
    holders: usize,
}

impl Store {
    /// A store of buffers that take `limit` bytes at most. Process context.
    pub(super) fn new(limit: usize) -> Result<Arc<Self>> {
        let store = pin_init!(Self {
            limit,
            held <- new_mutex!(Held::default()),
        });
        Arc::pin_init(store, GFP_KERNEL)
    }

    /// How many bytes the buffers take now. Process context; sleeps.
    pub(super) fn memory(&self) -> usize {
        let held = self.held.lock();
        held.rings.as_ref().map_or(0, |rings| rings.memory())
    }
}

/// The buffers of all CPUs, which are the same for all who have them at a time.
struct Buffers {
    store: Arc<Store>,
    rings: Arc<Rings>,
}

impl Buffers {
    /// The store's buffers; the first who asks makes them. Process context; sleeps.
    fn of(store: &Arc<Store>) -> Result<Self> {
        let mut held = store.held.lock();
        let rings = match &held.rings {
            Some(rings) => rings.clone(),
            None => Arc::new(Rings::new(store.limit)?, GFP_KERNEL)?,
        };
        held.rings = Some(rings.clone());
        held.holders = held.holders.saturating_add(1);
        Ok(Self {
            store: store.clone(),
            rings,
        })
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let mut held = self.store.held.lock();
        held.holders = held.holders.saturating_sub(1);
        if held.holders == 0 {
            // `self.rings` goes when the lock has been given back.
            held.rings = None;
        }
    }
}

/// Somebody who reads events. All process context.
pub(crate) struct Reader {
    buffers: Buffers,
    places: KVVec<Place<Record>>,
}

impl Reader {
    /// A reader, who begins with the oldest event that there is. Sleeps.
    pub(crate) fn new(store: &Arc<Store>) -> Result<Self> {
        let buffers = Buffers::of(store)?;
        let rings = buffers.rings.all();
        let mut places = KVVec::with_capacity(rings.len(), GFP_KERNEL)?;
        for ring in rings {
            places.push(Place::oldest(ring), GFP_KERNEL)?;
        }
        Ok(Self { buffers, places })
    }

    /// What hooks write to.
    pub(super) fn rings(&self) -> Arc<Rings> {
        self.buffers.rings.clone()
    }

    /// Goes to the end; how many events were there to be read, or to be counted as lost.
    pub(super) fn skip(&mut self) -> u64 {
        let pairs = self.places.iter_mut().zip(self.buffers.rings.all());
        let skipped = pairs.map(|(place, ring)| place.skip(ring));
        skipped.fold(0, u64::saturating_add)
    }

    /// How many events are there to be read, or to be counted as lost.
    pub(crate) fn waiting(&self) -> u64 {
        let pairs = self.places.iter().zip(self.buffers.rings.all());
        let waiting = pairs.map(|(place, ring)| place.waiting(ring));
        waiting.fold(0, u64::saturating_add)
    }

    /// What comes next.
    pub(crate) fn next(&mut self) -> Option<Next<&Record>> {
        ring::next(&mut self.places, self.buffers.rings.all())
    }
}

/// Who has the events printed.
pub(super) struct Printer {
    pub(super) reader: Reader,
    _thread: Thread,
}

impl Printer {
    /// A printer, with a thread that asks the firewall each tick to print. Process context; sleeps.
    pub(super) fn new(store: &Arc<Store>) -> Result<Self> {
        Ok(Self {
            reader: Reader::new(store)?,
            _thread: Thread::each_tick::<Printing>(c"ctrfw_trace")?,
        })
    }
}

/// What the printer's thread does.
struct Printing;

impl Chore for Printing {
    fn run() {
        if let Ok(firewall) = Firewall::load() {
            firewall.tracer.print();
        }
    }
}
