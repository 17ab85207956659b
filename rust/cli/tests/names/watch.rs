// SPDX-License-Identifier: GPL-2.0

//! `ctrfw watch`, with an engine and a module of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{
    container, endpoint, member, network, Engine, BACK, BRIDGE, OTHER, PATIENCE, WEB,
};
use crate::module::Module;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};
use tempfile::TempDir;

const TABLE: &str = "allow from container:web\ndeny to label:tier out network:back\n";

struct Watch {
    folder: TempDir,
    module: Module,
    child: Child,
    lines: Receiver<Value>,
}

impl Watch {
    fn new(engines: &[&Engine], table: &str) -> Self {
        Self::over(TempDir::new().unwrap(), engines, table)
    }

    /// In a folder in which something is already.
    fn over(folder: TempDir, engines: &[&Engine], table: &str) -> Self {
        let module = Module::new(folder.path());
        fs::write(folder.path().join("table"), table).unwrap();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("ctrfw"));
        command
            .args(["watch", "--json", "--proc"])
            .arg(folder.path());
        for engine in engines {
            command.args(["--engine", &engine.name()]);
        }
        let mut child = command
            .arg("--run")
            .arg(folder.path().join("run"))
            .arg("--socket")
            .arg(folder.path().join("hooks/watch.sock"))
            .arg(folder.path().join("table"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = child.stdout.take().unwrap();
        thread::spawn(move || {
            let mut lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.all(|line| sender.send(serde_json::from_str(&line).unwrap()).is_ok())
        });
        Self {
            folder,
            module,
            child,
            lines,
        }
    }

    /// The next line that tells of this.
    fn next(&self, event: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no {event}"));
            if line["event"] == event {
                return line;
            }
        }
    }

    /// The members of the set that changes next.
    fn set(&self, name: &str) -> Vec<String> {
        let line = self.next("set");
        assert_eq!(line["set"], name, "{line}");
        let members = line["members"].as_array().unwrap().iter();
        members
            .map(|member| member.as_str().unwrap().to_owned())
            .collect()
    }

    fn rules(&self) -> PathBuf {
        self.folder.path().join("rules")
    }

    /// What was written, but for the table that each was meant for.
    fn text(&self) -> String {
        let text = fs::read_to_string(self.rules()).unwrap();
        let lines = text.split_inclusive('\n');
        lines
            .filter(|line| !line.starts_with("if generation "))
            .collect()
    }

