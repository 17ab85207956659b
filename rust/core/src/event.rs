// SPDX-License-Identifier: GPL-2.0

//! The text of trace lines and log lines.

use core::fmt;

use crate::addr::KernelAddr;
use crate::fragment::Fragment;
use crate::iface::IfName;
use crate::number;
use crate::packet::{Headers, Packet, Transport};
use crate::proto::Protocol;
use crate::rule::{Decision, Mode};

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
    pub fn write(&self, to: &mut impl fmt::Write) -> fmt::Result {
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
        write!(to, "trace id={}", self.id)?;
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
        write!(to, " rule={}", self.decision.decider)
    }
}

impl<Id: fmt::Display> fmt::Display for TraceEvent<'_, Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// Prints a number behind its key.
fn write_number(to: &mut impl fmt::Write, key: &str, number: u64) -> fmt::Result {
    to.write_str(key)?;
    number::write(to, number)
}

/// The fields of the headers, each behind a blank.
fn write_headers(to: &mut impl fmt::Write, headers: &Headers) -> fmt::Result {
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
        Some(proto) => write!(to, " proto={}", proto.trace_name())?,
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
                Some(flags) => write!(to, " flags={flags}")?,
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
