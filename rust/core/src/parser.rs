// SPDX-License-Identifier: GPL-2.0

//! The grammar: a line of the table, a line of the trace file.

use crate::addr::Prefix;
use crate::error::Fault;
use crate::hook::HookSet;
use crate::iface::IfPattern;
use crate::lexer::{Word, Words};
use crate::matcher::Match;
use crate::netns::NetnsMatch;
use crate::port::PortRange;
use crate::proto::Protocol;
use crate::reject::Answer;
use crate::rule::{DefaultVerb, Mode, Rule, Scope, Verb};

const VERBS: [&str; 3] = ["allow", "deny", "reject"];
const STATEMENTS: [&str; 6] = ["allow", "deny", "reject", "audit", "default", "mode"];
const SCOPE_KEYS: [&str; 2] = ["hook", "netns"];
/// What stands between `reject` and its answer.
const WITH: &str = "with";
const KEYS: [&str; 9] = [
    "from", "to", "proto", "sport", "dport", "in", "out", "hook", "netns",
];
const TRACE_WORDS: [&str; 11] = [
    "all", "off", "from", "to", "proto", "sport", "dport", "in", "out", "hook", "netns",
];

const VERB: &str = "allow, deny or reject";
const STATEMENT: &str = "allow, deny, reject, audit, default or mode";
const SCOPE_KEY: &str = "hook or netns";
const KEY: &str = "one of from, to, proto, sport, dport, in, out, hook, netns";
const TRACE: &str = "all, off, or one of from, to, proto, sport, dport, in, out, hook, netns";
const END: &str = "nothing more on this line";
const TWICE: &str = "each word once in a statement";
const SAME_FAMILY: &str = "an address of the same family as the other one";
const WITH_PORTS: &str =
    "no port, as the protocol has none (tcp, udp, dccp, sctp and udplite have)";
const RESET_TCP: &str = "proto tcp in a rule that rejects with tcp-reset";
const RESET_DEFAULT: &str = "an ICMP error: a default is for every protocol";

/// A kind of value that follows a key.
struct Kind<T> {
    parse: fn(&[u8]) -> Option<T>,
    /// Whether more bytes could make a right value of a wrong one; never wrongly no.
    may_become: fn(&[u8]) -> bool,
    expected: &'static str,
}

const ADDRESS: Kind<Prefix> = Kind {
    parse: Prefix::parse,
    may_become: Prefix::may_become,
    expected: "an IPv4 or IPv6 address, or ADDRESS/LENGTH",
};
const PROTOCOL: Kind<Protocol> = Kind {
    parse: Protocol::parse,
    may_become: Protocol::may_become,
    expected: "a protocol: a name such as tcp, udp, icmp or icmpv6, or a number up to 255",
};
const PORTS: Kind<PortRange> = Kind {
    parse: PortRange::parse,
    may_become: PortRange::may_become,
    expected: "a port from 0 to 65535, or a range FIRST-LAST",
};
const INTERFACE: Kind<IfPattern> = Kind {
    parse: IfPattern::parse,
    may_become: IfPattern::may_become,
    expected: "an interface name of at most 15 characters, or the beginning of one and *",
};
const HOOKS: Kind<HookSet> = Kind {
    parse: HookSet::parse,
    may_become: HookSet::may_become,
    expected: "hooks, separated by commas: pre_routing, local_in, forward, post_routing, local_out",
};
const NETNS: Kind<NetnsMatch> = Kind {
    parse: NetnsMatch::parse,
    may_become: NetnsMatch::may_become,
    expected: "host, container, or a network namespace's inode number",
};

const ANSWER: Kind<Answer> = Kind {
    parse: Answer::parse,
    may_become: Answer::may_become,
    expected: "tcp-reset, icmp-net-unreachable, icmp-host-unreachable, icmp-proto-unreachable, \
               icmp-port-unreachable, icmp-net-prohibited, icmp-host-prohibited or \
               icmp-admin-prohibited",
};

const MODE: Kind<Mode> = Kind {
    parse: Mode::parse,
    may_become: Mode::may_become,
    expected: "enforce or audit",
};

/// What lines of some kind hold.
pub trait Grammar {
    /// What one line says.
    type Item;

