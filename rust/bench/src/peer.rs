// SPDX-License-Identifier: GPL-2.0

//! An engine in a process of its own, which reads what it is to do, and tells how long it took.
//!
//! It is given a file with rules and headers, and says `built SECONDS BYTES`, or `failed WHY`. For
//! each line `MODE VARIANT FROM COUNT` it answers with the nanoseconds that these lookups took. It ends
//! with its input.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{cell::RefCell, rc::Rc};

use anyhow::{bail, Context as _, Result};

use crate::engine::{Engine, Mode, NOBODY};
use crate::tuple::{prefix_len, Header, RuleSet};

/// The process of a peer that has built a set.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Seconds that building took.
    pub seconds: f64,
    /// Bytes that what was built takes.
    pub bytes: f64,
}

impl Peer {
    /// Starts `program`, with further arguments, and has it build a set; what it looks up is this trace.
    /// `truth` is what must be found for the first headers. Says why if it cannot.
    pub fn start(
        program: &Path,
        cpu: usize,
        arguments: &[&str],
        set: &RuleSet,
        trace: &[Header],
        truth: &[usize],
    ) -> Result<Self> {
        let file = std::env::temp_dir().join(format!("ctrfw-bench-{}", std::process::id()));
        fs::write(&file, encode(set, trace, truth)?)?;
        let mut child = Command::new(program)
            .arg(&file)
            .arg(cpu.to_string())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut peer = Self {
            child,
            input,
            output: BufReader::new(output),
            seconds: 0.0,
            bytes: 0.0,
        };
        let said = peer.line();
        fs::remove_file(&file)?;
        let said = said?;
        let words: Vec<&str> = said.split_whitespace().collect();
        let ["built", seconds, bytes] = words[..] else {
            bail!("{said}");
        };
        (peer.seconds, peer.bytes) = (seconds.parse()?, bytes.parse()?);
        Ok(peer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the peer has ended: {}", self.child.wait()?);
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input, but perhaps only after what it is at.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the ways in which a peer looks up.
pub struct Variant {
    /// The name in tables
    pub name: &'static str,
    /// The word for it
    pub word: &'static str,
    /// Whether it looks up one header at a time.
    pub single: bool,
    /// The process
    pub peer: Rc<RefCell<Peer>>,
}

impl Engine for Variant {
    fn name(&self) -> &str {
        self.name
    }

    fn knows(&self, mode: Mode) -> bool {
        self.single || matches!(mode, Mode::Throughput | Mode::Hot)
    }

    fn sample(&mut self, mode: Mode, from: usize, count: usize) -> Result<Duration> {
        let mut peer = self.peer.borrow_mut();
        writeln!(peer.input, "{} {} {from} {count}", mode.name(), self.word)?;
        peer.input.flush()?;
        let said = peer.line()?;
        let ns = said
            .parse()
            .with_context(|| format!("{}: {said}", self.name))?;
        Ok(Duration::from_nanos(ns))
    }
}

/// Rules and headers as peers read them: numbers of the machine's order, addresses of the network's.
fn encode(set: &RuleSet, trace: &[Header], truth: &[usize]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let lens = [set.v6 as usize, set.rules.len(), trace.len(), truth.len()];
    for len in lens {
        bytes.extend(u32::try_from(len)?.to_ne_bytes());
    }
    for rule in &set.rules {
        for addrs in [rule.from, rule.to] {
            let len = prefix_len(set.v6, addrs).context("addresses that are no prefix")?;
            bytes.extend(addrs.0.to_be_bytes());
            bytes.push(len);
        }
        for port in [rule.sport.0, rule.sport.1, rule.dport.0, rule.dport.1] {
            bytes.extend(port.to_ne_bytes());
        }
        bytes.extend(match rule.proto {
            Some(proto) => [proto, 0xff],
            None => [0, 0],
        });
    }
    for header in trace {
        bytes.extend(header.from.to_be_bytes());
        bytes.extend(header.to.to_be_bytes());
        bytes.extend(header.sport.to_ne_bytes());
        bytes.extend(header.dport.to_ne_bytes());
        bytes.push(header.proto);
    }
    for found in truth {
        let number = match *found {
            NOBODY => 0,
            index => u32::try_from(index)? + 1,
        };
        bytes.extend(number.to_ne_bytes());
    }
    Ok(bytes)
}