    /// Waits until this was written.
    fn wait_for(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while self.text() != text {
            assert!(Instant::now() < end, "{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Puts a table on trial, until what is returned is gone.
    fn trial(&self) -> UnixListener {
        trial(self.folder.path())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn code(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// As the keeper of the old table listens
fn trial(folder: &Path) -> UnixListener {
    let run = folder.join("run");
    fs::create_dir_all(&run).unwrap();
    fs::remove_file(run.join("socket")).unwrap_or_default();
    UnixListener::bind(run.join("socket")).unwrap()
}

fn created(name: &str, labels: Value) -> Value {
    container(
        WEB,
        name,
        "created",
        labels,
        json!({"bridge": endpoint("", "")}),
    )
}

fn bridge(members: Value) -> Value {
    network(BRIDGE, "bridge", "bridge", &["172.17.0.0/16"], members)
}

#[test]
fn a_container_comes_moves_and_goes() {
    let engine = Engine::docker();
    let mut watch = Watch::new(&[&engine], TABLE);
    watch.next("loaded");
    for name in ["container.web", "label.tier", "bridge.back"] {
        assert!(watch.set(name).is_empty());
    }
    assert_eq!(
        watch.text(),
        "set container.web { }\nset label.tier { }\nset bridge.back { }\n\
         allow from @container.web\ndeny to @label.tier out @bridge.back\n"
    );
    // Docker tells of the address while the container is only created.
    engine.answer(
        "/containers/json?all=1",
        json!([created("web", json!({"tier": "x"}))]),
    );
    engine.event(
        "container",
        "create",
        WEB,
        json!({"name": "web", "tier": "x"}),
    );
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    engine.event(
        "network",
        "connect",
        BRIDGE,
        json!({"container": WEB, "name": "bridge"}),
    );
    let line = watch.next("set");
    assert_eq!(line["members"], json!(["172.17.0.2"]));
    assert_eq!(line["cause"], "network connect bridge");
    assert!(line["milliseconds"].is_u64());
    assert_eq!(watch.set("label.tier"), ["172.17.0.2"]);
    // One transaction for both, which names no rule.
    assert!(watch.text().ends_with(
        "replace set container.web { 172.17.0.2 }\nreplace set label.tier { 172.17.0.2 }\n"
    ));
    // Another name, another network, another address.
    engine.answer(
        "/containers/json?all=1",
        json!([created("web9", json!({}))]),
    );
    engine.event(
        "container",
        "rename",
        WEB,
        json!({"name": "web9", "oldName": "/web"}),
    );
    assert!(watch.set("container.web").is_empty());
    assert!(watch.set("label.tier").is_empty());
    engine.answer("/containers/json?all=1", json!([created("web", json!({}))]));
    engine.event("container", "rename", WEB, json!({"name": "web"}));
    assert_eq!(watch.set("container.web"), ["172.17.0.2"]);
    let back = |members| network(BACK, "back", "bridge", &["172.18.0.0/16"], members);
    engine.networks(&[bridge(json!({})), back(json!({}))]);
    engine.event(
        "network",
        "create",
        BACK,
        json!({"name": "back", "type": "bridge"}),
    );
    assert!(watch.set("container.web").is_empty());
    assert_eq!(watch.set("bridge.back"), ["br-d1e66061ff80"]);
    engine.networks(&[
        bridge(json!({})),
        back(json!({WEB: member("web", "172.18.0.2/16", "fd00::2/64")})),
    ]);
    engine.event(
        "network",
        "connect",
        BACK,
        json!({"container": WEB, "name": "back"}),
    );
    assert_eq!(watch.set("container.web"), ["172.18.0.2", "fd00::2"]);
    engine.networks(&[bridge(json!({})), back(json!({}))]);
    engine.event(
        "network",
        "disconnect",
        BACK,
        json!({"container": WEB, "name": "back"}),
    );
    assert!(watch.set("container.web").is_empty());
    // A network that is gone is no reason to call the engine anew.
    engine.event("network", "disconnect", "dead", json!({"container": WEB}));
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.9/16", "")}))]);
    engine.event("network", "connect", BRIDGE, json!({"container": WEB}));
    let line = watch.lines.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (&line["event"], &line["members"]),
        (&"set".into(), &json!(["172.17.0.9"]))
    );
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.next("ended")["signal"], "SIGTERM");
    assert_eq!(watch.code(), 0);
}

#[test]
fn podman_is_not_asked_while_it_makes_a_container() {
    let engine = Engine::podman();
    let watch = Watch::new(&[&engine], "allow from label:tier=x\n");
    watch.next("loaded");
    watch.next("set");
    engine.event(
        "container",
        "create",
        "c3",
        json!({"name": "web", "tier": "x", "image": "tiny"}),
    );
    engine.answer(
        "/containers/c3/json",
        json!({
            "Id": "c3", "Name": "web", "Config": {"Labels": {"tier": "x"}}, "State": {"Status": "running"},
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {"podman": endpoint("10.88.0.2", "fd00::2")}},
        }),
    );
    engine.event("container", "init", "c3", json!({"name": "web"}));
    assert_eq!(
        watch.next("set")["members"],
        json!(["10.88.0.2", "fd00::2"])
    );
    engine.event("container", "die", "c3", json!({"name": "web"}));
    let line = watch.next("set");
    assert_eq!(
        (&line["members"], &line["cause"]),
        (&json!([]), &"container die web".into())
    );
}

#[test]
fn a_hook_tells_before_podman_does() {
    let engine = Engine::podman();
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("loaded");
    watch.next("set");
    let announce = |id: &str| {
        let mut hook = UnixStream::connect(watch.folder.path().join("hooks/watch.sock")).unwrap();
        let said = json!({"id": id, "addresses": ["10.88.0.2", "fd00::2"]});
        writeln!(hook, "{said}").unwrap();
        thread::spawn(move || {
            let mut answer = String::new();
            hook.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let folder = fs::metadata(watch.folder.path().join("hooks")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    // The engine's events may come later than the hook, which waits for them.
    let hook = announce("c3");
    thread::sleep(Duration::from_millis(100));
    assert!(!hook.is_finished());
    engine.event("container", "create", "c3", json!({"name": "web"}));
    assert_eq!(watch.set("container.web"), ["10.88.0.2", "fd00::2"]);
    assert_eq!(hook.join().unwrap(), "done\n");
    // It ends before the engine has told of its address.
    engine.event("container", "die", "c3", json!({"name": "web"}));
    assert!(watch.set("container.web").is_empty());
}

#[test]
fn what_is_no_socket_is_kept() {
    let engine = Engine::docker();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("hooks/watch.sock");
    fs::create_dir(folder.path().join("hooks")).unwrap();
    fs::write(&path, "mine").unwrap();
    let watch = Watch::over(folder, &[&engine], "allow from container:web\n");
    let message = watch.next("error")["message"].to_string();
    assert!(
        message.contains("something else than a socket"),
        "{message}"
    );
    watch.next("loaded");
    assert_eq!(fs::read_to_string(path).unwrap(), "mine");
}

#[test]
fn standard_input_cannot_be_watched() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("rules"), "deny\n").unwrap();
    let ran = Command::new(assert_cmd::cargo::cargo_bin("ctrfw"))
        .args(["watch", "-", "--proc"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(2));
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(told.contains("can be read again"), "{told}");
    let rules = fs::read_to_string(folder.path().join("rules")).unwrap();
    assert_eq!(rules, "deny\n");
}

#[test]
fn a_question_that_fails_is_asked_again() {
    let engine = Engine::docker();
    engine.answer("/containers/json?all=1", json!([created("web", json!({}))]));
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("set");
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    engine.answer("/networks", Value::Null);
    engine.answer(&format!("/networks/{BRIDGE}"), Value::Null);
    engine.event("network", "connect", BRIDGE, json!({"container": WEB}));
    let more = watch.lines.recv_timeout(Duration::from_millis(1500));
    assert!(more.is_err(), "{more:?}");
    // No other event comes.
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    let line = watch.next("set");
    assert_eq!(line["members"], json!(["172.17.0.2"]));
    assert_eq!(line["cause"], "the engine was asked again");
}

#[test]
fn an_event_without_an_end() {
    let engine = Engine::docker();
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("set");
    engine.wait();
    let name = "x".repeat(2 << 20);
    engine.event("network", "connect", BRIDGE, json!({"name": name}));
    let lost = watch.next("engine")["lost"].to_string();
    assert!(lost.contains("an event of more than"), "{lost}");
    // It is called again.
    engine.wait();
}

#[test]
fn names_that_would_reach_the_terminal() {
    let engine = Engine::docker();
    engine.answer("/containers/json?all=1", json!([created("web", json!({}))]));
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("set");
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    engine.event(
        "network",
        "connect",
        BRIDGE,
        json!({"container": WEB, "name": "a\u{1b}[2J\n"}),
    );
    assert_eq!(watch.next("set")["cause"], "network connect a?[2J?");
}

#[test]
fn a_module_that_cannot_be_asked_for_a_while() {
    let engine = Engine::docker();
    engine.answer("/containers/json?all=1", json!([created("web", json!({}))]));
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("set");
    let (rules, away) = (watch.rules(), watch.folder.path().join("away"));
    fs::rename(&rules, &away).unwrap();
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    engine.event("network", "connect", BRIDGE, json!({"container": WEB}));
    let message = watch.next("error")["message"].to_string();
    assert!(message.contains("could not be changed"), "{message}");
    fs::rename(&away, &rules).unwrap();
    assert_eq!(watch.set("container.web"), ["172.17.0.2"]);
}

#[test]
fn an_engine_goes_and_comes_back() {
    let engine = Engine::docker();
    engine.answer("/containers/json?all=1", json!([created("web", json!({}))]));
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    let mut watch = Watch::new(&[&engine], "allow from container:web\n");
    assert_eq!(watch.set("container.web"), ["172.17.0.2"]);
    engine.wait();
    // While it is away nobody gets another address; then everything is asked for anew.
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.3/16", "")}))]);
    engine.hang_up();
    assert_eq!(watch.next("engine")["lost"], "it ended the connection");
    engine.wait();
    assert_eq!(watch.set("container.web"), ["172.17.0.3"]);
    // What it tells while it ends counts, though it can be asked no more.
    engine.deafen();
    engine.event("network", "disconnect", BRIDGE, json!({"container": WEB}));
    assert!(watch.set("container.web").is_empty());
    engine.hang_up();
    watch.next("engine");
    let more = watch.lines.recv_timeout(Duration::from_millis(300));
    assert!(more.is_err(), "it is told once");
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.code(), 0);
}

#[test]
fn two_engines_one_of_which_is_not_there() {
    let (docker, podman) = (Engine::docker(), Engine::podman());
    podman.deafen();
    let watch = Watch::new(&[&docker, &podman], "allow from container:web\n");
    let mut lost = 0;
    for _ in 0..2 {
        lost += usize::from(!watch.next("engine")["lost"].is_null());
    }
    assert_eq!(lost, 1);
    watch.next("loaded");
}

#[test]
fn sighup_reads_the_file_again() {
    let engine = Engine::docker();
    engine.answer("/containers/json?all=1", json!([created("web", json!({}))]));
    engine.networks(&[bridge(json!({WEB: member("web", "172.17.0.2/16", "")}))]);
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    assert_eq!(watch.set("container.web"), ["172.17.0.2"]);
    let table = watch.folder.path().join("table");
    fs::write(&table, "deny from container:web\nbogus\n").unwrap();
    let before = watch.text();
    watch.signal(Signal::SIGHUP);
    assert!(watch.next("error").get("problem").is_some());
    watch.next("error");
    assert_eq!(watch.text(), before);
    fs::write(&table, "deny from container:web\n").unwrap();
    watch.signal(Signal::SIGHUP);
    watch.next("loaded");
    assert_eq!(
        watch.text(),
        "set container.web { 172.17.0.2 }\ndeny from @container.web\n"
    );
    // It goes on with the new one.
    watch.next("set");
    engine.networks(&[bridge(json!({}))]);
    engine.event("network", "disconnect", BRIDGE, json!({"container": WEB}));
    assert!(watch.set("container.web").is_empty());
}

#[test]
fn somebody_else_changes_the_table() {
    let engine = Engine::docker();
    let mut watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("loaded");
    watch.next("set");
    // An edit: the sets are put right, whatever was done to them.
    let before = watch.text();
    watch.module.change();
    watch.next("changed");
    watch.wait_for(&format!("{before}replace set container.web {{ }}\n"));
    // Somebody else's failure
    watch.module.refuse(Some(
        "line 2 column 13: got \"other\", expected the name of a set of the table, replaced once",
    ));
    watch.module.change();
    assert!(watch.next("error")["message"]
        .as_str()
        .unwrap()
        .contains("could not be changed"));
    // Another table
    watch.module.refuse(Some(
        "line 2 column 13: got \"container.web\", expected the name of a set of the table, replaced once",
    ));
    watch.module.change();
    assert!(watch.next("error")["message"]
        .as_str()
        .unwrap()
        .contains("another table"));
    assert_eq!(watch.code(), 1);
}

#[test]
fn a_table_on_trial_is_left_alone() {
    let engine = Engine::docker();
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("loaded");
    watch.next("set");
    let before = watch.text();
    let keeper = watch.trial();
    watch.module.change();
    watch.next("changed");
    let complaint = watch.next("error")["message"].to_string();
    assert!(complaint.contains("on trial"), "{complaint}");
    assert_eq!(watch.text(), before);
    // It is over, and the old one in force again.
    watch.module.change();
    drop(keeper);
    watch.wait_for(&format!("{before}replace set container.web {{ }}\n"));
}

#[test]
fn a_trial_that_begins_while_an_edit_is_tried_again() {
    for why in [
        "somebody else changed the table meanwhile",
        "line 1: the table in force is generation 2, not 1",
    ] {
        let engine = Engine::docker();
        let watch = Watch::new(&[&engine], "allow from container:web\n");
        watch.next("set");
        let before = watch.text();
        let folder = watch.folder.path().to_owned();
        let (sender, keeper) = channel();
        let begin = move || sender.send(trial(&folder)).unwrap();
        watch.module.refuse_once(why, begin);
        watch.module.change();
        let complaint = watch.next("error")["message"].to_string();
        assert!(complaint.contains("on trial"), "{complaint}");
        // The one that was refused is not followed by another.
        let edit = "replace set container.web { }\n";
        assert_eq!(watch.text(), format!("{before}{edit}"));
        drop(keeper.recv_timeout(PATIENCE).unwrap());
        watch.wait_for(&format!("{before}{edit}{edit}"));
    }
}

#[test]
fn nothing_is_loaded_over_a_table_on_trial() {
    let engine = Engine::docker();
    let folder = TempDir::new().unwrap();
    let keeper = trial(folder.path());
    let watch = Watch::over(folder, &[&engine], "allow from container:web\n");
    let complaint = watch.next("error")["message"].to_string();
    assert!(complaint.contains("on trial"), "{complaint}");
    assert_eq!(watch.text(), "");
    drop(keeper);
    watch.next("loaded");
    watch.next("set");
    let before = watch.text();
    assert!(before.ends_with("allow from @container.web\n"));
    let keeper = watch.trial();
    fs::write(watch.folder.path().join("table"), "deny\n").unwrap();
    watch.signal(Signal::SIGHUP);
    let complaint = watch.next("error")["message"].to_string();
    assert!(complaint.contains("on trial"), "{complaint}");
    assert_eq!(watch.text(), before);
    drop(keeper);
    watch.next("loaded");
    assert_eq!(watch.text(), "deny\n");
}

#[test]
fn what_cannot_be_done_is_tried_again() {
    let engine = Engine::docker();
    engine.answer(
        "/containers/json?all=1",
        json!([container(
            OTHER,
            "web",
            "created",
            json!({}),
            json!({"bridge": endpoint("", "")})
        )]),
    );
    let watch = Watch::new(&[&engine], "allow from container:web\n");
    watch.next("set");
    watch.module.refuse(Some("line 2: no memory"));
    engine.networks(&[bridge(json!({OTHER: member("web", "172.17.0.2/16", "")}))]);
    engine.event("network", "connect", BRIDGE, json!({"container": OTHER}));
    assert!(watch.next("error")["message"]
        .as_str()
        .unwrap()
        .contains("no memory"));
    watch.module.refuse(None);
    assert_eq!(watch.set("container.web"), ["172.17.0.2"]);
}

#[test]
fn a_file_with_errors_at_first() {
    let engine = Engine::docker();
    let mut watch = Watch::new(&[&engine], "allow from container:web\nbogus\n");
    assert_eq!(watch.code(), 1);
    assert_eq!(watch.text(), "");
}
