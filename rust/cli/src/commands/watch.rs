// SPDX-License-Identifier: GPL-2.0

//! `ctrfw watch`

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

use super::check;
use crate::engine::announce::{self, Announced, Announcement, Waiting};
use crate::engine::follow::{follow, Cause, News};
use crate::engine::inventory::Inventory;
use crate::engine::{self, Endpoint};
use crate::module::Module;
use crate::names::lookup::look_up;
use crate::names::reading::Reading;
use crate::names::set::statement;
use crate::output::Output;
use crate::problem::Severity;
use crate::source::Source;
use crate::teller::Teller;
use crate::trial::Directory;
use crate::Outcome;

/// How long engines are waited for at first; what is known by then is loaded.
const WAIT: Duration = Duration::from_secs(3);
/// What is said of a table that is not the last one from here.
const FOREIGN: &str = "somebody else has changed the table";
/// How often it is looked whether somebody else has changed the table, and tried again what has failed.
const TICK: Duration = Duration::from_secs(1);
/// How often a change is tried while somebody else changes the table at the same moment.
const ATTEMPTS: u32 = 100;

/// What the module says if it was somebody else's table when the change was to take effect.
const CHANGED: [&str; 2] = [
    "somebody else changed the table meanwhile",
    "the table in force is generation",
];
/// Why it is left alone for a while.
const TRIAL: &str = "one is on trial until it is confirmed or reverted";
/// And if a set is not there.
const NO_SET: &str = "expected the name of a set of the table";

/// What happens.
enum Message {
    /// To the engine with this index
    Engine(usize, News),
    /// To a container that is about to start
    Container(Announcement, Waiting),
    /// To this process
    Signal(Signal),
}

/// Whether to go on.
enum Next {
    Wait,
    End(Outcome),
}

/// What has become of a text for the module.
enum Written {
    /// It is in force.
    InForce,
    /// It was not written, as a table is on trial.
    OnTrial,
    /// It was refused, and why.
    Refused(String),
}

struct Watch<'a> {
    json: bool,
    teller: Teller,
    module: &'a Module,
    /// Where it is told whether a table is on trial
    trials: &'a Directory,
    file: &'a Path,
    endpoints: Vec<Endpoint>,
    /// What each engine knows, or knew when it was last heard of.
    known: Vec<Inventory>,
    announced: Announced,
    /// Containers that were announced and that no engine has told of yet
    strangers: Vec<(String, Waiting, Instant)>,
    reading: Reading,
    /// The last table that was put in force here
    generation: Option<u64>,
    /// The file is to be loaded as soon as no table is on trial.
    reload: bool,
    /// What was complained of last
    complaint: Option<String>,
}

/// Loads a table, and keeps what its names stand for right.
pub(crate) fn run(
    output: &Output,
    module: &Module,
    trials: &Directory,
    file: &Path,
    socket: &Path,
    named: &[String],
) -> anyhow::Result<Outcome> {
    if file == Path::new("-") {
        bail!("FILE must be one that can be read again: SIGHUP asks for that, and - has an end");
    }
    let endpoints = engine::endpoints(named)?;
    // Before there are other threads, which would still be ended by them.
    let signals: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
        .into_iter()
        .collect();
    signals.thread_block()?;
    let announced = Announced::default();
    let (sender, messages) = mpsc::channel();
    listen(signals, sender.clone());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let wrap = move |news| Message::Engine(index, news);
        follow(endpoint, announced.clone(), sender.clone(), wrap);
    }
    let tell = move |announcement, waiting| {
        let message = Message::Container(announcement, waiting);
        sender.send(message).is_ok()
    };
    let listening = announce::listen(socket, tell);
    let mut watch = Watch {
        announced,
        strangers: Vec::new(),
        known: vec![Inventory::default(); endpoints.len()],
        json: output.json,
        teller: output.teller(),
        module,
        trials,
        file,
        endpoints,
        reading: Reading::default(),
        generation: None,
        reload: true,
        complaint: None,
    };
    if let Err(error) = listening {
        watch.say_error(&format!("ctrfw hook is not listened to: {error:#}"));
    }
    if let Next::End(outcome) = watch.begin(&messages)? {
        return Ok(outcome);
    }
    loop {
        let next = match messages.recv_timeout(TICK) {
            Ok(message) => watch.take(message, &messages),
            Err(RecvTimeoutError::Timeout) => watch.look(),
            Err(RecvTimeoutError::Disconnected) => Ok(Next::End(Outcome::Fine)),
        };
        match next {
            Ok(Next::Wait) => {}
            Ok(Next::End(outcome)) => return Ok(outcome),
            // The table in force goes on, and what could not be done is tried again.
            Err(error) if watch.generation.is_some() => watch.complain(&format!("{error:#}")),
            Err(error) => return Err(error),
        }
    }
}

