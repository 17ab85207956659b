// SPDX-License-Identifier: GPL-2.0

//! Tables on trial, with plain files in the place of the module's: what is written there is seen, but
//! the generation moves only if the test says so.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tempfile::TempDir;

const OLD: &str = "deny comment \"old\"\n";
const NEW: &str = "deny comment \"new\"\n";

/// A trial of `NEW`, where `OLD` was in force as generation 7.
struct Trial {
    place: TempDir,
    command: Option<Child>,
}

impl Trial {
    /// With the files that there are before it begins.
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        fs::create_dir(place.path().join("proc")).unwrap();
        let trial = Self {
            place,
            command: None,
        };
        trial.write("proc/rules", OLD);
        trial.status(7, "none");
        trial.write("new", NEW);
        trial
    }

    /// Begins it; returns once `NEW` is in force.
    fn begin(seconds: &str, more: &[&str]) -> Self {
        let mut trial = Self::new();
        trial.load(seconds, more);
        trial.status(8, "none");
        trial
    }

    /// Has each who reads the status told anew, by whether `NEW` is in force.
    fn tell(&self, status: impl Fn(bool) -> String + Send + 'static) {
        let (path, rules) = (self.path("proc/status"), self.path("proc/rules"));
        let next = self.path("next");
        let pipe = move || {
            nix::unistd::mkfifo(&next, nix::sys::stat::Mode::S_IRWXU)?;
            fs::rename(&next, &path)?;
            Ok::<_, io::Error>(path.clone())
        };
        let mut here = pipe().unwrap();
        thread::spawn(move || {
            // Until the place is gone.
            while let Ok(mut reader) = fs::OpenOptions::new().write(true).open(&here) {
                // A pipe for each: who still reads this one would be told twice otherwise.
                let Ok(next) = pipe() else { return };
                here = next;
                let text = status(fs::read_to_string(&rules).unwrap().ends_with(NEW));
                // If he has gone, he does not want to know.
                reader.write_all(text.as_bytes()).unwrap_or_default();
            }
        });
    }

    /// Begins it, with the files as they are; returns once `NEW` is in force.
    fn load(&mut self, seconds: &str, more: &[&str]) {
        let mut command = self.ctrfw(&["load", "--json", "--confirm", seconds]);
        let process = command
            .arg(self.path("new"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.command = Some(process);
        self.until(|trial| trial.read("proc/rules").ends_with(NEW));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What the module would tell.
    fn status(&self, generation: u64, last_error: &str) {
        self.write("proc/status", &status(generation, last_error));
    }

    fn until(&self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        while !done(self) {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ctrfw(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ctrfw"));
        command.arg("--proc").arg(self.path("proc"));
        command.arg("--run").arg(self.path("run")).args(args);
        command
    }

    /// The exit code and JSON of a command that is run while the trial goes on.
    fn run(&self, args: &[&str]) -> (Option<i32>, Value) {
        told(&self.ctrfw(args).arg("--json").output().unwrap())
    }

    /// The exit code of the command that began it, and how it says that it ended.
    fn end(&mut self) -> (Option<i32>, Value) {
        let (code, told) = told(&self.command.take().unwrap().wait_with_output().unwrap());
        (code, told["ending"].clone())
    }
}

fn status(generation: u64, last_error: &str) -> String {
    format!("version 0.1.0\ngeneration {generation}\nlast_error {last_error}\n")
}

fn told(output: &Output) -> (Option<i32>, Value) {
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), json)
}

#[test]
fn the_old_table_comes_back_in_time() {
    let mut trial = Trial::new();
    trial.tell(|new| status(if new { 8 } else { 7 }, "none"));
    trial.load("1", &[]);
    let reverted = json!({"outcome": "reverted", "reason": "time_out"});
    assert_eq!(trial.end(), (Some(1), reverted.clone()));
    assert_eq!(trial.read("proc/rules"), format!("if generation 8\n{OLD}"));
    let (code, told) = trial.run(&["confirm"]);
    assert_eq!((code, &told["waiting"]), (Some(1), &json!(false)));
    assert_eq!(told["ending"], reverted);
}

#[test]
fn what_is_confirmed_stays() {
    let mut trial = Trial::begin("600", &[]);
    assert_eq!(trial.read("run/previous.rules"), OLD);
    let (code, told) = trial.run(&["confirm"]);
    assert_eq!(
        (code, &told["ending"]["outcome"]),
        (Some(0), &json!("confirmed"))
    );
    assert_eq!(trial.end(), (Some(0), json!({"outcome": "confirmed"})));
    assert_eq!(trial.read("proc/rules"), format!("if generation 7\n{NEW}"));
    assert!(!trial.path("run/previous.rules").exists());
}

#[test]
fn an_addition_is_reverted_as_a_whole() {
    let mut trial = Trial::begin("600", &["--append"]);
    // In the module's file what is rehearsed before changes nothing.
    let rules = trial.read("proc/rules");
    assert!(
        rules.ends_with(&format!("if generation 7\n{NEW}")),
        "{rules}"
    );
    let (code, told) = trial.run(&["load", "--append", "/dev/null", "--confirm", "5"]);
    assert_eq!((code, &told["ending"]), (Some(0), &Value::Null));
    assert_eq!(trial.run(&["confirm", "--revert"]).0, Some(0));
    assert_eq!(trial.end().0, Some(1));
    assert_eq!(trial.read("proc/rules"), format!("if generation 8\n{OLD}"));
}

#[test]
fn what_somebody_else_loaded_is_left_alone() {
    for wish in [&["confirm"][..], &["confirm", "--revert"]] {
        let mut trial = Trial::begin("600", &[]);
        let stale = "rules line 1: the table in force is generation 9, not 8";
        trial.status(9, stale);
        let (code, told) = trial.run(wish);
        let superseded = json!({"outcome": "superseded"});
        assert_eq!((code, &told["ending"]), (Some(1), &superseded));
        assert_eq!(trial.end(), (Some(1), superseded));
        assert_eq!(trial.read("proc/rules"), format!("if generation 7\n{NEW}"));
    }
}

/// Somebody else's write, on the same condition, fails as soon as `NEW` is in force.
#[test]
fn the_error_of_somebody_else_does_not_end_it() {
    let mut trial = Trial::new();
    trial.tell(|new| match new {
        true => status(8, "rules the table in force is generation 8, not 7"),
        false => status(7, "none"),
    });
    trial.load("600", &[]);
    trial.until(|trial| {
        trial
            .ctrfw(&["confirm", "--revert"])
            .output()
            .unwrap()
            .status
            .success()
    });
    let reverted = json!({"outcome": "reverted", "reason": "asked"});
    assert_eq!(trial.end(), (Some(1), reverted));
    assert_eq!(trial.read("proc/rules"), format!("if generation 8\n{OLD}"));
}

#[test]
fn what_could_not_be_put_back_stays() {
    let trial = Trial::new();
    // It fits into a file of 1 KiB, but not with its condition.
    let old = format!("deny comment \"{}\"\n", "o".repeat(120)).repeat(7);
    let old = format!("{old}{}\n", "#".repeat(1023 - old.len()));
    trial.write("proc/rules", &old);
    let load = trial.ctrfw(&["load", "--confirm", "600"]);
    let script = r#"trap "" XFSZ; exec prlimit --fsize=1024 "$@""#;
    let done = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(load.get_program())
        .args(load.get_args())
        .arg(trial.path("new"))
        .output()
        .unwrap();
    let complaint = String::from_utf8(done.stderr).unwrap();
    assert!(complaint.contains("could not be put back"), "{complaint}");
    assert_eq!(done.status.code(), Some(2));
    assert!(!trial.read("proc/rules").contains(NEW));
    assert!(!trial.path("run/previous.rules").exists());
}

#[test]
fn what_is_told_of_one_that_is_over() {
    let mut trial = Trial::new();
    fs::create_dir(trial.path("run")).unwrap();
    trial.write("run/previous.rules", OLD);
    let previous = trial.path("run/previous.rules");
    let stuck = json!({
        "outcome": "stuck", "reason": "asked", "error": "no memory", "previous": previous,
    });
    trial.write("run/last", &stuck.to_string());
    let told = trial.ctrfw(&["confirm"]).output().unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("COULD NOT BE REVERTED (as asked for): no memory"),
        "{told}"
    );
    assert!(!told.contains("killed"), "{told}");
    // The next one, of whose end nobody tells, has nothing to do with it.
    trial.load("600", &[]);
    assert!(!trial.path("run/last").exists());
}

#[test]
fn one_at_a_time() {
    let mut trial = Trial::begin("600", &[]);
    let path = trial.path("new");
    let second = trial.run(&["load", "--confirm", "5", path.to_str().unwrap()]);
    assert_eq!(second.0, Some(2));
    assert_eq!(trial.run(&["confirm"]).0, Some(0));
    assert_eq!(trial.end().0, Some(0));
}

#[test]
fn a_command_that_is_killed_confirms_nothing() {
    let mut trial = Trial::begin("600", &[]);
    trial.command.as_mut().unwrap().kill().unwrap();
    assert_eq!(trial.end().0, None);
    // With that the keeper is done.
    trial.until(|trial| !trial.path("run/previous.rules").exists());
    assert_eq!(trial.read("proc/rules"), format!("if generation 8\n{OLD}"));
    let (_, told) = trial.run(&["confirm"]);
    assert_eq!(told["ending"]["reason"], "command_died");
}

#[test]
fn what_is_no_time() {
    let trial = Trial::begin("600", &[]);
    for seconds in ["0", "-1", "86401", "soon"] {
        assert_eq!(trial.run(&["load", "--confirm", seconds, "-"]).0, Some(2));
    }
    assert_eq!(trial.run(&["confirm"]).0, Some(0));
}

impl Drop for Trial {
    fn drop(&mut self) {
        // The keeper reverts, and ends, if the command does.
        if let Some(mut command) = self.command.take() {
            command.kill().unwrap_or_default();
            command.wait().unwrap();
        }
    }
}
