// SPDX-License-Identifier: GPL-2.0

//! The grammar: a line of the table, a line of the trace file.
//!
//! What is parsed refers to the text of its line: values are checked here, and parsed once more
//! where they are to be kept.

use crate::addr::AddrRange;
use crate::cgroup::CgroupPath;
use crate::error::Fault;
use crate::failsafe;
use crate::family::{Family, FamilySet};
use crate::flags::{Flag, Flags};
use crate::flow::{State, StateSet};
use crate::fragment::{Place, PlaceSet};
use crate::generation::Generation;
use crate::hook::{Hook, HookSet};
use crate::icmp::IcmpType;
use crate::iface::IfPattern;
use crate::lexer::{Form, Word, Words, MORE};
use crate::mark::MarkMatch;
use crate::matcher::{asks_for_receiver, Key};
use crate::netns::NetnsMatch;
use crate::period::Period;
use crate::port::PortRange;
use crate::priority::Priority;
use crate::proto::Protocol;
use crate::queue::{Queue, QueueNumber, BYPASS};
use crate::reject::Answer;
use crate::rule::{DefaultVerb, Mode, Scope, Verb};
use crate::set::{SetKind, SetName};
use crate::text;
use crate::value::{decimal, Value};

const DEFAULT_VERBS: [&str; 4] = ["allow", "deny", "reject", "queue"];
const VERBS: [&str; 5] = ["allow", "deny", "reject", "audit", "queue"];
/// The words that a statement of the table may begin with.
pub const STATEMENTS: [&str; 14] = [
    "allow", "deny", "reject", "audit", "queue", "default", "set", "failsafe", "mode", "add",
    "insert", "delete", "replace", "if",
];
const SCOPE_KEYS: [&str; 4] = ["hook", "netns", "log", "every"];
/// What stands between `reject` and its answer.
const WITH: &str = "with";
/// The match words that are no [`Key`].
const FLAG_KEYS: [&str; 4] = ["family", "fragment", "state", "hook"];
/// The words of a rule that are no match words.
const OPTIONS: [&str; 4] = ["priority", "log", "every", "comment"];
const TRACE_WORDS: [&str; 2] = ["all", "off"];
const RESET: &str = "reset";

const VERB: &str = "allow, deny, reject, audit or queue";
const DEFAULT_VERB: &str = "allow, deny, reject or queue";
const STATEMENT: &str =
    "allow, deny, reject, audit, queue, default, set, failsafe, mode, add, insert, \
                         delete, replace or if";
const NUMBER: &str = "the number of a rule, from 1";
const CONDITION: &str = "generation and its number, which the status file tells";
const TARGET: &str = "the number of a rule, from 1, or comment and a rule's comment";
const REPLACED: &str =
    "the number of a rule, from 1, comment and a rule's comment, or set and a set's name";
const SCOPE_KEY: &str = "hook, netns or log";
const KEY: &str =
    "one of from, to, proto, icmp-type, sport, dport, origdst, origdport, in, out, port-in, \
                   port-out, mark, cgroup, fragment, state, family, hook, netns, priority, log, comment";
const TRACE: &str =
    "all, off, or one of from, to, proto, icmp-type, sport, dport, origdst, origdport, in, out, \
                     port-in, port-out, mark, cgroup, fragment, state, family, hook, netns";
const TWICE: &str = "each word once in a statement";
const SAME_FAMILY: &str = "an address of the same family as the rest of the rule";
const WITH_PORTS: &str =
    "no port, as the protocol has none (tcp, udp, dccp, sctp and udplite have)";
const WITH_TYPES: &str = "no ICMP type, as the rule is for packets without";
const RESET_TCP: &str = "proto tcp in a rule that rejects with tcp-reset";
const RESET_DEFAULT: &str = "an ICMP error: a default is for every protocol";
const SOMETHING: &str = "not everything that there is, so that something is left to match";
const QUOTE: &str = "a closing quote";
const OPEN_SET: &str = "{ and the members of the set";
const MEMBER: &str = "an address, a port or an interface, or }";
const HOST_ONLY: &str = "netns host, as packets are queued only there";
const ONE_NETNS: &str = "one namespace: host, container, or an inode number";

/// What lines of some kind hold.
pub trait Grammar {
    /// What one line says.
    type Item<'a>;

    /// What the lines so far say of the next one.
    type State: Copy + Default;

    /// Parses a line without its newline; [`None`] if it says nothing, as a comment does.
    fn parse<'a>(line: &'a [u8], state: &mut Self::State) -> Result<Option<Self::Item<'a>>, Fault>;

    /// What is still expected at the end of the text, if it must not end here.
    fn unfinished(_state: Self::State) -> Option<&'static str> {
        None
    }
}

