// SPDX-License-Identifier: GPL-2.0

//! Rings of entries: each is written by one, and read by any number, each of whom goes on from where
//! he is.
//!
//! Who writes waits for nobody: the newest entry takes the place of the oldest. He says that he begins
//! with an entry, and when it is written, or with some more: an interrupt may write others before he comes
//! to an end. Who reads copies an entry, looks whether anybody has begun to overwrite it meanwhile, and
//! counts those that he came too late for. So each entry is either read or counted, by each reader.

/// A ring.
pub trait Ring {
    /// What it is of. Of an entry that is overwritten while it is copied the copy may be anything.
    type Entry: Timed;

    /// How many entries there have been since the beginning, all of them written. Who is told so sees them.
    fn written(&self) -> u64;

    /// How many more there have been for which there was no place, as too many before them were not written.
    fn refused(&self) -> u64;

    /// How many places there are.
    fn places(&self) -> u64;

    /// Copies what is in the place of entry `number`.
    fn copy(&self, number: u64) -> Option<Self::Entry>;

    /// How many entries were begun, some of which may still be being written, as it is after all copying that
    /// comes before in the program.
    fn begun_after_copy(&self) -> u64;
}

/// Something that happened at a time.
pub trait Timed {
    /// When that was, in nanoseconds.
    fn time(&self) -> u64;
}

/// Where a reader of a ring is.
#[derive(Debug)]
pub struct Place<E> {
    /// The number of the next entry to be copied.
    next: u64,
    /// How many entries there were when the reader looked last.
    seen: u64,
    /// The entry to be told next, of those of this ring, or the one that was told last.
    front: Option<E>,
    /// Whether it is to be told.
    ready: bool,
    /// How many were overwritten before `front` was copied, or refused, of which nobody has been told.
    lost: u64,
    /// How many had been refused when the reader looked last.
    refused: u64,
}

impl<E: Timed> Place<E> {
    /// At the oldest entry that is still there.
    pub fn oldest<R: Ring<Entry = E>>(ring: &R) -> Self {
        Self {
            next: oldest(ring.begun_after_copy(), ring),
            seen: ring.written(),
            front: None,
            ready: false,
            lost: 0,
            refused: ring.refused(),
        }
    }

    /// Goes behind the newest entry; how many entries were to be told or to be counted as lost.
    pub fn skip<R: Ring<Entry = E>>(&mut self, ring: &R) -> u64 {
        let (written, refused) = (ring.written(), ring.refused());
        let skipped = self.until(written, refused);
        *self = Self {
            next: self.next.max(written),
            seen: written,
            front: None,
            ready: false,
            lost: 0,
            refused,
        };
        skipped
    }

    /// How many entries there are to be told or to be counted as lost.
    pub fn waiting<R: Ring<Entry = E>>(&self, ring: &R) -> u64 {
        self.until(ring.written(), ring.refused())
    }

    /// The same, of the first `written` entries and the first `refused` ones.
    fn until(&self, written: u64, refused: u64) -> u64 {
        written
            .saturating_sub(self.next)
            .saturating_add(refused.saturating_sub(self.refused))
            .saturating_add(self.ready.into())
            .saturating_add(self.lost)
    }

    /// Looks how many entries there are.
    fn look<R: Ring<Entry = E>>(&mut self, ring: &R) {
        // In this order: those that were refused are told with entries that were written after that.
        self.seen = ring.written();
        let refused = ring.refused();
        let more = refused.saturating_sub(self.refused);
        self.lost = self.lost.saturating_add(more);
        self.refused = refused;
    }

    /// Has the next of the entries that were seen in front, if there is one.
    fn fill<R: Ring<Entry = E>>(&mut self, ring: &R) {
        if self.ready {
            return;
        }
        let mut begun = self.seen;
        loop {
            let first = oldest(begun, ring);
            self.lost = self.lost.saturating_add(first.saturating_sub(self.next));
            self.next = self.next.max(first);
            if self.next >= self.seen {
                return;
            }
            self.front = ring.copy(self.next);
            begun = ring.begun_after_copy();
            if self.next >= oldest(begun, ring) {
                self.next = self.next.saturating_add(1);
                self.ready = self.front.is_some();
                return;
            }
            // It has gone while it was copied.
            self.look(ring);
        }
    }
}

/// The number of the oldest entry that nobody has begun to overwrite while so many were begun.
fn oldest<R: Ring>(begun: u64, ring: &R) -> u64 {
    begun.saturating_sub(ring.places())
}

/// What a reader of several rings gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<E> {
    /// An entry
    Entry(E),
    /// So many entries are missing here, of one ring.
    Lost {
        /// The ring's place among all
        ring: usize,
        /// How many
        count: u64,
    },
}

/// What comes next of all rings: of what is there the earliest; of one ring all in its order. An entry
/// that is written later, or that somebody is still writing, may be an earlier one.
///
/// What is there is looked up for all rings at once, and again when all of that has been told: what was
/// written since then is later, and most rings have nothing most of the time.
pub fn next<'a, R: Ring>(
    places: &'a mut [Place<R::Entry>],
    rings: &[R],
) -> Option<Next<&'a R::Entry>> {
    let ring = earliest(places, rings).or_else(|| {
        for (place, ring) in places.iter_mut().zip(rings) {
            place.look(ring);
        }
        earliest(places, rings)
    })?;
    let place = places.get_mut(ring)?;
    if place.lost != 0 {
        let count = core::mem::take(&mut place.lost);
        return Some(Next::Lost { ring, count });
    }
    place.ready = false;
    place.front.as_ref().map(Next::Entry)
}

/// The ring whose entry is next, of what was seen.
fn earliest<R: Ring>(places: &mut [Place<R::Entry>], rings: &[R]) -> Option<usize> {
    let mut earliest: Option<(usize, u64)> = None;
    for (index, (place, ring)) in places.iter_mut().zip(rings).enumerate() {
        place.fill(ring);
        let time = place
            .front
            .as_ref()
            .filter(|_| place.ready)
            .map(Timed::time);
        if let Some(time) = time.filter(|time| earliest.is_none_or(|(_, least)| *time < least)) {
            earliest = Some((index, time));
        }
    }
    earliest.map(|(index, _)| index)
}
