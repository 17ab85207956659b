// SPDX-License-Identifier: GPL-2.0

//! What is wrong with a line, or odd.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text is no table.
    Error,
    /// It is one, but probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Something to tell about a place in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: u32,
    /// The byte in the line, from 1.
    pub column: u32,
    /// What it is.
    pub message: String,
    /// What stood there, as in the message; [`None`] for warnings, and where the line ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// What should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The rule that is spoken of, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// The rule that is in its way, from 1, and its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<Place>,
}

/// A rule and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The rule, from 1.
    pub rule: usize,
    /// Its line, from 1.
    pub line: u32,
}
