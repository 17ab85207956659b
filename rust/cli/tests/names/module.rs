// SPDX-License-Identifier: GPL-2.0

//! The module's files, in a folder: a text that is written to `rules` is in force when `status` is read next.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// What is done before somebody reads `status`.
type Chance = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    generation: u64,
    /// What was in `rules` when `status` was read last
    rules: Vec<u8>,
    refusal: Option<String>,
    chance: Option<Chance>,
}

#[derive(Clone, Default)]
pub struct Module(Arc<Mutex<State>>);

impl Module {
    /// A module without a table.
    pub fn new(folder: &Path) -> Self {
        let module = Self::default();
        fs::write(folder.join("rules"), "").unwrap();
        let (folder, state) = (folder.to_owned(), module.0.clone());
        // Each reader gets a pipe of his own, and so what holds while he reads.
        let status = pipe(&folder);
        thread::spawn(move || serve(&folder, &state, status));
        module
    }

    /// Somebody else puts something in force.
    pub fn change(&self) {
        self.0.lock().unwrap().generation += 1;
    }

    /// All is refused for this reason, or nothing any more.
    pub fn refuse(&self, why: Option<&str>) {
        self.0.lock().unwrap().refusal = why.map(str::to_owned);
    }

    /// The next text is refused for this reason; then `chance` is taken at once.
    pub fn refuse_once(&self, why: &str, chance: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock().unwrap();
        state.refusal = Some(why.to_owned());
        state.chance = Some(Box::new(chance));
    }
}

fn pipe(folder: &Path) -> PathBuf {
    let new = folder.join("new");
    mkfifo(&new, Mode::S_IRWXU).unwrap();
    let status = folder.join("status");
    fs::rename(new, &status).unwrap();
    status
}

fn serve(folder: &Path, state: &Mutex<State>, status: PathBuf) {
    // Until the folder is gone
    while let Ok(mut reader) = OpenOptions::new().write(true).open(&status) {
        if !folder.exists() {
            return;
        }
        pipe(folder);
        let mut state = state.lock().unwrap();
        let rules = fs::read(folder.join("rules")).unwrap_or_default();
        let written = rules != state.rules;
        if written && state.refusal.is_none() {
            state.generation += 1;
        }
        state.rules = rules;
        let refusal = match &state.refusal {
            Some(why) => format!("rules {why}"),
            None => "none".to_owned(),
        };
        if let Some(chance) = state.chance.take_if(|_| written) {
            state.refusal = None;
            chance();
        }
        let generation = state.generation;
        let text = format!("version 0.1.0\ngeneration {generation}\nlast_error {refusal}\n");
        reader.write_all(text.as_bytes()).unwrap_or_default();
    }
}
