// SPDX-License-Identifier: GPL-2.0

//! The command as a user runs it, with files in the place of the module's.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// The exit code and both outputs of `ctrfw`, told `input`; `rules` are in force.
fn ctrfw(rules: &str, args: &[&str], input: impl Into<Vec<u8>>) -> (i32, String, String) {
    let proc = TempDir::new().unwrap();
    fs::write(proc.path().join("rules"), rules).unwrap();
    fs::write(
        proc.path().join("status"),
        "version 0.1.0\nmode audit\nwarning NOTHING IS ENFORCED: x\nlog printed 1 left_out 2 untold 3\n\
         hook forward seen 4 dropped 0 unparsed 0 would_drop 1\nlast_error none\n",
    )
    .unwrap();
    fs::write(
        proc.path().join("counters"),
        "1 packets 2 bytes 120 deny comment \"a b\"\nfailsafe packets 1 bytes 1 failsafe { tcp 22 }\ndefault packets 0 bytes 0 default allow\n",
    )
    .unwrap();
    let ran = Command::cargo_bin("ctrfw")
        .unwrap()
        .arg("--proc")
        .arg(proc.path())
        .args(args)
        .write_stdin(input)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        ran.status.code().unwrap(),
        text(ran.stdout),
        text(ran.stderr),
    )
}

#[test]
fn check_tells_all_errors() {
    let text = "deny from 10.0.0.300\n\nallow\tprto tcp\ndeny proto";
    let (code, out, _) = ctrfw("", &["check", "-"], text);
    assert_eq!(code, 1);
    assert_eq!(
        out,
        r#"<stdin>:1:11: error: got "10.0.0.300", expected an IPv4 or IPv6 address, ADDRESS/LENGTH, FIRST-LAST or @SET
    deny from 10.0.0.300
              ^^^^^^^^^^
<stdin>:3:7: error: got "prto", expected one of from, to, proto, icmp-type, sport, dport, origdst, origdport, in, out, port-in, port-out, mark, cgroup, fragment, state, family, hook, netns, priority, log, comment
    allow   prto tcp
            ^^^^ perhaps proto
<stdin>:4:11: error: got the end of the line, expected a protocol: a name such as tcp, udp, icmp or icmpv6, or a number up to 255
    deny proto
              ^
"#
    );
}

#[test]
fn check_says_what_was_probably_meant() {
    for (text, meant) in [
        ("drop from 10.0.0.1", Some("deny")),
        ("ACCEPT", Some("allow")),
        ("deny dprot 80", Some("dport")),
        ("deny daddr 10.0.0.1", Some("to")),
        ("deny hook forwrad", Some("forward")),
        ("deny state { new, estabilshed }", Some("established")),
        ("set a {\n80 }\ndefualt deny", Some("default")),
        ("mode enforced", Some("enforce")),
        // Nothing is like it.
        ("deny xyzzy", None),
        ("deny from 10.0.0.300", None),
        // What is like it is no word of the language, or not fit for the place.
        ("deny from adress", None),
        ("deny dport port", None),
        ("deny", None),
        ("deny to", None),
        ("deny \"dprot\" 80", None),
        ("set a {\n80, dport }", None),
    ] {
        let (_, out, _) = ctrfw("", &["check", "--json", "-"], text);
        let report: Value = serde_json::from_str(&out).unwrap();
        let suggestion = report["problems"][0]["suggestion"].as_str();
        assert_eq!(suggestion, meant, "{text}: {out}");
    }
}

#[test]
fn check_says_what_the_module_would() {
    let text = "default deny\ndefault allow\n";
    let (code, out, _) = ctrfw("", &["check", "-"], text);
    assert_eq!(code, 1);
    assert!(out.starts_with(
        "<stdin>:2:1: error: got \"default allow\", expected one default for each scope\n"
    ));
    let (code, out, _) = ctrfw("", &["check", "-"], vec![b'x'; 2000]);
    assert_eq!((code, out.lines().count()), (1, 3));
    let (code, out, _) = ctrfw("", &["--json", "check", "-"], &b"deny in \xff\n"[..]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["problems"][0]["got"]), (1, &"\\xff".into()));
}

