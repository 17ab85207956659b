// SPDX-License-Identifier: GPL-2.0

//! Names of containers and networks in files, as engines resolve them.

use std::fs;

use crate::engine::{
    container, endpoint, member, module, network, Engine, BACK, BRIDGE, HOST, OTHER, WEB,
};
use assert_cmd::Command;
use serde_json::{json, Value};
use tempfile::TempDir;

/// Docker with web in two networks, job stopped, api in the host's, side in web's.
fn docker() -> Engine {
    let engine = Engine::docker();
    engine.answer(
        "/containers/json?all=1",
        json!([
            container(
                WEB,
                "web",
                "running",
                json!({"com.docker.compose.project": "shop", "tier": "front"}),
                json!({"bridge": endpoint("172.17.0.2", ""), "back": endpoint("172.18.0.3", "fd00:1::3")}),
            ),
            container(OTHER, "job", "exited", json!({"tier": ""}), json!({"back": endpoint("", "")})),
            container("0a", "api", "running", json!({}), json!({"host": endpoint("", "")})),
            container("0b", "side", "running", json!({"tier": "back"}), json!({})),
        ]),
    );
    engine.networks(&[
        network(
            BRIDGE,
            "bridge",
            "bridge",
            &["172.17.0.0/16"],
            json!({WEB: member("web", "172.17.0.2/16", "")}),
        ),
        network(
            BACK,
            "back",
            "bridge",
            &["fd00:1::/64", "172.18.0.0/16"],
            json!({WEB: member("web", "172.18.0.3/16", "fd00:1::3/64")}),
        ),
        network(
            HOST,
            "host",
            "host",
            &[],
            json!({"0a": member("api", "", "")}),
        ),
    ]);
    engine
}

/// The exit code, both outputs, and the rules that are there then; `rules` are in force before.
fn ctrfw_over(rules: &str, args: &[&str], input: &str) -> (i32, String, String, String) {
    let proc = TempDir::new().unwrap();
    module(proc.path(), rules, "none");
    let ran = Command::cargo_bin("ctrfw")
        .unwrap()
        .env_remove("DOCKER_HOST")
        .arg("--proc")
        .arg(proc.path())
        .args(args)
        .write_stdin(input)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let rules = fs::read_to_string(proc.path().join("rules")).unwrap();
    (
        ran.status.code().unwrap(),
        text(ran.stdout),
        text(ran.stderr),
        rules,
    )
}

fn load(engine: &Engine, input: &str) -> (i32, String, String) {
    let (code, _, err, rules) =
        ctrfw_over("old\n", &["load", "-", "--engine", &engine.name()], input);
    (code, err, rules)
}

#[test]
fn names_become_sets() {
    let engine = docker();
    for (rule, set, named) in [
        (
            "allow from container:web",
            "set container.web { 172.17.0.2, 172.18.0.3, fd00:1::3 }",
            "allow from @container.web",
        ),
        (
            "deny to !network:back dport 80",
            "set network.back { 172.18.0.0/16, fd00:1::/64 }",
            "deny to !@network.back dport 80",
        ),
        (
            "allow in network:back out network:bridge",
            "set bridge.back { br-d1e66061ff80 }\nset bridge.bridge { docker0 }",
            "allow in @bridge.back out @bridge.bridge",
        ),
        (
            "allow from { container:web, 10.0.0.0/8, 172.18.0.3, }",
            "set container.web.b2c2df { 10.0.0.0/8, 172.18.0.3, 172.17.0.2, fd00:1::3 }",
            "allow from @container.web.b2c2df",
        ),
        (
            "allow in 80,network:back",
            "set bridge.back.c1d68b { \"80\", br-d1e66061ff80 }",
            "allow in @bridge.back.c1d68b",
        ),
        ("insert 1 deny from \"label:tier=front\"", "", ""),
        (
            "deny from label:tier=front # container:none",
            "set label.tier_front.5a7b31 { 172.17.0.2, 172.18.0.3, fd00:1::3 }",
            "deny from @label.tier_front.5a7b31 # container:none",
        ),
        // A container in the network namespace of another has the other's addresses.
        (
            "deny from container:side comment \"container:none\"",
            "set container.side { 172.17.0.2, 172.18.0.3, fd00:1::3 }",
            "deny from @container.side comment \"container:none\"",
        ),
    ] {
        let (code, err, rules) = load(&engine, &format!("{rule}\n"));
        if set.is_empty() {
            assert_eq!(code, 1, "{rule}: edits are for --append");
            continue;
        }
        assert_eq!((code, err.as_str()), (0, ""), "{rule}");
        // The digits of a hash are not the point.
        let hashless = |text: &str| {
            let mut out = String::new();
            let mut rest = text;
            while let Some(at) = rest.find('.') {
                let (before, after) = rest.split_at(at + 1);
                out.push_str(before);
                let hash = after
                    .get(..6)
                    .is_some_and(|h| h.chars().all(|c| c.is_ascii_hexdigit()));
                rest = if hash { &after[6..] } else { after };
            }
            out + rest
        };
        assert_eq!(
            hashless(&rules),
            hashless(&format!("{set}\n{named}\n")),
            "{rule}"
        );
    }
}

