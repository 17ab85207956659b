// SPDX-License-Identifier: GPL-2.0

//! The text of trace lines and log lines.

use core::fmt;

use crate::addr::KernelAddr;
use crate::fragment::Fragment;
use crate::iface::IfName;
use crate::packet::{Headers, Packet, Transport};
use crate::proto::Protocol;
use crate::rule::{Decision, Mode};
use crate::writer::Writer;

/// A packet's passage through one hook; prints as the body of its trace line.
#[derive(Debug)]
pub struct TraceEvent<'a, Id> {
    /// What tells this packet from others, as it is to be printed.
    pub id: Id,
    /// The packet at its hook.
    pub packet: &'a Packet,
    /// The packet's own device.
    pub device: IfName,
    /// What becomes of it,
    pub decision: Decision,
    /// in a table of this mode.
    pub mode: Mode,
}

impl<Id: fmt::Display> TraceEvent<'_, Id> {
    /// Prints it to anything; [`fmt::Display`] does the same, but slower, as each piece goes through a
    /// [`fmt::Formatter`].
    pub fn write(&self, to: &mut impl Writer) -> fmt::Result {
        let Packet {
            hook,
            netns,
            input,
            output,
            phys_input,
            phys_output,
            headers,
            mark: _,
            family: _,
            flow: _,
            cgroup: _,
        } = self.packet;
        to.write_str("trace id=")?;
        write!(to, "{}", self.id)?;
        to.write_str(" netns=")?;
        netns.write(to)?;
        to.write_str(" hook=")?;
        to.write_str(hook.trace_name())?;
        for (key, name) in [
            (" in=", input),
            (" out=", output),
            (" dev=", &self.device),
            (" physin=", phys_input),
            (" physout=", phys_output),
        ] {
            to.write_str(key)?;
            name.write(to)?;
        }
        write_headers(to, headers)?;
        to.write_str(" verdict=")?;
        to.write_str(self.decision.verb.trace_name(self.mode))?;
        to.write_str(" rule=")?;
        self.decision.decider.write(to)
    }
}

impl<Id: fmt::Display> fmt::Display for TraceEvent<'_, Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// Prints a number behind its key.
fn write_number(to: &mut impl Writer, key: &str, number: u64) -> fmt::Result {
    to.write_str(key)?;
    to.number(number)
}

/// Prints a time, in nanoseconds, as the kernel's log does in front of its lines.
pub fn write_time(to: &mut impl Writer, ns: u64) -> fmt::Result {
    let micros = ns / 1000;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    to.write_str("[")?;
    for least in [10_000, 1_000, 100, 10] {
        if seconds < least {
            to.write_str(" ")?;
        }
    }
    to.number(seconds)?;
    to.write_str(".")?;
    to.three(micros / 1000)?;
    to.three(micros % 1000)?;
    to.write_str("]")
}

/// The fields of the headers, each behind a blank.
fn write_headers(to: &mut impl Writer, headers: &Headers) -> fmt::Result {
    match headers.addrs {
        Some(addrs) => {
            to.write_str(" src=")?;
            KernelAddr(addrs.source()).write(to)?;
            to.write_str(" dst=")?;
            KernelAddr(addrs.dest()).write(to)?;
        }
        None => to.write_str(" src=- dst=-")?,
    }
    match headers.proto {
        Some(proto) => {
            to.write_str(" proto=")?;
            proto.trace_name().write(to)?;
        }
        None => to.write_str(" proto=-")?,
    }
    match headers.fragment {
        Fragment::No => {}
        Fragment::First => to.write_str(" frag=first")?,
        Fragment::Later(offset) => write_number(to, " frag=", offset.into())?,
    }
    match headers.transport {
        Transport::Ports {
            source,
            dest,
            flags,
        } => {
            write_number(to, " spt=", source.into())?;
            write_number(to, " dpt=", dest.into())?;
            match flags {
                Some(flags) => {
                    to.write_str(" flags=")?;
                    flags.write(to)?;
                }
                None if headers.proto == Some(Protocol::TCP) => to.write_str(" flags=-")?,
                None => {}
            }
        }
        Transport::Icmp { kind, code } => {
            write_number(to, " type=", kind.into())?;
            write_number(to, " code=", code.into())?;
        }
        Transport::Other | Transport::LaterFragment | Transport::Unreadable => {}
    }
    write_number(to, " len=", headers.len.into())?;
    if let Some(reason) = headers.unparsed {
        write!(to, " unparsed={reason}")?;
    }
    Ok(())
}

/// A packet that is logged; prints as the body of its log line.
#[derive(Debug)]
pub struct LogEvent<'a> {
    /// What the line begins with.
    pub prefix: &'a str,
    /// The packet at its hook.
    pub packet: &'a Packet,
    /// The interface it came in by.
    pub input: IfName,
    /// The interface it will leave by.
    pub output: IfName,
    /// What becomes of it.
    pub decision: Decision,
    /// In a table of which mode
    pub mode: Mode,
    /// How many such lines were held back since the last one.
    pub held_back: u64,
}

impl fmt::Display for LogEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decision { verb, decider } = self.decision;
        let Packet { netns, hook, .. } = self.packet;
        let hook = hook.trace_name();
        let verb = verb.trace_name(self.mode);
        write!(f, "{} {verb} netns={netns} hook={hook}", self.prefix)?;
        write!(f, " in={} out={}", self.input, self.output)?;
        write_headers(f, &self.packet.headers)?;
        write!(f, " rule={decider} held_back={}", self.held_back)
    }
}