/// The values behind a match word.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// A named set; the word with its `@`.
    Set(Word<'a>),
    /// The values themselves, and the marks between them.
    Listed(Words<'a>),
}

/// What stands behind a match word.
#[derive(Clone, Copy, Debug)]
pub struct Clause<'a> {
    /// The packet's value must be none of them.
    pub negated: bool,
    /// The values
    pub values: Values<'a>,
}

/// The match words of a statement.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatchText<'a> {
    /// Address families
    pub families: FamilySet,
    /// Places in a fragmented datagram
    pub places: PlaceSet,
    /// What it may be to its connection
    pub states: StateSet,
    /// Hooks
    pub hooks: HookSet,
    /// The line
    line: Words<'a>,
    /// By [`Key`]
    clauses: [Option<Extent>; Key::COUNT],
}

/// Where in its line a clause stands: there are many of them in a statement, and a stack is small.
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u16,
    end: u16,
    negated: bool,
    /// A named set stands there.
    named: bool,
}

impl<'a> MatchText<'a> {
    /// How many bytes the line has.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether the line is empty, which none is that asks for something.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether they ask for what connection tracking knows.
    pub fn asks_for_flow(&self) -> bool {
        let mut given = self.clauses();
        self.states != StateSet::all() || given.any(|(key, _)| key.asks_for_flow())
    }

    /// Whether they ask for the cgroup of the socket that a packet is for.
    pub fn asks_for_receiver(&self) -> bool {
        self.clause(Key::Cgroup).is_some() && asks_for_receiver(self.hooks)
    }

    /// The words that were given, in canonical order.
    pub fn clauses(&self) -> impl Iterator<Item = (Key, Clause<'a>)> + '_ {
        let given = Key::ALL.into_iter();
        given.filter_map(|key| Some((key, self.clause(key)?)))
    }

    fn clause(&self, key: Key) -> Option<Clause<'a>> {
        let extent = self.clauses.get(key as usize)?.as_ref()?;
        let words = self.line.between(extent.start, extent.end);
        Some(Clause {
            negated: extent.negated,
            values: if extent.named {
                Values::Set(words.peek()?)
            } else {
                Values::Listed(words)
            },
        })
    }

    /// The values that are listed behind `key`, one of which must be the packet's.
    fn listed<T: Value + 'a>(&self, key: Key) -> Option<impl Iterator<Item = T> + 'a> {
        match self.clause(key)? {
            Clause {
                negated: false,
                values: Values::Listed(words),
            } => Some(words.values().filter_map(|word| T::parse(word.text))),
            _ => None,
        }
    }

    /// The families of the addresses behind `key`.
    fn families_of(&self, key: Key) -> FamilySet {
        match self.clause(key) {
            Some(Clause {
                negated: false,
                values: Values::Listed(words),
            }) => words.values().fold(FamilySet::EMPTY, |set, word| {
                // They were parsed, so that a look is enough.
                set.with(if word.text.contains(&b':') {
                    Family::Ipv6
                } else {
                    Family::Ipv4
                })
            }),
            _ => FamilySet::all(),
        }
    }

    /// Whether `proto` is the only protocol that is listed.
    fn only(&self, proto: Protocol) -> bool {
        self.listed::<Protocol>(Key::Proto)
            .is_some_and(|mut protocols| protocols.all(|listed| listed == proto))
    }

    /// Whether protocols are listed of which none `has` something.
    fn lacks(&self, has: fn(Protocol) -> bool) -> bool {
        self.listed::<Protocol>(Key::Proto)
            .is_some_and(|mut protocols| !protocols.any(has))
    }

    /// The first word, if there is one, that has the rule hold in other namespaces than the host's.
    fn elsewhere(&self) -> Option<Word<'a>> {
        let clause = self.clause(Key::Netns)?;
        let Values::Listed(listed) = clause.values else {
            return None;
        };
        let host = |word: &Word<'_>| NetnsMatch::parse(word.text) == Some(NetnsMatch::Host);
        listed.values().find(|word| clause.negated || !host(word))
    }
}

/// What a rule says beyond its match words.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionsText<'a> {
    /// Whether it is judged before or behind others
    pub priority: Priority,
    /// Its comment; empty if it has none.
    pub comment: &'a [u8],
    /// Whether its packets are logged, and how
    pub log: Option<LogText<'a>>,
}

/// How packets are logged.
#[derive(Clone, Copy, Debug)]
pub struct LogText<'a> {
    /// What the lines begin with; empty if nothing was said.
    pub prefix: &'a [u8],
    /// In which time there may be a line for each source, destination and destination port
    pub every: Period,
}