#[test]
fn sets_of_the_file() {
    let engine = docker();
    let text = "# first\nset lan {\n\t10.0.0.1, # one\n\tcontainer:web,\n}\nallow from @lan\n\
                set none { container:job }\nallow to !@none\n";
    let (code, err, rules) = load(&engine, text);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        rules,
        "set lan { 10.0.0.1, 172.17.0.2, 172.18.0.3, fd00:1::3 }\nset none { }\n\
         # first\n\n\n\n\nallow from @lan\n\nallow to !@none\n"
    );
    assert!(
        err.starts_with("<stdin>:7:12: warning: container:job: the container has no address now\n")
    );
}

#[test]
fn bridges_with_names_of_their_own() {
    for (driver, bridge, members) in [
        ("bridge", "lan0", "{ lan0 }"),
        // They are not taken for ports, addresses or sets.
        ("bridge", "80", "{ \"80\" }"),
        ("bridge", "10.0.0.1", "{ \"10.0.0.1\" }"),
        ("bridge", "@lan", "{ \"@lan\" }"),
        ("bridge", "a,b", "{ \"a,b\" }"),
        ("bridge", "}", "{ \"}\" }"),
        // No device is called so.
        ("bridge", "*", "{ }"),
        ("bridge", "eth*", "{ }"),
        ("bridge", "a\"b", "{ }"),
        ("bridge", "a }\nallow", "{ }"),
        ("bridge", "0123456789abcdef", "{ }"),
        ("bridge", "", "{ }"),
        // It has none, whatever it says.
        ("macvlan", "lan0", "{ }"),
    ] {
        let engine = Engine::docker();
        let mut network = network(BACK, "back", driver, &[], json!({}));
        network["Options"] = json!({"com.docker.network.bridge.name": bridge});
        engine.networks(&[network]);
        let (code, err, rules) = load(&engine, "deny in network:back\n");
        assert_eq!(code, 0, "{bridge}: {err}");
        let expected = format!("set bridge.back {members}\ndeny in @bridge.back\n");
        assert_eq!(rules, expected, "{bridge}");
        assert_eq!(members == "{ }", err.contains("no bridge"), "{err}");
        let args = ["check", "-"];
        assert_eq!(ctrfw_over("", &args, &rules).0, 0, "{rules}");
    }
}

#[test]
fn the_same_name_once_and_no_clash() {
    let engine = docker();
    let text = "set container.web { 192.0.2.1 }\nallow from container:web\ndeny to container:web\n\
                deny from @container.web\n";
    let (code, err, rules) = load(&engine, text);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(rules.matches("172.17.0.2").count(), 1, "{rules}");
    assert!(rules.ends_with("deny from @container.web\n"));
}

#[test]
fn what_is_added_to_a_table() {
    let engine = docker();
    let base = "set container.web { 172.17.0.9 }\nallow from @container.web\n";
    let args = ["load", "--append", "-", "--engine", &engine.name()];
    let text = "insert 1 deny to container:web\nallow from network:back\n";
    let (code, _, err, rules) = ctrfw_over(base, &args, text);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        rules.strip_prefix(base).unwrap(),
        "replace set container.web { 172.17.0.2, 172.18.0.3, fd00:1::3 }\n\
         set network.back { 172.18.0.0/16, fd00:1::/64 }\n\
         insert 1 deny to @container.web\nallow from @network.back\n"
    );
}

