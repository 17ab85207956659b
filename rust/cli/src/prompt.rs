// SPDX-License-Identifier: GPL-2.0

//! The command that the user sees while a table is on trial.

use std::io::{self, BufReader, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{absolute, Path};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{bail, Context as _};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::args::{Args, Load};
use crate::output::Output;
use crate::ready::ready;
use crate::signals;
use crate::trial::{hear, tell, Ending, Reason, Report, Wish};

/// How soon it is found that the terminal listens to this command again.
const FOREGROUND: Duration = Duration::from_millis(300);

/// What is said if the keeper has gone without a word; it may have loaded the table before.
const KILLED: &str =
    "the keeper of the old table was killed: if the new one is in force (ctrfw list), \
                      NOTHING WILL BE REVERTED (ctrfw confirm tells more)";

/// Puts `text` in force on trial, and tells what came of it: any report but that it is in force.
pub(crate) fn run(
    output: &mut Output,
    args: &Args,
    load: &Load,
    seconds: u32,
    text: &[u8],
) -> anyhow::Result<Report> {
    // From here on a signal is a wish. That this command is gone is one, too.
    let signals = signals::hold()?;
    let (stream, mut process) = start_keeper(args, load, seconds, text.len())?;
    let report = talk(output, load, seconds, text, stream, signals);
    // It ends with its last word.
    process.wait()?;
    report
}

fn talk(
    output: &mut Output,
    load: &Load,
    seconds: u32,
    text: &[u8],
    stream: UnixStream,
    signals: SignalFd,
) -> anyhow::Result<Report> {
    let mut keeper = BufReader::new(stream);
    // If it has ended there is nobody who reads; why, it has perhaps told.
    keeper.get_mut().write_all(text).unwrap_or_default();
    match hear(&mut keeper) {
        Some(Report::InForce) => {}
        Some(report) => return Ok(report),
        None => bail!(KILLED),
    }
    let terminal = load.file != Path::new("-") && io::stdin().is_terminal();
    let by_word = if terminal { "type yes, or " } else { "" };
    output.remark(format_args!(
        "the table is in force on trial; to keep it, {by_word}run ctrfw confirm within {seconds} s"
    ));
    let prompt = Prompt {
        keeper,
        signals,
        terminal,
    };
    Ok(Report::Ended(prompt.wait(output)?))
}

/// Starts the keeper, and connects to it.
fn start_keeper(
    args: &Args,
    load: &Load,
    seconds: u32,
    length: usize,
) -> anyhow::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    // Nothing of the user's session goes with it: who waits for that to end need not wait longer.
    let process = Command::new("/proc/self/exe")
        .arg0("ctrfw")
        .arg("--proc")
        .arg(absolute(&args.proc)?)
        .arg("--run")
        .arg(absolute(&args.run)?)
        .arg("keep")
        .args([seconds.to_string(), length.to_string()])
        .args(load.append.then_some("--append"))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .context("the keeper of the old table")?;
    Ok((ours, process))
}

struct Prompt {
    keeper: BufReader<UnixStream>,
    signals: SignalFd,
    /// Whether somebody may type an answer.
    terminal: bool,
}

impl Prompt {
    /// Hands on what the user wants until the keeper says how it ended.
    fn wait(mut self, output: &mut Output) -> anyhow::Result<Ending> {
        let mut line = Vec::new();
        let mut asked = false;
        loop {
            // In the background nothing may be read.
            let mine = self.terminal
                && tcgetpgrp(io::stdin()).map_or(true, |foreground| foreground == getpgrp());
            if mine && !asked {
                write!(output.err, "Keep it? [yes/no] ").unwrap_or_default();
                asked = true;
            }
            let (keeper, signals) = (self.keeper.get_ref().as_fd(), self.signals.as_fd());
            let stdin = io::stdin();
            let (ended, signal, typed) = match (mine, self.terminal) {
                (true, _) => {
                    let [ended, signal, typed] = ready([keeper, signals, stdin.as_fd()], None);
                    (ended, signal, typed)
                }
                (false, later) => {
                    let time = later.then_some(FOREGROUND);
                    let [ended, signal] = ready([keeper, signals], time);
                    (ended, signal, false)
                }
            };
            if ended {
                if mine {
                    writeln!(output.err).unwrap_or_default();
                }
                return self.ending();
            }
            let wish = if signal {
                Some(Wish::Revert(Reason::Signal))
            } else if typed {
                let answer = answer(&mut line);
                asked = answer.is_none() && !line.is_empty();
                answer
            } else {
                None
            };
            if let Some(wish) = wish {
                // It may have ended by itself just now.
                tell(self.keeper.get_ref(), &wish).unwrap_or_default();
                return self.ending();
            }
        }
    }

    fn ending(&mut self) -> anyhow::Result<Ending> {
        match hear(&mut self.keeper) {
            Some(Report::Ended(ending)) => Ok(ending),
            _ => bail!(KILLED),
        }
    }
}

/// What is typed, once `line` is whole and says something.
fn answer(line: &mut Vec<u8>) -> Option<Wish> {
    let mut piece = [0; 4096];
    // At its end, or if it has gone (EIO), the terminal has no more to say.
    let len = io::stdin().read(&mut piece).unwrap_or(0);
    if len == 0 {
        return Some(Wish::Revert(Reason::InputEnded));
    }
    line.extend_from_slice(piece.get(..len)?);
    if line.last() != Some(&b'\n') {
        return None;
    }
    let text = String::from_utf8_lossy(line).trim().to_ascii_lowercase();
    line.clear();
    match text.as_str() {
        "y" | "yes" => Some(Wish::Confirm),
        "n" | "no" => Some(Wish::Revert(Reason::Asked)),
        _ => None,
    }
}