/// A default statement as it is written.
#[derive(Clone, Copy, Debug)]
pub struct DefaultText<'a> {
    /// What becomes of which packets
    pub default: DefaultVerb,
    /// Whether they are logged, and how
    pub log: Option<LogText<'a>>,
}

/// A rule as it is written.
#[derive(Clone, Copy, Debug)]
pub struct RuleText<'a> {
    /// What becomes of the packets that it matches.
    pub verb: Verb,
    /// Which those are.
    pub matches: MatchText<'a>,
    /// What else it says
    pub options: OptionsText<'a>,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub enum Statement<'a> {
    /// `allow ...`, `deny ...`, `reject ...` or `audit ...`
    Rule(RuleText<'a>),
    /// `default ...`
    Default(DefaultText<'a>),
    /// `mode ...`
    Mode(Mode),
    /// `set NAME {`, and the members that follow on this line
    Set(SetName, Word<'a>, Option<(SetKind, Words<'a>)>),
    /// More members of the set that was begun above
    Members(SetKind, Words<'a>),
    /// `failsafe { ... }`, and what is inside
    Failsafe(Words<'a>),
    /// A change of the rules that are there
    Edit(Edit<'a>),
    /// `if generation N`: all that is written takes effect only if the table in force is this one.
    If(Word<'a>, Generation),
}

/// A rule that is there.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The one with this number, from 1
    Number(Word<'a>, usize),
    /// The only one with this comment
    Comment(Word<'a>, &'a [u8]),
}

/// A change of the rules that are there.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// A rule before the one with this number
    Insert(Word<'a>, usize, RuleText<'a>),
    /// One rule less
    Delete(Target<'a>),
    /// A rule instead of another
    Replace(Target<'a>, RuleText<'a>),
    /// A set instead of the one of the same name: `replace set NAME {`, and the members that follow on
    /// this line
    ReplaceSet(SetName, Word<'a>, Option<(SetKind, Words<'a>)>),
}

/// The language of `/proc/ctrfw/rules`.
#[derive(Debug)]
pub enum Table {}

/// Whether a set was begun that has not ended, and what it holds, if that is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenSet(Option<Option<SetKind>>);

impl Grammar for Table {
    type Item<'a> = Statement<'a>;
    type State = OpenSet;

    fn parse<'a>(line: &'a [u8], state: &mut OpenSet) -> Result<Option<Statement<'a>>, Fault> {
        let mut words = Words::new(line);
        if let Some(kind) = state.0 {
            let members = members(&mut words, kind, state)?;
            return Ok(members.map(|(kind, words)| Statement::Members(kind, words)));
        }
        let Some(first) = words.next() else {
            return Ok(None);
        };
        let statement = match first.text {
            b"default" if first.form == Form::Plain => Statement::Default(default(&mut words)?),
            b"mode" if first.form == Form::Plain => Statement::Mode(mode(&mut words)?),
            b"failsafe" if first.form == Form::Plain => {
                Statement::Failsafe(failsafe::parse(&mut words)?)
            }
            b"add" if first.form == Form::Plain => Statement::Rule(next_rule(&mut words)?),
            b"insert" if first.form == Form::Plain => {
                let word = words.require(NUMBER)?;
                let number =
                    rule_number(word).ok_or_else(|| words.fault(word, NUMBER, is_zero(word)))?;
                Statement::Edit(Edit::Insert(word, number, next_rule(&mut words)?))
            }
            b"delete" if first.form == Form::Plain => {
                let edit = Edit::Delete(target(&mut words, TARGET, &["comment"])?);
                words.end()?;
                Statement::Edit(edit)
            }
            b"replace" if first.form == Form::Plain => {
                let is_set = |word: &Word<'_>| word.form == Form::Plain && word.text == b"set";
                if words.peek().as_ref().is_some_and(is_set) {
                    words.next();
                    let (name, word) = set_name(&mut words)?;
                    let members = members(&mut words, None, state)?;
                    return Ok(Some(Statement::Edit(Edit::ReplaceSet(name, word, members))));
                }
                let target = target(&mut words, REPLACED, &["comment", "set"])?;
                Statement::Edit(Edit::Replace(target, next_rule(&mut words)?))
            }
            b"if" if first.form == Form::Plain => Statement::If(first, condition(&mut words)?),
            b"set" if first.form == Form::Plain => {
                let (name, word) = set_name(&mut words)?;
                Statement::Set(name, word, members(&mut words, None, state)?)
            }
            _ => {
                let verb = verb(first)
                    .ok_or_else(|| words.fault(first, STATEMENT, begins(first, &STATEMENTS)))?;
                Statement::Rule(rule(&mut words, verb)?)
            }
        };
        Ok(Some(statement))
    }

    fn unfinished(state: OpenSet) -> Option<&'static str> {
        state.0.map(|_| MORE)
    }
}

/// A line of the trace file.
#[derive(Clone, Copy, Debug)]
pub enum TraceStatement<'a> {
    /// Trace nothing of what was said before.
    Off,
    /// Trace such packets.
    Expression(MatchText<'a>),
}

/// The language of `/proc/ctrfw/trace`.
#[derive(Debug)]
pub enum Trace {}

impl Grammar for Trace {
    type Item<'a> = TraceStatement<'a>;
    type State = ();

    fn parse<'a>(line: &'a [u8], _state: &mut ()) -> Result<Option<TraceStatement<'a>>, Fault> {
        let mut words = Words::new(line);
        let Some(first) = words.next() else {
            return Ok(None);
        };
        let statement = match first.text {
            b"off" if first.form == Form::Plain => TraceStatement::Off,
            b"all" if first.form == Form::Plain => TraceStatement::Expression(MatchText::default()),
            _ => {
                let text = matches(
                    &mut words,
                    Some(first),
                    Demands::default(),
                    TRACE,
                    &TRACE_WORDS,
                    no_option,
                )?;
                return Ok(Some(TraceStatement::Expression(text)));
            }
        };
        words.end()?;
        Ok(Some(statement))
    }
}