#[test]
fn check_takes_a_condition() {
    assert_eq!(ctrfw("", &["check", "-"], "if generation 7\ndeny\n").0, 0);
    let (code, out, _) = ctrfw("", &["check", "-"], "deny\nif generation 7\n");
    assert_eq!(code, 1);
    assert!(out.starts_with("<stdin>:2:1: error: got \"if\""), "{out}");
}

#[test]
fn check_has_nothing_to_say_of_the_ready_policies() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies");
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "rules")
        {
            let result = ctrfw("", &["check", path.to_str().unwrap()], "");
            assert_eq!(result, (0, String::new(), String::new()), "{path:?}");
            checked += 1;
        }
    }
    assert_ne!(checked, 0);
}

#[test]
fn counters_are_reset() {
    let proc = TempDir::new().unwrap();
    let file = proc.path().join("counters");
    let line = "1 packets 2 bytes 120 deny\n";
    fs::write(&file, line).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::cargo_bin("ctrfw").unwrap();
        command.arg("--proc").arg(proc.path()).args(args);
        let ran = command.output().unwrap();
        (
            ran.status.code().unwrap(),
            String::from_utf8(ran.stdout).unwrap(),
        )
    };
    let (code, out) = run(&["--json", "counters", "--reset"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["counters"][0]["packets"]), (0, &2.into()));
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{line}reset\n"));
    fs::write(&file, line).unwrap();
    assert_eq!(run(&["counters"]), run(&["counters", "--reset"]));
    assert_eq!(run(&["counters", "--reset", "--zero-hits"]).0, 2);
}

#[test]
fn queues() {
    let rules = "queue 7 bypass proto udp netns host\nallow proto udp dport 53 netns host\n\
                 queue 8 proto tcp netns host\n";
    let (code, out, _) = ctrfw("", &["check", "-"], rules);
    assert_eq!((code, out.as_str()), (0, ""));
    let (_, out, _) = ctrfw(
        "",
        &["check", "-"],
        "queue 7 netns host\ndeny dport 1 netns host",
    );
    assert!(out.contains("rule 2 can never match"), "{out}");
    let (code, out, _) = ctrfw("", &["check", "-"], "queue 7 netns container\n");
    assert_eq!(code, 1);
    assert!(
        out.contains("got \"container\", expected netns host, as packets"),
        "{out}"
    );
    let (code, out, _) = ctrfw(rules, &["test", "--explain", PACKET], "");
    assert_eq!(code, 0);
    let line = "forward       queue  rule 3 (line 3): queue 8 proto tcp netns host\n\
                \x20             not rule 1, for \"proto udp\": queue 7 bypass proto udp netns host\n";
    assert!(out.contains(line), "{out}");
    let (_, out, _) = ctrfw(&format!("mode audit\n{rules}"), &["test", PACKET], "");
    assert!(out.contains("forward       would-queue  rule 3"), "{out}");
    let (_, out, _) = ctrfw(rules, &["list"], "");
    assert!(out.contains("    3 queue 8 proto tcp netns host"), "{out}");
}

#[test]
fn check_warns_of_shadowed_rules() {
    let text = "deny from 10.0.0.0/8\n# x\ndeny dport 5-6 from 10.1.0.0/16\nallow from 10.1.0.1\n";
    let (code, out, _) = ctrfw("", &["check", "-"], text);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "<stdin>:3:1: warning: rule 2 can never match: rule 1 (line 1) matches all that it would
    deny dport 5-6 from 10.1.0.0/16
    ^^^^
"
    );
}

#[test]
fn load_says_that_nothing_is_enforced() {
    let (code, out, err) = ctrfw("", &["load", "-"], "mode audit\ndeny\n");
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("NOTHING IS ENFORCED"), "{err}");
}