fn listen(signals: SigSet, sender: Sender<Message>) {
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if sender.send(Message::Signal(signal)).is_err() {
                break;
            }
        }
    });
}

impl Watch<'_> {
    /// Loads the table as soon as each engine was heard of.
    fn begin(&mut self, messages: &Receiver<Message>) -> anyhow::Result<Next> {
        let end = Instant::now().checked_add(WAIT);
        let mut silent: Vec<usize> = (0..self.endpoints.len()).collect();
        while !silent.is_empty() {
            let left = end.map_or(WAIT, |end| end.saturating_duration_since(Instant::now()));
            match messages.recv_timeout(left) {
                Ok(Message::Engine(index, news)) => {
                    silent.retain(|other| *other != index);
                    self.note(index, news);
                }
                Ok(Message::Container(announcement, waiting)) => {
                    self.announce(announcement, waiting);
                }
                Ok(Message::Signal(Signal::SIGHUP)) => {}
                Ok(Message::Signal(signal)) => return Ok(self.leave(signal)),
                Err(_) => break,
            }
        }
        for index in silent {
            self.say_of_engine(index, Some("it has not answered yet"));
        }
        self.load()
    }

    /// Takes a message, and what came with it.
    fn take(&mut self, first: Message, messages: &Receiver<Message>) -> anyhow::Result<Next> {
        let mut why = None;
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Engine(index, news) => why = self.note(index, news).or(why),
                Message::Container(announcement, waiting) => self.announce(announcement, waiting),
                Message::Signal(Signal::SIGHUP) => self.reload = true,
                Message::Signal(signal) => return Ok(self.leave(signal)),
            }
        }
        if self.reload {
            if let Next::End(outcome) = self.load()? {
                return Ok(Next::End(outcome));
            }
        }
        self.settle(why)
    }

    /// Takes in what was announced, and updates the table if there is a reason.
    fn settle(&mut self, mut why: Option<Cause>) -> anyhow::Result<Next> {
        if self.generation.is_none() {
            // There is no table to update yet.
            return Ok(Next::Wait);
        }
        let mut known = Vec::new();
        for (id, waiting, until) in std::mem::take(&mut self.strangers) {
            if self
                .known
                .iter()
                .any(|inventory| inventory.has_container(&id))
            {
                known.push(waiting);
                why = why.or(Some(Cause {
                    text: "its announcement".to_owned(),
                    time: None,
                }));
            } else if Instant::now() < until {
                self.strangers.push((id, waiting, until));
            }
        }
        let Some(cause) = why else {
            return Ok(Next::Wait);
        };
        for inventory in &mut self.known {
            self.announced.complete(inventory);
        }
        let next = self.update(&cause)?;
        if self.complaint.is_none() {
            known.into_iter().for_each(Waiting::done);
        }
        Ok(next)
    }

    /// Notes a container that waits to be known.
    fn announce(&mut self, announcement: Announcement, waiting: Waiting) {
        let until = Instant::now().checked_add(announce::PATIENCE);
        let id = announcement.id.clone();
        self.announced.add(announcement);
        if let Some(until) = until {
            self.strangers.push((id, waiting, until));
        }
    }

    /// Notes what an engine knows; why that has changed.
    fn note(&mut self, index: usize, news: News) -> Option<Cause> {
        match news {
            News::Known(inventory, cause) => {
                if cause.time.is_none() {
                    self.say_of_engine(index, None);
                }
                if let Some(known) = self.known.get_mut(index) {
                    *known = inventory;
                }
                Some(cause)
            }
            News::Lost(why) => {
                // Its containers may well go on, and nobody else gets their addresses without it.
                self.say_of_engine(index, Some(&why));
                None
            }
        }
    }

    /// Reads the file, and puts it in force, unless a table is on trial; the end, if there is none here then.
    fn load(&mut self) -> anyhow::Result<Next> {
        let first = self.generation.is_none();
        if self.trials.connect()?.is_some() {
            self.complain(TRIAL);
            return Ok(Next::Wait);
        }
        let source = match Source::read(self.file) {
            Ok(source) => source,
            Err(error) if first => return Err(error),
            Err(error) => return Ok(self.give_up(&format!("{error:#}"))),
        };
        let inventories: Vec<&Inventory> = self.known.iter().collect();
        let reading = Reading::of(&source, &inventories);
        if self.json {
            for problem in &reading.problems {
                self.say(json!({ "event": problem.severity, "problem": problem }), "");
            }
        } else {
            let mut text = Vec::new();
            check::print(&mut text, &source, &reading.problems)?;
            self.teller.tell(text, gap);
        }
        if reading.failed() {
            return Ok(self.give_up(&format!("{}: errors in the file", source.name)));
        }
        match self.write(&reading.text, false)? {
            Written::InForce => {}
            Written::OnTrial => return Ok(Next::Wait),
            Written::Refused(why) => {
                let why = reading.explain(&why);
                return Ok(self.give_up(&format!("{}: {why}", source.name)));
            }
        }
        self.reload = false;
        self.reading = reading;
        let sets = self.reading.expansion.sets.len();
        self.say(
            json!({ "event": "loaded", "file": source.name, "sets": sets }),
            &format!("loaded {}, with {sets} sets to keep", source.name),
        );
        for index in 0..sets {
            self.say_set(index, None);
        }
        Ok(Next::Wait)
    }

    /// Says why the file is not loaded: the end, if no table is in force here yet.
    fn give_up(&mut self, why: &str) -> Next {
        self.reload = false;
        self.say_error(&format!("nothing changed: {why}"));
        match self.generation {
            Some(_) => Next::Wait,
            None => Next::End(Outcome::Negative),
        }
    }

    /// Writes a table, or edits of the one in force, over whatever is in force at this moment.
    fn write(&mut self, text: &[u8], append: bool) -> anyhow::Result<Written> {
        let mut left = ATTEMPTS;
        loop {
            let now = self.module.generation()?;
            // A change would keep the table of before from coming back. A trial that begins from here on
            // has another generation.
            if self.trials.connect()?.is_some() {
                self.complain(TRIAL);
                return Ok(Written::OnTrial);
            }
            left = left.saturating_sub(1);
            match self.module.load_over(now, text, append)? {
                Ok(()) => {
                    // What is in force by now may be somebody else's.
                    self.generation = Some(now.saturating_add(1));
                    self.complaint = None;
                    return Ok(Written::InForce);
                }
                Err(why) if left > 0 && CHANGED.iter().any(|text| why.contains(text)) => {}
                Err(why) => return Ok(Written::Refused(why)),
            }
        }
    }

    /// Gives the sets whose names stand for something else the members that they have now.
    fn update(&mut self, cause: &Cause) -> anyhow::Result<Next> {
        let expansion = &self.reading.expansion;
        let inventories: Vec<&Inventory> = self.known.iter().collect();
        let now = look_up(expansion, &inventories, Severity::Warning).members;
        let pairs = now.iter().zip(&self.reading.members).enumerate();
        let changed: Vec<usize> = pairs
            .filter(|(_, (now, before))| now != before)
            .map(|(index, _)| index)
            .collect();
        let generation = Some(self.module.generation()?);
        // What somebody else has changed may have been any of them.
        let written = if self.generation == generation {
            changed.clone()
        } else {
            if self.complaint.is_none() {
                self.say(json!({ "event": "changed" }), FOREIGN);
            }
            (0..now.len()).collect()
        };
        if written.is_empty() {
            self.generation = generation;
            self.complaint = None;
            return Ok(Next::Wait);
        }
        match self.write(self.edits(&now, &written).as_bytes(), true)? {
            Written::InForce => {
                self.reading.members = now;
                for index in changed {
                    self.say_set(index, Some(cause));
                }
            }
            Written::OnTrial => {}
            // The words may be about what another writer has tried.
            Written::Refused(why) if self.lacks_set(&why) => {
                self.say_error("somebody else has put another table in force, which is left alone");
                return Ok(Next::End(Outcome::Negative));
            }
            Written::Refused(why) => self.complain(&why),
        }
        Ok(Next::Wait)
    }

    /// Whether that was refused because a set of this table is not there.
    fn lacks_set(&self, why: &str) -> bool {
        let mut sets = self.reading.expansion.sets.iter();
        sets.any(|set| why.contains(&format!("got \"{}\", {NO_SET}", set.name)))
    }

    /// Looks after the table when nothing has happened.
    fn look(&mut self) -> anyhow::Result<Next> {
        if self.reload {
            if let Next::End(outcome) = self.load()? {
                return Ok(Next::End(outcome));
            }
            return self.settle(None);
        }
        let text = match (self.complaint.is_some(), self.is_in_force()?) {
            // What could not be done may be done now.
            (true, _) => "trying again",
            (false, true) => return self.settle(None),
            (false, false) => FOREIGN,
        };
        self.update(&Cause {
            text: text.to_owned(),
            time: None,
        })
    }

    /// Whether nobody else has changed the table.
    fn is_in_force(&self) -> anyhow::Result<bool> {
        Ok(self.generation == Some(self.module.generation()?))
    }

    /// What gives the sets with these indices their members.
    fn edits(&self, members: &[Vec<String>], which: &[usize]) -> String {
        let mut text = String::new();
        for index in which {
            let set = self.reading.expansion.sets.get(*index);
            let (Some(set), Some(members)) = (set, members.get(*index)) else {
                continue;
            };
            for line in statement(&set.name, members, true) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }

    /// Says, once, why what is known cannot be put in force yet.
    fn complain(&mut self, why: &str) {
        if self.complaint.as_deref() != Some(why) {
            self.say_error(&format!("the table could not be changed: {why}"));
        }
        self.complaint = Some(why.to_owned());
    }

    fn leave(&mut self, signal: Signal) -> Next {
        self.say(
            json!({ "event": "ended", "signal": signal.as_str() }),
            &format!("{signal}: ended; the table stays in force as it is"),
        );
        Next::End(Outcome::Fine)
    }

    fn say_set(&mut self, index: usize, cause: Option<&Cause>) {
        let set = self.reading.expansion.sets.get(index);
        let (Some(set), Some(members)) = (set, self.reading.members.get(index)) else {
            return;
        };
        let ago = cause.and_then(|cause| milliseconds_since(cause.time?));
        let mut text = match &members[..] {
            [] => format!("set {} {{ }}", set.name),
            some => format!("set {} {{ {} }}", set.name, some.join(", ")),
        };
        if let Some(cause) = cause {
            text.push_str(&format!(", after {}", cause.text));
        }
        if let Some(ago) = ago {
            text.push_str(&format!(" {ago} ms ago"));
        }
        let told = json!({
            "event": "set",
            "set": set.name,
            "members": members,
            "cause": cause.map(|cause| &cause.text),
            "milliseconds": ago,
        });
        self.say(told, &text);
    }

    fn say_of_engine(&mut self, index: usize, lost: Option<&str>) {
        let name = self
            .endpoints
            .get(index)
            .map_or(String::new(), Endpoint::name);
        let told = json!({ "event": "engine", "engine": name, "lost": lost });
        let text = match lost {
            Some(why) => format!("{name}: {why}"),
            None => format!("{name}: it answers"),
        };
        self.say(told, &text);
    }

    fn say_error(&mut self, text: &str) {
        self.say(json!({ "event": "error", "message": text }), text);
    }

    /// One line: JSON on standard output, or text on standard error. Who does not read it does not stop
    /// the watch.
    fn say(&mut self, told: serde_json::Value, text: &str) {
        if self.json {
            let lines_left_out = |lines| json!({ "event": "left_out", "lines": lines });
            let gap = |lines| format!("{}\n", lines_left_out(lines)).into_bytes();
            self.teller.tell(format!("{told}\n").into_bytes(), gap);
        } else {
            self.teller
                .tell(format!("ctrfw: {text}\n").into_bytes(), gap);
        }
    }
}

/// What is said if nobody has read what was said before.
fn gap(lines: u64) -> Vec<u8> {
    format!("ctrfw: {lines} messages left out, as nobody read them\n").into_bytes()
}

fn milliseconds_since(nanoseconds: u64) -> Option<u128> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let then = Duration::from_nanos(nanoseconds);
    Some(now.checked_sub(then)?.as_millis())
}