/// A line of the counters file: they all begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset;

/// The language of `/proc/ctrfw/counters`.
#[derive(Debug)]
pub enum Counters {}

impl Grammar for Counters {
    type Item<'a> = Reset;
    type State = ();

    fn parse(line: &[u8], _state: &mut ()) -> Result<Option<Reset>, Fault> {
        let mut words = Words::new(line);
        let Some(word) = words.next() else {
            return Ok(None);
        };
        if word.form != Form::Plain || word.text != RESET.as_bytes() {
            return Err(words.fault(word, RESET, begins(word, &[RESET])));
        }
        words.end()?;
        Ok(Some(Reset))
    }
}

fn verb(word: Word<'_>) -> Option<Verb> {
    match word.text {
        _ if word.form != Form::Plain => None,
        b"allow" => Some(Verb::Allow),
        b"deny" => Some(Verb::Deny),
        b"reject" => Some(Verb::Reject(Answer::default())),
        b"audit" => Some(Verb::Audit),
        b"queue" => Some(Verb::Queue(Queue::default())),
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
    if !optional(words, WITH, otherwise)? {
        return Ok((verb, None));
    }
    let word = words.require(Answer::EXPECTED)?;
    let answer = item::<Answer>(words, word)?;
    Ok((Verb::Reject(answer), Some(word)))
}

/// Parses `N [bypass]` behind a `verb` that queues; it may be `otherwise`, too.
fn queue(words: &mut Words<'_>, verb: Verb, otherwise: &'static str) -> Result<Verb, Fault> {
    let Verb::Queue(_) = verb else {
        return Ok(verb);
    };
    let word = words.require(QueueNumber::EXPECTED)?;
    let number = item::<QueueNumber>(words, word)?;
    let bypass = optional(words, BYPASS, otherwise)?;
    Ok(Verb::Queue(Queue { number, bypass }))
}

/// Takes the word `name` if it is the next one; it may be `otherwise`, too.
fn optional(words: &mut Words<'_>, name: &str, otherwise: &'static str) -> Result<bool, Fault> {
    let mut ahead = *words;
    let Some(next) = ahead.next() else {
        return Ok(false);
    };
    if next.form == Form::Plain && next.text == name.as_bytes() {
        *words = ahead;
        return Ok(true);
    }
    // Perhaps it is only the beginning of the word so far.
    let cut = ahead.fault(next, otherwise, begins(next, &[name]));
    if cut.definite {
        Ok(false)
    } else {
        Err(cut)
    }
}

fn mode(words: &mut Words<'_>) -> Result<Mode, Fault> {
    let word = words.require(Mode::EXPECTED)?;
    let mode = item::<Mode>(words, word)?;
    words.end()?;
    Ok(mode)
}

/// Parses `generation N`.
fn condition(words: &mut Words<'_>) -> Result<Generation, Fault> {
    const NAME: &str = "generation";

    let name = words.require(CONDITION)?;
    if name.form != Form::Plain || name.text != NAME.as_bytes() {
        return Err(words.fault(name, CONDITION, begins(name, &[NAME])));
    }
    let word = words.require(Generation::EXPECTED)?;
    let generation = item::<Generation>(words, word)?;
    words.end()?;
    Ok(generation)
}

/// Parses the verb of a rule and what is behind it.
fn next_rule<'a>(words: &mut Words<'a>) -> Result<RuleText<'a>, Fault> {
    let word = words.require(VERB)?;
    let verb = verb(word).ok_or_else(|| words.fault(word, VERB, begins(word, &VERBS)))?;
    rule(words, verb)
}