#[test]
fn trouble_is_2() {
    assert_eq!(ctrfw("", &["check", "/nonexistent"], "").0, 2);
    assert_eq!(ctrfw("", &["nonsense"], "").0, 2);
    let (code, _, err) = ctrfw("", &["--proc", "/nonexistent", "list"], "");
    assert_eq!(code, 2, "{err}");
}

#[test]
fn diff_in_canonical_lines() {
    let old = "deny proto tcp dport 80\n";
    let (code, out, _) = ctrfw(old, &["diff", "-"], "deny dport 80 proto 6 # same\n");
    assert_eq!((code, out.as_str()), (0, ""));
    let (code, out, _) = ctrfw(old, &["diff", "-"], "allow\ndeny proto tcp dport 80");
    assert_eq!(code, 1);
    assert!(out.contains("\n+allow\n deny proto tcp dport 80"), "{out}");
    let (code, out, _) = ctrfw(old, &["--json", "diff", "-"], "allow\n");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["same"]), (1, &false.into()));
    assert_eq!(ctrfw(old, &["diff", "-"], "bogus").0, 2);
}

const PACKET: &str =
    "from 172.17.0.2 to 10.0.0.5 proto tcp sport 40000 dport 443 in docker0 out eth0 netns host";

#[test]
fn test_tells_who_decides() {
    let rules = "allow in lo\ndeny in docker0 hook forward\ndefault deny hook local_out\n";
    let (code, out, _) = ctrfw(rules, &["test", "--explain", PACKET], "");
    assert_eq!(code, 0);
    assert_eq!(
        out,
        r#"pre_routing   allow  no rule matches, and no default holds
              not rule 1, for "in lo": allow in lo
              not rule 2, for "hook forward": deny in docker0 hook forward
local_in      allow  no rule matches, and no default holds
              not rule 1, for "in lo": allow in lo
              not rule 2, for "hook forward": deny in docker0 hook forward
forward       deny   rule 2 (line 2): deny in docker0 hook forward
              not rule 1, for "in lo": allow in lo
post_routing  allow  no rule matches, and no default holds
              not rule 1, for "in lo": allow in lo
              not rule 2, for "hook forward": deny in docker0 hook forward
local_out     deny   no rule matches; line 3: default deny hook local_out
              not rule 1, for "in lo": allow in lo
              not rule 2, for "in docker0": deny in docker0 hook forward
"#
    );
    let one = format!("{PACKET} hook forward");
    let (_, out, _) = ctrfw(rules, &["--json", "test", &one], "");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["hooks"].as_array().unwrap().len(), 1);
    assert_eq!(json["hooks"][0]["rule"], 2);
    let (code, _, err) = ctrfw(rules, &["test", "from 1.2.3.4 to ::1 proto tcp"], "");
    assert_eq!(code, 2);
    assert!(err.contains("one address family"), "{err}");
}