    /// Parses a line without its newline; [`None`] if it is blank or a comment.
    fn parse(line: &[u8]) -> Result<Option<Self::Item>, Fault>;
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `allow ...`, `deny ...`, `reject ...` or `audit ...`
    Rule(Rule),
    /// `default ...`
    Default(DefaultVerb),
    /// `mode ...`
    Mode(Mode),
}

/// The language of `/proc/ctrfw/rules`.
#[derive(Debug)]
pub enum Table {}

impl Grammar for Table {
    type Item = Statement;

    fn parse(line: &[u8]) -> Result<Option<Statement>, Fault> {
        let mut words = Words::new(line);
        let Some(first) = words.next() else {
            return Ok(None);
        };
        let statement = match first.text {
            b"default" => Statement::Default(default(&mut words)?),
            b"mode" => Statement::Mode(mode(&mut words, first)?),
            other => {
                let verb = verb(other)
                    .ok_or_else(|| words.fault(first, STATEMENT, begins(first, &STATEMENTS)))?;
                let (verb, answer) = with(&mut words, verb, KEY)?;
                let reset = answer.filter(|_| verb == Verb::Reject(Answer::TcpReset));
                Statement::Rule(Rule {
                    verb,
                    matches: matches(&mut words, None, reset, KEY, &KEYS)?,
                })
            }
        };
        Ok(Some(statement))
    }
}

/// A line of the trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStatement {
    /// Trace nothing of what was said before.
    Off,
    /// Trace such packets.
    Expression(Match),
}

/// The language of `/proc/ctrfw/trace`.
#[derive(Debug)]
pub enum Trace {}

impl Grammar for Trace {
    type Item = TraceStatement;

    fn parse(line: &[u8]) -> Result<Option<TraceStatement>, Fault> {
        let mut words = Words::new(line);
        let Some(first) = words.next() else {
            return Ok(None);
        };
        let statement = match first.text {
            b"off" => TraceStatement::Off,
            b"all" => TraceStatement::Expression(Match::default()),
            _ => TraceStatement::Expression(matches(
                &mut words,
                Some(first),
                None,
                TRACE,
                &TRACE_WORDS,
            )?),
        };
        match words.next() {
            Some(extra) => Err(words.fault(extra, END, false)),
            None => Ok(Some(statement)),
        }
    }
}

fn verb(text: &[u8]) -> Option<Verb> {
    match text {
        b"allow" => Some(Verb::Allow),
        b"deny" => Some(Verb::Deny),
        b"reject" => Some(Verb::Reject(Answer::default())),
        b"audit" => Some(Verb::Audit),
        _ => None,
    }
}

/// Parses the answer that may stand behind `verb`, and gives its word; it may be `otherwise`, too.
fn with<'a>(
    words: &mut Words<'a>,
    verb: Verb,
    otherwise: &'static str,
) -> Result<(Verb, Option<Word<'a>>), Fault> {
    let Verb::Reject(_) = verb else {
        return Ok((verb, None));
    };
    let mut ahead = words.clone();
    let Some(next) = ahead.next() else {
        return Ok((verb, None));
    };
    if next.text != WITH.as_bytes() {
        // Perhaps it is only the beginning of the word so far.
        let cut = ahead.fault(next, otherwise, WITH.as_bytes().starts_with(next.text));
        return if cut.definite {
            Ok((verb, None))
        } else {
            Err(cut)
        };
    }
    *words = ahead;
    let mut answer = None;
    let word = value(words, next, &mut answer, &ANSWER)?;
    Ok((Verb::Reject(answer.unwrap_or_default()), Some(word)))
}