fn rule_number(word: Word<'_>) -> Option<usize> {
    let number = decimal(word.text, u32::MAX).filter(|_| word.form == Form::Plain)?;
    usize::try_from(number).ok().filter(|number| *number != 0)
}

/// Whether it is no number of a rule, but may be the beginning of one.
fn is_zero(word: Word<'_>) -> bool {
    word.form == Form::Plain && word.text.iter().all(|digit| *digit == b'0')
}

/// Parses `NAME {`.
fn set_name<'a>(words: &mut Words<'a>) -> Result<(SetName, Word<'a>), Fault> {
    let word = words.require(SetName::EXPECTED)?;
    let name = Some(word)
        .filter(|word| word.form == Form::Plain)
        .and_then(|word| SetName::parse(word.text));
    let name = name.ok_or_else(|| {
        let may_become = word.form == Form::Plain && SetName::may_become(word.text);
        words.fault(word, SetName::EXPECTED, may_become)
    })?;
    let open = words.require(OPEN_SET)?;
    if !open.is_mark(b"{") {
        return Err(words.fault(open, OPEN_SET, false));
    }
    Ok((name, word))
}

/// Parses `N` or `comment "..."`; `others` are words that might have stood there.
fn target<'a>(
    words: &mut Words<'a>,
    expected: &'static str,
    others: &[&str],
) -> Result<Target<'a>, Fault> {
    let word = words.require(expected)?;
    if word.form == Form::Plain && word.text == b"comment" {
        let quoted = words.peek().unwrap_or(word);
        return Ok(Target::Comment(quoted, text::COMMENT.parse(words)?));
    }
    match rule_number(word) {
        Some(number) => Ok(Target::Number(word, number)),
        None => {
            let may_become = begins(word, others) || is_zero(word);
            Err(words.fault(word, expected, may_become))
        }
    }
}

/// Parses a rule behind its verb, up to the end of the line.
fn rule<'a>(words: &mut Words<'a>, verb: Verb) -> Result<RuleText<'a>, Fault> {
    let (verb, answer) = with(words, verb, KEY)?;
    let verb = queue(words, verb, KEY)?;
    let reset = answer.filter(|_| verb == Verb::Reject(Answer::TcpReset));
    let (mut priority, mut comment, mut log) = (None, None, None);
    let demands = Demands {
        only_tcp: reset,
        only_host: matches!(verb, Verb::Queue(_)),
    };
    let matches = matches(words, None, demands, KEY, &OPTIONS, |words, key| {
        match key.text {
            b"priority" => once(words, key, &mut priority, |words| {
                let word = words.require(Priority::EXPECTED)?;
                item::<Priority>(words, word)
            })?,
            b"log" => once(words, key, &mut log, log_option)?,
            b"comment" => once(words, key, &mut comment, |words| text::COMMENT.parse(words))?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let options = OptionsText {
        priority: priority.unwrap_or_default(),
        comment: comment.unwrap_or_default(),
        log,
    };
    Ok(RuleText {
        verb,
        matches,
        options,
    })
}

/// What a rule's verb asks of its match words.
#[derive(Clone, Copy, Default)]
struct Demands<'a> {
    /// A word, if there is one, that is in place only with TCP.
    only_tcp: Option<Word<'a>>,
    /// Whether the rule must be for the host's namespace only: others have listeners of their own, and
    /// so might decide about their own packets.
    only_host: bool,
}

/// Parses `["PREFIX"] [every TIME]`.
fn log_option<'a>(words: &mut Words<'a>) -> Result<LogText<'a>, Fault> {
    let quoted = |word: Word<'_>| matches!(word.form, Form::Quoted | Form::Unclosed);
    let prefix = match words.peek() {
        Some(word) if quoted(word) => text::PREFIX.parse(words)?,
        _ => &[],
    };
    let every = match words.peek() {
        Some(word) if word.form == Form::Plain && word.text == b"every" => {
            words.next();
            let word = words.require(Period::EXPECTED)?;
            item::<Period>(words, word)?
        }
        _ => Period::DEFAULT,
    };
    Ok(LogText { prefix, every })
}

