// SPDX-License-Identifier: GPL-2.0

//! The keeper of the old table while a new one is on trial.
//!
//! A process in a session of its own, so that the end of the user's does not end it. It puts the new
//! table in force itself: then there is no moment at which that is done and nobody is left to revert
//! it.

use std::io::{self, BufReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _};
use nix::sys::signalfd::SignalFd;
use nix::unistd::setsid;

use crate::args::Keep;
use crate::module::{Module, Snapshot};
use crate::ready::ready;
use crate::signals;
use crate::trial::{hear, tell, Directory, Ending, Reason, Report, Wish};
use crate::Outcome;

/// How often a revert that fails is tried, and how long after one another.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// How long somebody who connects may take to say what he wants.
const PATIENCE: Duration = Duration::from_secs(1);

/// Loads the table that comes by standard input, a socket, and keeps the old one until it is known
/// which of them is to stay.
pub(crate) fn run(module: &Module, directory: &Directory, args: &Keep) -> anyhow::Result<Outcome> {
    setsid().context("setsid")?;
    let signals = signals::hold()?;
    let command = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut keeper = Keeper {
        module,
        directory,
        signals,
        command: BufReader::new(command),
    };
    if let Err(error) = keeper.run(args) {
        tell(
            keeper.command.get_ref(),
            &Report::Failed(format!("{error:#}")),
        )?;
    }
    Ok(Outcome::Fine)
}

struct Keeper<'a> {
    module: &'a Module,
    directory: &'a Directory,
    signals: SignalFd,
    /// The command that the user sees. That it ends is a wish, too.
    command: BufReader<UnixStream>,
}

impl Keeper<'_> {
    fn run(&mut self, args: &Keep) -> anyhow::Result<()> {
        let mut text = vec![0; args.length];
        self.command
            .read_exact(&mut text)
            .context("the new table")?;
        let lock = self.directory.lock()?;
        let listener = self.directory.listen()?;
        let begun = self.load(&text, args.append);
        if !matches!(begun, Ok(Ok(_))) {
            self.directory.withdraw();
        }
        let old = match begun? {
            Ok(old) => old,
            Err(why) => {
                drop(lock);
                tell(self.command.get_ref(), &Report::Refused(why))?;
                return Ok(());
            }
        };
        let deadline = Instant::now().checked_add(Duration::from_secs(args.seconds.into()));
        // If that is told to nobody any more, waiting will show it.
        tell(self.command.get_ref(), &Report::InForce).unwrap_or_default();
        let (wish, asker) = self.wait(&listener, deadline);
        let ending = match wish {
            Wish::Confirm => self.confirm(&old),
            Wish::Revert(reason) => self.revert(&old, reason),
        };
        self.directory.end(&ending);
        // Who is told may begin the next one at once.
        drop(lock);
        let report = Report::Ended(ending.clone());
        for stream in [Some(self.command.get_ref()), asker.as_ref()]
            .into_iter()
            .flatten()
        {
            tell(stream, &report).unwrap_or_default();
        }
        note(&ending);
        Ok(())
    }

    /// Puts the new table in force, in place of what it returns; or why it was refused.
    fn load(&self, text: &[u8], append: bool) -> anyhow::Result<Result<Snapshot, String>> {
        let old = self.module.snapshot()?;
        self.directory.keep(&old.rules)?;
        if let Err(why) = self.module.rehearse(&old)? {
            // A cgroup that is gone, say: its rules stay in force, but cannot be written again.
            bail!("nothing changed: the table in force could not be put back: {why}");
        }
        let loaded = self.module.load_over_table(&old, text, append);
        match loaded {
            Ok(loaded) => Ok(loaded.map(|()| old)),
            Err(error) => {
                // It may be in force for all that. If it is not, this changes nothing.
                drop(
                    self.module
                        .load_over(new_generation(&old), &old.rules, false),
                );
                Err(error)
            }
        }
    }

    /// Waits for somebody to say what is to become of the new table; also, to whom an answer is due
    /// besides the command.
    fn wait(
        &mut self,
        listener: &UnixListener,
        deadline: Option<Instant>,
    ) -> (Wish, Option<UnixStream>) {
        loop {
            let now = Instant::now();
            let left = deadline.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
            if left.is_zero() {
                return (Wish::Revert(Reason::TimeOut), None);
            }
            let [signal, command, asker] = ready(
                [
                    self.signals.as_fd(),
                    self.command.get_ref().as_fd(),
                    listener.as_fd(),
                ],
                Some(left),
            );
            if signal {
                return (Wish::Revert(Reason::Signal), None);
            }
            if command {
                let died = Wish::Revert(Reason::CommandDied);
                return (hear(&mut self.command).unwrap_or(died), None);
            }
            if asker {
                if let Some((wish, stream)) = heard_from(listener) {
                    return (wish, Some(stream));
                }
            }
        }
    }

    fn confirm(&self, old: &Snapshot) -> Ending {
        match self.generation() {
            Some(now) if now != new_generation(old) => Ending::Superseded,
            _ => Ending::Confirmed,
        }
    }

    /// Puts the old table back, unless somebody else has changed what is in force.
    fn revert(&self, old: &Snapshot, reason: Reason) -> Ending {
        let ours = new_generation(old);
        if self.generation().is_some_and(|now| now != ours) {
            return Ending::Superseded;
        }
        let mut tries = 1;
        loop {
            let error = match self.module.load_over(ours, &old.rules, false) {
                Ok(Ok(())) => return Ending::Reverted { reason },
                Ok(Err(why)) => why,
                Err(error) => format!("{error:#}"),
            };
            match self.module.snapshot() {
                // Another writer's error was taken for ours, or he has put it back himself.
                Ok(now) if now.rules == old.rules => return Ending::Reverted { reason },
                Ok(now) if now.generation != ours => return Ending::Superseded,
                _ if tries >= TRIES => {
                    return Ending::Stuck {
                        reason,
                        error,
                        previous: self.directory.previous(),
                    }
                }
                // There may be memory again by then.
                _ => thread::sleep(PAUSE),
            }
            tries = tries.saturating_add(1);
        }
    }

    fn generation(&self) -> Option<u64> {
        self.module.generation().ok()
    }
}

/// The generation of the table that took the place of `old`, which was conditional on that.
fn new_generation(old: &Snapshot) -> u64 {
    old.generation.wrapping_add(1)
}

/// What somebody wants who has connected, and to whom the answer goes.
fn heard_from(listener: &UnixListener) -> Option<(Wish, UnixStream)> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    Some((hear(&mut reader)?, reader.into_inner()))
}

/// Tells the system's log, for whose session has ended.
fn note(ending: &Ending) {
    // Facility daemon; notice or error.
    let priority = match ending {
        Ending::Confirmed | Ending::Reverted { .. } => 29,
        Ending::Superseded | Ending::Stuck { .. } => 27,
    };
    let text = format!(
        "<{priority}>ctrfw[{}]: load --confirm: {ending}",
        std::process::id()
    );
    // Not every system keeps such a log, and nobody is to wait for one that is stuck.
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(text.as_bytes(), "/dev/log")
    });
    drop(sent);
}
