// SPDX-License-Identifier: GPL-2.0

//! What each statement has counted.

use serde::Serialize;

/// A line of the counters file.
#[derive(Debug, Serialize)]
pub(crate) struct Counter {
    /// Its number, or what stands in place of one.
    #[serde(skip)]
    pub(crate) name: String,
    /// The rule, from 1; [`None`] for what is no rule.
    pub(crate) rule: Option<usize>,
    /// Packets that it has decided about.
    pub(crate) packets: u64,
    /// Their length in bytes.
    pub(crate) bytes: u64,
    /// The statement.
    pub(crate) text: String,
}

/// Parses `1 packets 12 bytes 3456 deny from 10.0.0.0/8`; [`None`] if it is no such line.
pub(crate) fn parse(line: &str) -> Option<Counter> {
    let mut words = line.splitn(6, ' ');
    let (number, _, packets, _, bytes) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    );
    Some(Counter {
        name: number.to_owned(),
        rule: number.parse().ok(),
        packets: packets.parse().ok()?,
        bytes: bytes.parse().ok()?,
        text: words.next()?.to_owned(),
    })
}