fn default<'a>(words: &mut Words<'a>) -> Result<DefaultText<'a>, Fault> {
    let word = words.require(DEFAULT_VERB)?;
    // A default is the end of the walk: there is nothing that `audit` could leave the decision to.
    let verb = verb(word)
        .filter(|verb| *verb != Verb::Audit)
        .ok_or_else(|| words.fault(word, DEFAULT_VERB, begins(word, &DEFAULT_VERBS)))?;
    let (verb, answer) = with(words, verb, SCOPE_KEY)?;
    if let (Verb::Reject(Answer::TcpReset), Some(word)) = (verb, answer) {
        return Err(words.fault(word, RESET_DEFAULT, false));
    }
    let verb = queue(words, verb, SCOPE_KEY)?;
    let (mut hooks, mut netns, mut log) = (None, None, None);
    let queues = matches!(verb, Verb::Queue(_));
    while let Some(key) = words.next() {
        match key.text {
            b"hook" if key.form == Form::Plain => once(words, key, &mut hooks, flags::<Hook>)?,
            b"netns" if key.form == Form::Plain => {
                let word = words.peek();
                once(words, key, &mut netns, one_netns)?;
                if let Some(word) = word.filter(|_| queues && netns != Some(NetnsMatch::Host)) {
                    return Err(Fault::at_word(word, HOST_ONLY));
                }
            }
            b"log" if key.form == Form::Plain => once(words, key, &mut log, log_option)?,
            _ => return Err(words.fault(key, SCOPE_KEY, begins(key, &SCOPE_KEYS))),
        };
    }
    if queues && netns.is_none() {
        return Err(words.missing(HOST_ONLY));
    }
    let scope = Scope {
        hooks: hooks.unwrap_or_default(),
        netns: netns.unwrap_or_default(),
    };
    let default = DefaultVerb { verb, scope };
    Ok(DefaultText { default, log })
}

/// The one namespace that a default may name.
fn one_netns(words: &mut Words<'_>) -> Result<NetnsMatch, Fault> {
    let word = words.require(NetnsMatch::EXPECTED)?;
    let netns = item::<NetnsMatch>(words, word)?;
    match words.comma() {
        Some(comma) => {
            words.next();
            Err(words.fault(comma, ONE_NETNS, false))
        }
        None => Ok(netns),
    }
}

/// There are no words but match words.
fn no_option<'a>(_words: &mut Words<'a>, _word: Word<'a>) -> Result<bool, Fault> {
    Ok(false)
}

/// Fills `slot` by what `parse` makes of the words behind `key`.
fn once<'a, T>(
    words: &mut Words<'a>,
    key: Word<'_>,
    slot: &mut Option<T>,
    parse: impl FnOnce(&mut Words<'a>) -> Result<T, Fault>,
) -> Result<(), Fault> {
    if slot.is_some() {
        return Err(words.fault(key, TWICE, false));
    }
    *slot = Some(parse(words)?);
    Ok(())
}

/// Parses match words up to the end of the line; `first` is one that was already taken. `others` are
/// words that might have stood there instead. `option` is asked to take a word that is no match word,
/// with what is behind it.
fn matches<'a>(
    words: &mut Words<'a>,
    first: Option<Word<'a>>,
    demands: Demands<'a>,
    expected: &'static str,
    others: &[&str],
    mut option: impl FnMut(&mut Words<'a>, Word<'a>) -> Result<bool, Fault>,
) -> Result<MatchText<'a>, Fault> {
    let mut text = MatchText {
        line: *words,
        ..MatchText::default()
    };
    let (mut families, mut places, mut states, mut hooks) = (None, None, None, None);
    // The last of the words that may not fit the rest.
    let (mut family_word, mut port_word, mut type_word, mut origin_word) = (None, None, None, None);
    let mut addr_families = FamilySet::all();

    let mut next = first.or_else(|| words.next());
    while let Some(key) = next {
        let name = if key.form == Form::Plain {
            key.text
        } else {
            b""
        };
        let value = *words;
        match name {
            b"family" => once(words, key, &mut families, flags::<Family>)?,
            b"fragment" => once(words, key, &mut places, flags::<Place>)?,
            b"state" => once(words, key, &mut states, flags::<State>)?,
            b"hook" => once(words, key, &mut hooks, flags::<Hook>)?,
            _ => {
                let known = Key::ALL
                    .into_iter()
                    .find(|key| key.name().as_bytes() == name);
                let slot = known.and_then(|key| text.clauses.get_mut(key as usize));
                let (Some(known), Some(slot)) = (known, slot) else {
                    if key.form == Form::Plain && option(words, key)? {
                        next = words.next();
                        continue;
                    }
                    let may_become = begins(key, others)
                        || begins(key, &FLAG_KEYS)
                        || Key::ALL
                            .into_iter()
                            .any(|known| begins(key, &[known.name()]));
                    return Err(words.fault(key, expected, may_become));
                };
                once(words, key, slot, |words| clause(words, known))?;
            }
        }
        text.families = families.unwrap_or_default();
        match name {
            b"from" => {
                addr_families = addr_families.and(text.families_of(Key::From));
                family_word = Some(value);
            }
            b"to" => {
                addr_families = addr_families.and(text.families_of(Key::To));
                family_word = Some(value);
            }
            b"origdst" => {
                addr_families = addr_families.and(text.families_of(Key::OrigDst));
                family_word = Some(value);
            }
            b"family" => family_word = Some(value),
            b"origdport" => origin_word = Some(key),
            b"sport" | b"dport" => port_word = port_word.or(Some(key)),
            b"icmp-type" => type_word = Some(key),
            _ => {}
        }
        // More bytes might add another value to the last word.
        let mendable = words.may_go_on();
        if text.families.and(addr_families).is_empty() {
            if let Some(word) = family_word.and_then(|value| value.peek()) {
                return Err(words.fault(word, SAME_FAMILY, mendable));
            }
        }
        if let Some(word) = port_word.filter(|_| text.lacks(Protocol::has_ports)) {
            return Err(words.fault(word, WITH_PORTS, mendable));
        }
        if let Some(word) = origin_word.filter(|_| text.lacks(Protocol::tells_of_ports)) {
            return Err(words.fault(word, WITH_PORTS, mendable));
        }
        let no_types = || port_word.is_some() || text.lacks(Protocol::is_icmp);
        if let Some(word) = type_word.filter(|_| no_types()) {
            return Err(words.fault(word, WITH_TYPES, mendable));
        }
        let only_tcp = || text.only(Protocol::TCP);
        let reset = demands.only_tcp;
        if let Some(word) = reset.filter(|_| text.clause(Key::Proto).is_some() && !only_tcp()) {
            return Err(words.fault(word, RESET_TCP, mendable));
        }
        // No other value, and no other word, mends that.
        if let Some(word) = text.elsewhere().filter(|_| demands.only_host) {
            return Err(Fault::at_word(word, HOST_ONLY));
        }
        next = words.next();
    }
    if demands.only_tcp.is_some() && text.clause(Key::Proto).is_none() {
        return Err(words.missing(RESET_TCP));
    }
    if demands.only_host && text.clause(Key::Netns).is_none() {
        return Err(words.missing(HOST_ONLY));
    }
    text.places = places.unwrap_or_default();
    text.states = states.unwrap_or_default();
    text.hooks = hooks.unwrap_or_default();
    Ok(text)
}