fn default(words: &mut Words<'_>) -> Result<DefaultVerb, Fault> {
    let word = words.require(VERB)?;
    // A default is the end of the walk: there is nothing that `audit` could leave the decision to.
    let verb = verb(word.text)
        .filter(|verb| *verb != Verb::Audit)
        .ok_or_else(|| words.fault(word, VERB, begins(word, &VERBS)))?;
    let (verb, answer) = with(words, verb, SCOPE_KEY)?;
    if let (Verb::Reject(Answer::TcpReset), Some(word)) = (verb, answer) {
        return Err(words.fault(word, RESET_DEFAULT, false));
    }
    let (mut hooks, mut netns) = (None, None);
    while let Some(key) = words.next() {
        match key.text {
            b"hook" => value(words, key, &mut hooks, &HOOKS)?,
            b"netns" => value(words, key, &mut netns, &NETNS)?,
            _ => return Err(words.fault(key, SCOPE_KEY, begins(key, &SCOPE_KEYS))),
        };
    }
    let scope = Scope {
        hooks: hooks.unwrap_or_default(),
        netns: netns.unwrap_or_default(),
    };
    Ok(DefaultVerb { verb, scope })
}

fn mode<'a>(words: &mut Words<'a>, key: Word<'a>) -> Result<Mode, Fault> {
    let mut mode = None;
    value(words, key, &mut mode, &MODE)?;
    match words.next() {
        Some(extra) => Err(words.fault(extra, END, false)),
        None => Ok(mode.unwrap_or_default()),
    }
}

/// Parses `KEY VALUE` pairs up to the end of the line; `first` is a key that was already taken.
///
/// `reset` is the word, if there is one, that is in place only with TCP.
fn matches(
    words: &mut Words<'_>,
    first: Option<Word<'_>>,
    reset: Option<Word<'_>>,
    expected: &'static str,
    keys: &[&str],
) -> Result<Match, Fault> {
    let mut m = Match::default();
    let (mut hooks, mut netns) = (None, None);
    // The last address and the first port key, should they not fit the rest.
    let (mut addr, mut port) = (None, None);

    let mut next = first.or_else(|| words.next());
    while let Some(key) = next {
        let word = match key.text {
            b"from" => value(words, key, &mut m.from, &ADDRESS)?,
            b"to" => value(words, key, &mut m.to, &ADDRESS)?,
            b"proto" => value(words, key, &mut m.proto, &PROTOCOL)?,
            b"sport" => value(words, key, &mut m.sport, &PORTS)?,
            b"dport" => value(words, key, &mut m.dport, &PORTS)?,
            b"in" => value(words, key, &mut m.input, &INTERFACE)?,
            b"out" => value(words, key, &mut m.output, &INTERFACE)?,
            b"hook" => value(words, key, &mut hooks, &HOOKS)?,
            b"netns" => value(words, key, &mut netns, &NETNS)?,
            _ => return Err(words.fault(key, expected, begins(key, keys))),
        };
        match key.text {
            b"from" | b"to" => addr = Some(word),
            b"sport" | b"dport" => port = port.or(Some(key)),
            _ => {}
        }
        if let (Some(from), Some(to), Some(word)) = (m.from, m.to, addr) {
            if !from.same_family(&to) {
                return Err(words.fault(word, SAME_FAMILY, false));
            }
        }
        if let (Some(proto), Some(word)) = (m.proto, port) {
            if !proto.has_ports() {
                return Err(words.fault(word, WITH_PORTS, true));
            }
        }
        if let (Some(proto), Some(word)) = (m.proto, reset) {
            if proto != Protocol::TCP {
                return Err(words.fault(word, RESET_TCP, true));
            }
        }
        next = words.next();
    }
    if reset.is_some() && m.proto.is_none() {
        return Err(words.missing(RESET_TCP));
    }
    m.hooks = hooks.unwrap_or_default();
    m.netns = netns.unwrap_or_default();
    Ok(m)
}

/// Parses the value that follows `key` into `slot`, and gives its word.
fn value<'a, T>(
    words: &mut Words<'a>,
    key: Word<'_>,
    slot: &mut Option<T>,
    kind: &Kind<T>,
) -> Result<Word<'a>, Fault> {
    if slot.is_some() {
        return Err(words.fault(key, TWICE, false));
    }
    let word = words.require(kind.expected)?;
    let parsed = (kind.parse)(word.text);
    *slot =
        Some(parsed.ok_or_else(|| words.fault(word, kind.expected, (kind.may_become)(word.text)))?);
    Ok(word)
}

/// Whether any of `names` begins with `word`.
fn begins(word: Word<'_>, names: &[&str]) -> bool {
    names
        .iter()
        .any(|name| name.as_bytes().starts_with(word.text))
}