#[test]
fn test_knows_where_a_packet_was_sent_to() {
    let rules = "allow origdst 203.0.113.1 origdport 8081\ndeny\n";
    let verdict = |words: &str| {
        let packet = format!("{PACKET} hook forward {words}");
        let (code, out, err) = ctrfw(rules, &["--json", "test", &packet], "");
        if code != 0 {
            return err;
        }
        let json: Value = serde_json::from_str(&out).unwrap();
        json["hooks"][0]["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict("origdst 203.0.113.1 origdport 8081"), "allow");
    assert_eq!(
        verdict("origdst 203.0.113.1 origdport 8081 state established"),
        "allow"
    );
    assert_eq!(verdict("origdst 203.0.113.1"), "deny");
    // It is its own, if nothing else is said.
    assert_eq!(verdict(""), "deny");
    let own = "allow origdst 10.0.0.5 origdport 443\ndeny\n";
    let (_, out, _) = ctrfw(own, &["test", &format!("{PACKET} hook forward")], "");
    assert!(out.contains("allow  rule 1"), "{out}");
    assert!(verdict("origdst 203.0.113.1 state invalid").contains("as there is a connection"));
    assert!(verdict("origdst 2001:db8::1").contains("one address family"));
    let esp = "from 1.1.1.1 to 2.2.2.2 proto esp origdport 1";
    let (_, _, err) = ctrfw(rules, &["test", esp], "");
    assert!(err.contains("no origdport"), "{err}");
}

#[test]
fn test_compares_cgroups_by_path() {
    let rules = "allow cgroup /a/b\nallow cgroup \"/x y\"\ndeny\n";
    let verdicts = |words: &str| -> Vec<String> {
        let packet = format!("{PACKET} {words}");
        let (_, out, err) = ctrfw(rules, &["test", &packet], "");
        let verdicts = out
            .lines()
            .map(|line| line.split_whitespace().nth(1).unwrap());
        verdicts
            .map(str::to_owned)
            .chain(err.lines().map(str::to_owned))
            .collect()
    };
    for words in ["cgroup /a/b", "cgroup /a/b/c/", "cgroup \"/x y/z\""] {
        // What is forwarded has no socket.
        assert_eq!(
            verdicts(words),
            ["allow", "allow", "deny", "allow", "allow"],
            "{words}"
        );
    }
    for words in ["", "cgroup /", "cgroup /a", "cgroup /a/bb"] {
        assert_eq!(verdicts(words), ["deny"; 5], "{words}");
    }
    assert!(verdicts("cgroup a")
        .concat()
        .contains("expected a cgroup's path"));
    let rules = "deny cgroup /a/b\ndeny cgroup /a/b/c\ndeny cgroup /a\ndeny cgroup !/a\n";
    let (code, out, _) = ctrfw("", &["check", "-"], rules);
    assert_eq!(
        (code, out.matches("can never match").count()),
        (0, 1),
        "{out}"
    );
}

#[test]
fn what_is_in_force() {
    let (_, out, _) = ctrfw("deny\ndefault deny\n", &["list"], "");
    assert_eq!(out, "    1 deny\n      default deny\n");
    let table = "mode audit\nset wan {\n\teth0,\n}\ndeny in @wan\naudit\ndefault deny\n";
    let (_, out, _) = ctrfw(table, &["list"], "");
    assert_eq!(out.lines().nth(4), Some("    1 deny in @wan"), "{out}");
    assert_eq!(out.lines().nth(5), Some("    2 audit"), "{out}");
    assert_eq!(out.lines().nth(6), Some("      default deny"), "{out}");
    let (_, out, _) = ctrfw("", &["counters", "--zero-hits", "--json"], "");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["counters"].as_array().unwrap().len(), 1);
    let (_, out, _) = ctrfw("", &["status", "--json"], "");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["last_error"], Value::Null);
    assert_eq!(json["warning"], "NOTHING IS ENFORCED: x");
    assert_eq!(json["log"]["untold"], 3);
    assert_eq!(json["hooks"]["forward"]["would_drop"], 1);
    let (_, out, _) = ctrfw("", &["counters"], "");
    assert!(out.contains("deny comment \"a b\""), "{out}");
    assert!(out.contains("\nfailsafe "), "{out}");
}

/// The lines and columns of what `check` tells.
fn places(text: &str) -> Vec<String> {
    let (_, out, _) = ctrfw("", &["check", "-"], text);
    let places = out.lines().filter_map(|line| line.strip_prefix("<stdin>:"));
    places
        .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect()
}

#[test]
fn check_knows_the_whole_language() {
    let text = "mode audit
failsafe { tcp 22 }
set wan { eth0, ppp* }
set bad {
\t192.0.2.0/24,
\t198.51.100.1-198.51.100.9,
}
allow in !@wan from @bad mark 0x1/0xff
reject with tcp-reset proto tcp dport { 80, 443 } log \"web\" every 1m comment \"no web\"
audit icmp-type echo-request family ipv4 fragment !later
default reject log
";
    let (code, out, _) = ctrfw("", &["check", "-"], text);
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(places("delete 1\ndefault audit\nmode x\n").len(), 3);
}

