// SPDX-License-Identifier: GPL-2.0

//! Tables as text: loading, reading back, being refused.

use super::cgroups;
use ctrfw_core::cgroup::CgroupId;
use ctrfw_core::edit::Addition;
use ctrfw_core::error::Error;
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::memory::{Heap, Memory, NoMemory};
use ctrfw_core::parser::{Grammar, Statement, Table};
use ctrfw_core::policy::{Policy, NO_EDIT};
use ctrfw_core::slot::Slots;

/// What is being written, perhaps to be put behind a policy.
struct Writing<'a, M: Memory> {
    addition: Addition<M>,
    base: Option<&'a Policy<M>>,
    /// Which cgroups paths lead to, if they lead anywhere.
    find: Option<fn(&str) -> CgroupId>,
}

impl<M: Memory> Sink<Table> for Writing<'_, M> {
    type Error = NoMemory;

    fn accept(&mut self, item: Statement<'_>) -> Result<(), Refusal<NoMemory>> {
        match (item, self.base) {
            (Statement::Edit(_), None) => return Err(Refusal::Expected(NO_EDIT)),
            (item, base) => self.addition.accept(item, base)?,
        }
        match self.find {
            Some(find) => self.addition.resolve_cgroups(|path| Ok(find(path))),
            None => Ok(()),
        }
    }
}

/// What `text` adds to `base`; without one it is a table of its own. Its cgroups are not looked up.
pub fn write<M: Memory>(
    text: &str,
    base: Option<&Policy<M>>,
) -> Result<Addition<M>, LoadError<NoMemory>> {
    write_with(text, base, None)
}

fn write_with<M: Memory>(
    text: &str,
    base: Option<&Policy<M>>,
    find: Option<fn(&str) -> CgroupId>,
) -> Result<Addition<M>, LoadError<NoMemory>> {
    let mut sink = Writing {
        addition: Addition::default(),
        base,
        find,
    };
    let mut loader = Loader::<Table>::new();
    loader.feed(text.as_bytes(), &mut sink)?;
    loader.finish(&mut sink)?;
    Ok(sink.addition)
}

/// The policy that `text` is.
pub fn policy(text: &str) -> Policy<Heap> {
    load(text).unwrap_or_else(|error| panic!("{error:?} in\n{text}"))
}

/// Loads a table.
pub fn load(text: &str) -> Result<Policy<Heap>, Error> {
    change(text, None)
}

/// A table with what `text` adds to it.
pub fn append(base: &Policy<Heap>, text: &str) -> Result<Policy<Heap>, Error> {
    change(text, Some(base))
}

fn change(text: &str, base: Option<&Policy<Heap>>) -> Result<Policy<Heap>, Error> {
    match write_with(text, base, Some(|path| cgroups::id(path).unwrap())) {
        Ok(addition) => {
            let mut slots = base.map_or_else(Slots::default, |base| base.taken_slots().unwrap());
            Ok(addition.finish(base, &mut slots).unwrap().0)
        }
        Err(LoadError::Language(error)) => Err(error),
        Err(LoadError::Sink(..)) => unreachable!("the heap is large enough"),
    }
}

/// A table as it reads.
pub fn lines(policy: &Policy<Heap>) -> Vec<String> {
    let line = |index| policy.line(index).unwrap().to_string();
    (0..policy.lines()).map(line).collect()
}

/// All of a policy in its canonical form.
pub fn listing(policy: &Policy<Heap>) -> String {
    lines(policy).into_iter().map(|line| line + "\n").collect()
}

/// What is said of a table that must be refused.
pub fn refused(text: &str) -> Error {
    match load(text) {
        Ok(policy) => panic!("{text:?} was taken: {:?}", lines(&policy)),
        Err(error) => error,
    }
}

/// Whether the beginning of a line is refused whatever follows.
pub fn definite(line: &[u8]) -> bool {
    match Table::parse(line, &mut Default::default()) {
        Ok(_) => false,
        Err(fault) => fault.definite,
    }
}