#[test]
fn names_of_nothing() {
    let engine = docker();
    let (code, err, rules) = load(&engine, "allow\n  deny from container:wep\n");
    assert_eq!((code, rules.as_str()), (1, "old\n"));
    assert_eq!(
        err,
        "<stdin>:2:13: error: container:wep: no engine has a container of this name
      deny from container:wep
                ^^^^^^^^^^^^^
ctrfw: nothing changed: <stdin>: errors in the file
"
    );
    for (text, message) in [
        (
            "deny to network:bak",
            "no engine has a network of this name",
        ),
        (
            "deny to label:tier=none",
            "no engine has a container with this label",
        ),
        ("deny to container:api", "uses the host's network"),
    ] {
        let (code, err, _) = load(&engine, text);
        assert_eq!(code, 1, "{text}");
        assert!(err.contains(message), "{err}");
    }
    let name = engine.name();
    let args = ["load", "--allow-missing", "-", "--engine", &name];
    let (code, _, err, rules) = ctrfw_over("old\n", &args, "deny from !container:wep");
    assert_eq!(code, 0);
    assert_eq!(rules, "set container.wep { }\ndeny from !@container.wep\n");
    assert!(
        err.contains("<stdin>:1:12: warning: container:wep"),
        "{err}"
    );
    let (code, out, ..) = ctrfw_over(
        "",
        &["check", "-", "--engine", &name],
        "deny from container:wep",
    );
    assert_eq!(code, 0);
    assert!(
        out.contains("<stdin>:1:11: warning: container:wep"),
        "{out}"
    );
}

#[test]
fn wrong_names_and_places() {
    let engine = docker();
    for (text, place, message) in [
        (
            "deny from container:",
            "1:11",
            "expected container:NAME, network:NAME",
        ),
        (
            "deny from label:=x",
            "1:11",
            "expected container:NAME, network:NAME",
        ),
        (
            "allow\ndeny in container:web",
            "2:9",
            "expected an interface name, perhaps with a *, or network:NAME",
        ),
        (
            "deny from { container:web, @lan }",
            "1:28",
            "expected an IPv4 or IPv6 address",
        ),
        // Where no name may stand it is what anything else is that does not belong there.
        (
            "deny netns container:web",
            "1:12",
            "expected host, container",
        ),
        // What stands behind a name is told where it stands.
        (
            "deny from container:web to network:back dprot 5",
            "1:41",
            "expected one of from, to",
        ),
        (
            "deny from network:back from container:web",
            "1:24",
            "each word once",
        ),
        (
            "set a { container:web }\nset a { container:web }",
            "2:5",
            "a name that no other set has",
        ),
        ("set a { container:web, 80 }", "1:9", "container:web"),
    ] {
        let (code, err, _) = load(&engine, text);
        assert_eq!(code, 1, "{text}\n{err}");
        let beginning = format!("<stdin>:{place}: error: ");
        assert!(
            err.starts_with(&beginning) && err.contains(message),
            "{text}\n{err}"
        );
    }
}

#[test]
fn names_stand_for_no_cgroups() {
    let (code, err, _) = load(&docker(), "deny cgroup container:web");
    let message = "<stdin>:1:13: error: got \"container:web\", expected the path of a cgroup";
    assert!(code == 1 && err.contains(message), "{err}");
}

#[test]
fn lines_of_warnings_and_verdicts() {
    let engine = docker();
    let name = engine.name();
    let text = "deny from container:web\n# x\ndeny from container:web proto tcp\nallow in network:back\ndefault deny\n";
    let (code, out, ..) = ctrfw_over("", &["check", "-", "--engine", &name], text);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("<stdin>:3:1: warning: rule 2 can never match: rule 1 (line 1)"),
        "{out}"
    );
    let packet = "from fd00:1::3 to ::1 proto tcp sport 1 dport 2 in br-d1e66061ff80 hook local_in";
    let (code, out, ..) = ctrfw_over("", &["test", packet, "-", "--engine", &name], text);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "local_in      deny   rule 1 (line 1): deny from @container.web\n"
    );
    let packet = packet.replace("fd00:1::3", "fd00:1::4");
    let (_, out, ..) = ctrfw_over("", &["test", &packet, "-", "--engine", &name], text);
    assert_eq!(
        out,
        "local_in      allow  rule 3 (line 4): allow in @bridge.back\n"
    );
    let packet = packet.replace("br-d1e66061ff80", "eth0");
    let (_, out, ..) = ctrfw_over("", &["test", &packet, "-", "--engine", &name], text);
    assert_eq!(
        out,
        "local_in      deny   no rule matches; line 5: default deny\n"
    );
    let table =
        "set container.web { 172.17.0.2, 172.18.0.3, fd00:1::3 }\ndeny from @container.web\n";
    let args = ["diff", "-", "--engine", &name];
    assert_eq!(ctrfw_over(table, &args, "deny from container:web").0, 0);
}

