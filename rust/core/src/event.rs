// SPDX-License-Identifier: GPL-2.0

//! The text of a trace line.

use core::fmt;

use crate::addr::KernelAddr;
use crate::fragment::Fragment;
use crate::iface::IfName;
use crate::packet::{Packet, Transport};
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
        write!(
            f,
            " verdict={} rule={}",
            self.decision.verb.trace_name(self.mode),
            self.decision.decider
        )
    }
}
