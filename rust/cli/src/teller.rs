// SPDX-License-Identifier: GPL-2.0

//! Lines for somebody who may not read them for a while, or ever.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

/// How many lines are kept while nobody reads them.
const MAX_WAITING: usize = 256;
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes without waiting.
pub(crate) struct Teller {
    lines: SyncSender<Vec<u8>>,
    /// Ends when all is written.
    written: Receiver<()>,
    /// How many were left out since the last one
    dropped: u64,
}

impl Teller {
    /// Writes to `to`, in a thread of its own.
    pub(crate) fn new(mut to: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = mpsc::sync_channel::<Vec<u8>>(MAX_WAITING);
        let (done, written) = mpsc::channel();
        thread::spawn(move || {
            for line in waiting {
                // Who has gone does not hear of it.
                to.write_all(&line)
                    .and_then(|()| to.flush())
                    .unwrap_or_default();
            }
            drop(done);
        });
        Self {
            lines,
            written,
            dropped: 0,
        }
    }

    /// Writes a line, with its newline, or leaves it out if too many wait; `gap` is the line that says how
    /// many were left out before it.
    pub(crate) fn tell(&mut self, line: Vec<u8>, gap: impl FnOnce(u64) -> Vec<u8>) {
        if self.dropped > 0 {
            if let Err(TrySendError::Full(_)) = self.lines.try_send(gap(self.dropped)) {
                self.dropped = self.dropped.saturating_add(1);
                return;
            }
            self.dropped = 0;
        }
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

impl Drop for Teller {
    /// Lets what was told last be written, if somebody reads it.
    fn drop(&mut self) {
        // The thread ends when there is nobody who tells it anything.
        self.lines = mpsc::sync_channel(0).0;
        self.written.recv_timeout(PATIENCE).unwrap_or_default();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    fn line(number: u64) -> Vec<u8> {
        format!("{number:01000}\n").into_bytes()
    }

    fn gap(dropped: u64) -> Vec<u8> {
        format!("{dropped}\n").into_bytes()
    }

    #[test]
    fn nobody_reads_for_a_while() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut teller = Teller::new(writer);
        let mut last = 0;
        while last < 1000 || teller.dropped == 0 {
            teller.tell(line(last), gap);
            last += 1;
        }
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        // Until there is room again
        while teller.dropped > 0 {
            thread::sleep(Duration::from_millis(1));
            teller.tell(line(last), gap);
            last += 1;
        }
        drop(teller);
        let text = reading.join().unwrap();
        let mut next = 0;
        for line in text.lines() {
            let number: u64 = line.parse().unwrap();
            if line.len() == 1000 {
                assert_eq!(number, next);
                next += 1;
            } else {
                next += number;
            }
        }
        assert_eq!(next, last);
    }

    #[test]
    fn nobody_reads_ever() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut teller = Teller::new(writer);
        while teller.dropped == 0 {
            teller.tell(line(0), gap);
        }
        // It does not wait for ever.
        drop(teller);
        drop(reader);
    }
}
