// SPDX-License-Identifier: GPL-2.0

//! What few rules have, as bytes before those of their words.

use crate::memory::{List, NoMemory, Span};
use crate::packed::Reader;
use crate::parser::{LogText, OptionsText};
use crate::period::Period;
use crate::queue::{Queue, QueueNumber};
use crate::rule::{Log, Verb};
use crate::text::Tag;

/// Bits that tell what there is.
const COMMENT: u8 = 1 << 0;
const LOG: u8 = 1 << 1;
const QUEUE: u8 = 1 << 2;
const BYPASS: u8 = 1 << 3;

/// Adds what a rule with this verb and these options has, and tells whether that is anything. Process
/// context.
pub(crate) fn pack(
    to: &mut impl List<u8>,
    verb: Verb,
    options: &OptionsText<'_>,
) -> Result<bool, NoMemory> {
    let mut what = 0;
    if !options.comment.is_empty() {
        what |= COMMENT;
    }
    if options.log.is_some() {
        what |= LOG;
    }
    if let Verb::Queue(queue) = verb {
        what |= if queue.bypass { QUEUE | BYPASS } else { QUEUE };
    }
    if what == 0 {
        return Ok(false);
    }
    // The length comes first.
    let start = to.len();
    to.push_all(&[0; 2])?;
    to.push(what)?;
    if what & COMMENT != 0 {
        to.push_all(&Tag::of(options.comment).number().to_le_bytes())?;
        text(to, options.comment)?;
    }
    if let Some(LogText { prefix, every }) = options.log {
        to.push_all(&every.millis().to_le_bytes())?;
        text(to, prefix)?;
    }
    if let Verb::Queue(queue) = verb {
        to.push_all(&queue.number.0.to_le_bytes())?;
    }
    let len = to.len().saturating_sub(start).saturating_sub(2);
    let len = u16::try_from(len).map_err(|_| NoMemory)?;
    let place = to.get_mut(start..).and_then(|rest| rest.first_chunk_mut());
    *place.ok_or(NoMemory)? = len.to_le_bytes();
    Ok(true)
}

fn text(to: &mut impl List<u8>, text: &[u8]) -> Result<(), NoMemory> {
    to.push(text.len().try_into().map_err(|_| NoMemory)?)?;
    to.push_all(text)
}

/// What a rule has.
#[derive(Clone, Copy, Default)]
pub(crate) struct More {
    /// What is told of its comment at a glance.
    pub(crate) tag: Tag,
    /// Its comment among the bytes; empty if it has none.
    pub(crate) comment: Span,
    /// Whether its packets are logged, and how; the prefix is among the bytes.
    pub(crate) log: Option<Log>,
    /// Which program decides, if one does
    pub(crate) queue: Queue,
}

impl More {
    /// Reads it from where it starts in `bytes`; [`None`] if it is not there, which is so for nothing
    /// that was packed.
    pub(crate) fn unpack(bytes: &[u8], start: usize) -> Option<Self> {
        let mut rest = Reader::new(bytes.get(start..)?);
        rest.u16()?;
        let what = rest.u8()?;
        let mut more = Self::default();
        let text = |rest: &mut Reader<'_>| {
            let len = usize::from(rest.u8()?);
            let start = bytes.len().saturating_sub(rest.len());
            rest.slice(len)?;
            Span::new(start, len).ok()
        };
        if what & COMMENT != 0 {
            more.tag = Tag::numbered(rest.u16()?);
            more.comment = text(&mut rest)?;
        }
        if what & LOG != 0 {
            let every = Period::from_millis(rest.u32()?);
            let prefix = text(&mut rest)?;
            more.log = Some(Log { prefix, every });
        }
        if what & QUEUE != 0 {
            more.queue = Queue {
                number: QueueNumber(rest.u16()?),
                bypass: what & BYPASS != 0,
            };
        }
        Some(more)
    }

    /// How many bytes there are.
    #[inline]
    pub(crate) fn len(bytes: &[u8], start: usize) -> Option<usize> {
        let len = Reader::new(bytes.get(start..)?).u16()?;
        usize::from(len).checked_add(2)
    }
}