#[test]
fn what_the_module_refuses_is_told_by_the_users_lines() {
    let engine = docker();
    let proc = TempDir::new().unwrap();
    module(
        proc.path(),
        "",
        "rules line 3: more than 1 rules and defaults",
    );
    let ran = Command::cargo_bin("ctrfw")
        .unwrap()
        .args(["load", "-", "--engine", &engine.name(), "--proc"])
        .arg(proc.path())
        .write_stdin("deny from container:web\ndeny to container:web\n")
        .output()
        .unwrap();
    let err = String::from_utf8(ran.stderr).unwrap();
    assert!(err.contains("line 2: more than 1 rules"), "{err}");
}

#[test]
fn podman_and_two_engines() {
    let podman = Engine::podman();
    let mut listed = container(
        "c3",
        "web",
        "running",
        json!({}),
        json!({"podman": endpoint("10.88.0.2", "")}),
    );
    listed.as_object_mut().unwrap().remove("HostConfig");
    podman.answer("/containers/json?all=1", json!([listed]));
    let docker = docker();
    let args = [
        "load",
        "-",
        "--engine",
        &docker.name(),
        "--engine",
        &podman.name(),
    ];
    let text = "allow from container:web in network:podman to network:podman\n";
    let (code, _, err, rules) = ctrfw_over("", &args, text);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        rules,
        "set container.web { 10.88.0.2, 172.17.0.2, 172.18.0.3, fd00:1::3 }\n\
         set bridge.podman { podman0 }\nset network.podman { 10.88.0.0/16 }\n\
         allow from @container.web in @bridge.podman to @network.podman\n"
    );
}

#[test]
fn no_engine() {
    let text = "deny from container:web\n";
    let nobody = "unix:///nonexistent.sock";
    let (code, _, err, rules) = ctrfw_over("old\n", &["load", "-", "--engine", nobody], text);
    assert_eq!((code, rules.as_str()), (2, "old\n"));
    assert!(
        err.contains("unix:///nonexistent.sock: ") && err.contains("No such file"),
        "{err}"
    );
    let (code, out, ..) = ctrfw_over("", &["check", "-", "--json", "--engine", nobody], text);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["ok"]), (0, &true.into()));
    assert!(json["problems"][0]["message"]
        .as_str()
        .unwrap()
        .starts_with("names were not looked up"));
    // Without a name nobody is asked.
    assert_eq!(
        ctrfw_over("", &["load", "-", "--engine", nobody], "deny\n").0,
        0
    );
    let (code, _, err, _) = ctrfw_over("", &["load", "-", "--engine", "tcp://x"], text);
    assert_eq!(code, 2);
    assert!(
        err.contains("tcp://x: an engine's socket is named as unix:///PATH"),
        "{err}"
    );
    for (host, said) in [
        ("unix:///nonexistent.sock", "unix:///nonexistent.sock"),
        (
            "tcp://10.0.0.1:2375",
            "DOCKER_HOST: tcp://10.0.0.1:2375: an engine's socket",
        ),
    ] {
        let proc = TempDir::new().unwrap();
        module(proc.path(), "", "none");
        let ran = Command::cargo_bin("ctrfw")
            .unwrap()
            .env("DOCKER_HOST", host)
            .args(["load", "-", "--proc"])
            .arg(proc.path())
            .write_stdin(text)
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2));
        assert!(String::from_utf8(ran.stderr).unwrap().contains(said));
    }
}
