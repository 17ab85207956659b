// SPDX-License-Identifier: GPL-2.0

//! The text of trace lines and log lines.

use core::fmt;

use crate::addr::KernelAddr;
use crate::fragment::Fragment;
use crate::iface::IfName;
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

impl<Id: fmt::Display> fmt::Display for TraceEvent<'_, Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        } = self.packet;
        write!(
            f,
            "trace id={} netns={netns} hook={} ",
            self.id,
            hook.trace_name()
        )?;
        write!(f, "in={input} out={output} dev={}", self.device)?;
        write!(f, " physin={phys_input} physout={phys_output}")?;
        fmt_headers(f, headers)?;
        write!(
            f,
            " verdict={} rule={}",
            self.decision.verb.trace_name(self.mode),
            self.decision.decider
        )
    }
}

/// The fields of the headers, each behind a blank.
fn fmt_headers(f: &mut fmt::Formatter<'_>, headers: &Headers) -> fmt::Result {
    match headers.addrs {
        Some((from, to)) => write!(f, " src={} dst={}", KernelAddr(from), KernelAddr(to))?,
        None => f.write_str(" src=- dst=-")?,
    }
    match headers.proto {
        Some(proto) => write!(f, " proto={}", proto.trace_name())?,
        None => f.write_str(" proto=-")?,
    }
    match headers.fragment {
        Fragment::No => {}
        Fragment::First => f.write_str(" frag=first")?,
        Fragment::Later(offset) => write!(f, " frag={offset}")?,
    }
    match headers.transport {
        Transport::Ports {
            source,
            dest,
            flags,
        } => {
            write!(f, " spt={source} dpt={dest}")?;
            match flags {
                Some(flags) => write!(f, " flags={flags}")?,
                None if headers.proto == Some(Protocol::TCP) => f.write_str(" flags=-")?,
                None => {}
            }
        }
        Transport::Icmp { kind, code } => write!(f, " type={kind} code={code}")?,
        Transport::Other | Transport::LaterFragment | Transport::Unreadable => {}
    }
    write!(f, " len={}", headers.len)?;
    if let Some(reason) = headers.unparsed {
        write!(f, " unparsed={reason}")?;
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
        fmt_headers(f, &self.packet.headers)?;
        write!(f, " rule={decider} held_back={}", self.held_back)
    }
}