#[test]
fn errors_in_and_around_sets() {
    // One bad member: the set goes on, and what uses it is fine.
    let text = "set a {\n\t10.0.0.1,\n\t10.0.0.300,\n\t10.0.0.2\n}\ndeny from @a\nbogus\n";
    assert_eq!(places(text), ["3:2: error", "7:1: error"]);
    // A bad first line.
    let text = "set a { x:y,\n10.0.0.2 }\ndeny from @a\nset b { x:y }\ndeny in @b\n";
    assert_eq!(places(text), ["1:9: error", "4:9: error"]);
    // No end: told once, where the next statement begins.
    let text = "set a {\n\t10.0.0.1\ndeny from @a\nset a {\n10.0.0.2 }\nallow prto\n";
    assert_eq!(places(text), ["3:1: error", "4:5: error", "6:7: error"]);
    assert_eq!(places("deny\nset a {\n1,"), ["4:1: error"]);
    assert_eq!(places("deny from @nowhere\n"), ["1:11: error"]);
}

#[test]
fn shadows_in_the_whole_language() {
    assert_eq!(places("audit\ndeny\n"), [""; 0]);
    assert_eq!(
        places("allow from !10.0.0.0/8\nallow from 10.0.0.0/8\n"),
        [""; 0]
    );
    let text = "set a { 1 }\ndeny dport { 80, 443 }\ndeny dport 80 comment \"x\"\ndeny dport @a\nreject dport @a\n";
    assert_eq!(places(text), ["3:1: warning", "5:1: warning"]);
    assert_eq!(
        places("allow from !10.1.0.0/16\nallow from !{ 10.0.0.0/8, ::1 }\n"),
        ["2:1: warning"]
    );
    // The order in which they are judged counts.
    assert_eq!(places("deny\nallow in lo priority 5\n"), [""; 0]);
}

#[test]
fn diff_of_sets_and_mode() {
    let old = "mode audit\nset a { 80, 443 }\ndeny dport @a comment \"x\"\n";
    let same = "set a {\n80,\n443\n}\ndeny comment \"x\" dport @a\nmode audit\n";
    let (code, out, err) = ctrfw(old, &["diff", "-"], same);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let (code, out, _) = ctrfw(old, &["diff", "-"], "deny comment \"y\"\n");
    assert_eq!(code, 1);
    assert!(out.contains("-mode audit\n-set a { 80, 443 }\n"), "{out}");
}

#[test]
fn test_passes_audits_on_the_way() {
    let rules = "failsafe { tcp 443 }
set web {
\t80,
\t443
}
audit dport @web
allow from !172.16.0.0/12
reject dport { 1, 443 } proto tcp hook forward
deny priority -5 comment \"rest\" netns 1
";
    let packet = format!("{PACKET} hook forward,local_in");
    let (code, out, err) = ctrfw(rules, &["test", "--explain", &packet], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        r#"local_in      allow   before all rules: failsafe { tcp 443 }
forward       reject  rule 3 (line 8): reject proto tcp dport { 1, 443 } hook forward
              audited by rule 1 (line 6): audit dport @web
              not rule 2, for "from !172.16.0.0/12": allow from !172.16.0.0/12
"#
    );
    let (_, out, _) = ctrfw(
        "mode audit\ndeny icmp-type echo-request\n",
        &[
            "test",
            "from ::1 to ::1 proto icmpv6 icmp-type 128 hook local_in",
        ],
        "",
    );
    assert!(out.contains("would-deny  rule 1 (line 2)"), "{out}");
}

#[test]
fn colours_only_if_asked_for() {
    assert!(!ctrfw("", &["check", "-"], "x").1.contains('\x1b'));
    assert!(ctrfw("", &["--color", "always", "check", "-"], "x")
        .1
        .contains('\x1b'));
}

#[test]
fn completions_and_man() {
    assert!(ctrfw("", &["completions", "bash"], "")
        .1
        .contains("zero-hits"));
    assert!(ctrfw("", &["man"], "").1.contains("ctrfw"));
    assert!(ctrfw("", &["man", "test"], "").1.contains("explain"));
}
