// SPDX-License-Identifier: GPL-2.0

//! Counters that begin anew.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::obstacle::Obstacle;
use super::snapshot::Snapshot;
use super::Firewall;

impl Firewall {
    /// Has all counters begin anew: at what they said when they were `read`, if they were, so that no
    /// packet is lost between; else at what they say now. Process context; sleeps.
    pub(crate) fn reset(&self, read: Option<&Option<Arc<Snapshot>>>) -> Result<(), Obstacle> {
        let mut writers = self.writers.lock();
        match read {
            None => {
                if let Some(counted) = self.counted_by(&writers)? {
                    writers.ledger.reset(&counted)?;
                }
            }
            Some(Some(read)) => {
                if !read.is_current(&writers, self.table.load().as_ref()) {
                    return Err(Obstacle::Recounted);
                }
                writers.ledger.reset(read)?;
            }
            Some(None) => {
                if self.table.load().is_some() {
                    return Err(Obstacle::Recounted);
                }
            }
        }
        Ok(())
    }
}