fn clause(words: &mut Words<'_>, key: Key) -> Result<Extent, Fault> {
    match key {
        Key::From | Key::To | Key::OrigDst => values::<AddrRange>(words, key),
        Key::Proto => values::<Protocol>(words, key),
        Key::IcmpType => values::<IcmpType>(words, key),
        Key::Sport | Key::Dport | Key::OrigDport => values::<PortRange>(words, key),
        Key::In | Key::Out | Key::PortIn | Key::PortOut => values::<IfPattern>(words, key),
        Key::Mark => values::<MarkMatch>(words, key),
        Key::Cgroup => extent(words, key, |words| {
            each_word(words, CgroupPath::EXPECTED, path)
        }),
        Key::Netns => values::<NetnsMatch>(words, key),
    }
}

fn values<T: Value>(words: &mut Words<'_>, key: Key) -> Result<Extent, Fault> {
    extent(words, key, |words| each::<T>(words, |_| {}))
}

/// Parses `[!] VALUES`, where values may be a named set if `key` takes some, and are what `parse` takes
/// if they are none.
fn extent<'a>(
    words: &mut Words<'a>,
    key: Key,
    parse: impl FnOnce(&mut Words<'a>) -> Result<(), Fault>,
) -> Result<Extent, Fault> {
    let negated = negation(words);
    let start = words.cursor();
    let word = Some(*words).filter(|words| words.first_byte() == Some(b'@'));
    let word = word.and_then(|words| words.peek());
    if let (Some(word), Some((_, expected))) = (word, key.sets()) {
        if let Some(name) = word.text.strip_prefix(b"@") {
            words.next();
            if SetName::parse(name).is_none() {
                return Err(words.fault(word, expected, SetName::may_become(name)));
            }
            return Ok(Extent {
                start,
                end: words.cursor(),
                negated,
                named: true,
            });
        }
    }
    parse(words)?;
    Ok(Extent {
        start,
        end: words.cursor(),
        negated,
        named: false,
    })
}

/// Parses `[!] VALUES` to a set of flags, of which some must be left.
fn flags<T: Value + Flag>(words: &mut Words<'_>) -> Result<Flags<T>, Fault> {
    let negated = negation(words);
    let first = words.peek();
    let mut set = Flags::EMPTY;
    each::<T>(words, |flag| set = set.with(flag))?;
    if !negated {
        return Ok(set);
    }
    match first {
        Some(word) if set.complement().is_empty() => {
            Err(words.fault(word, SOMETHING, words.may_go_on()))
        }
        _ => Ok(set.complement()),
    }
}

