// SPDX-License-Identifier: GPL-2.0

//! Tables as text: loading, reading back, being refused.

// Each test is a crate of its own and uses a part of this.
#![allow(dead_code)]

use ctrfw_core::error::Error;
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::memory::{Heap, NoMemory};
use ctrfw_core::parser::{Grammar, Statement, Table};
use ctrfw_core::policy::Policy;

struct Draft(Policy<Heap>);

impl Sink<Table> for Draft {
    type Error = NoMemory;

    fn accept(&mut self, statement: Statement<'_>) -> Result<(), Refusal<NoMemory>> {
        self.0.add(statement, None)
    }
}

/// Loads a table.
pub fn load(text: &str) -> Result<Policy<Heap>, Error> {
    let mut draft = Draft(Policy::default());
    let mut loader = Loader::new();
    let fed = loader.feed(text.as_bytes(), &mut draft);
    match fed.and_then(|()| loader.finish(&mut draft)) {
        Ok(()) => {
            draft.0.settle().unwrap();
            Ok(draft.0)
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