/// Whether a `!` stands here, which is taken.
fn negation(words: &mut Words<'_>) -> bool {
    let negated = words.first_byte() == Some(b'!');
    if negated {
        words.next();
    }
    negated
}

/// Parses values as [`each_word`] does.
fn each<T: Value>(words: &mut Words<'_>, mut take: impl FnMut(T)) -> Result<(), Fault> {
    each_word(words, T::EXPECTED, |words, word| {
        take(item::<T>(words, word)?);
        Ok(())
    })
}

/// Parses `VALUE`, `VALUE,VALUE...` or `{ VALUE, VALUE... }`; `take` gets each value, which was just
/// taken from the words.
fn each_word<'a>(
    words: &mut Words<'a>,
    expected: &'static str,
    mut take: impl FnMut(&Words<'a>, Word<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut word = words.require(expected)?;
    let braced = word.is_mark(b"{");
    if braced {
        word = words.require(expected)?;
    }
    loop {
        take(words, word)?;
        if !braced {
            // A blank before the comma would end the word for good.
            if words.comma().is_none() {
                return Ok(());
            }
            words.next();
            word = words.require(expected)?;
            continue;
        }
        if !words.list_goes_on()? {
            return Ok(());
        }
        word = words.require(expected)?;
        if word.is_mark(b"}") {
            // A comma behind the last value does no harm.
            return Ok(());
        }
    }
}

/// Checks the path of a cgroup, which was just taken.
fn path(words: &Words<'_>, word: Word<'_>) -> Result<(), Fault> {
    let may_become = || word.form == Form::Plain && CgroupPath::may_become(word.text);
    match word.form {
        Form::Unclosed => Err(words.fault(word, QUOTE, true)),
        Form::Plain | Form::Quoted if CgroupPath::parse(word.text).is_some() => Ok(()),
        _ => Err(words.fault(word, CgroupPath::EXPECTED, may_become())),
    }
}

/// Parses one value, which was just taken.
fn item<T: Value>(words: &Words<'_>, word: Word<'_>) -> Result<T, Fault> {
    let may_become = || word.form == Form::Plain && T::may_become(word.text);
    match word.form {
        Form::Unclosed => Err(words.fault(word, QUOTE, true)),
        Form::Mark => Err(words.fault(word, T::EXPECTED, false)),
        Form::Plain | Form::Quoted => {
            T::parse(word.text).ok_or_else(|| words.fault(word, T::EXPECTED, may_become()))
        }
    }
}

/// Parses members of a set, of `kind` if that is known, up to the end of the line or the `}` that
/// closes it; gives their kind and themselves, if there are any, and notes in `state` whether the set
/// is still open.
fn members<'a>(
    words: &mut Words<'a>,
    mut kind: Option<SetKind>,
    state: &mut OpenSet,
) -> Result<Option<(SetKind, Words<'a>)>, Fault> {
    let from = *words;
    let mut to = *words;
    let mut any = false;
    let mut closed = false;
    while let Some(word) = words.next() {
        if word.is_mark(b"}") {
            closed = true;
            break;
        }
        let expected = kind.map_or(MEMBER, SetKind::expected);
        let known = match (word.form, kind) {
            (Form::Unclosed, _) => return Err(words.fault(word, QUOTE, true)),
            (Form::Mark, _) => None,
            (_, Some(kind)) => Some(kind).filter(|kind| kind.takes(word)),
            (_, None) => SetKind::of_member(word),
        };
        let Some(known) = known else {
            let may_become = word.form == Form::Plain
                && kind.map_or_else(
                    || {
                        [SetKind::Addrs, SetKind::Ports, SetKind::Interfaces]
                            .into_iter()
                            .any(|kind| kind.may_become(word.text))
                    },
                    |kind| kind.may_become(word.text),
                );
            return Err(words.fault(word, expected, may_become));
        };
        // The beginning of a member of another kind is no member yet.
        kind = Some(known);
        any = true;
        to = *words;
        match words.next() {
            Some(mark) if mark.is_mark(b",") => {}
            Some(mark) if mark.is_mark(b"}") => {
                closed = true;
                break;
            }
            Some(other) => return Err(words.fault(other, MORE, false)),
            None => break,
        }
    }
    if closed {
        words.end()?;
        *state = OpenSet(None);
    } else {
        *state = OpenSet(Some(kind));
    }
    Ok(kind.filter(|_| any).map(|kind| (kind, from.up_to(&to))))
}

/// Whether any of `names` begins with `word`.
fn begins(word: Word<'_>, names: &[&str]) -> bool {
    word.form == Form::Plain
        && names
            .iter()
            .any(|name| name.as_bytes().starts_with(word.text))
}
