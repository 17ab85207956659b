// SPDX-License-Identifier: GPL-2.0

//! Figures, as all parts of `make bench` write them.

use serde::Serialize;

use crate::sample::Estimate;

/// A figure with its spread.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it belongs to, such as `throughput acl1_1k`.
    pub group: String,
    /// Whose it is, such as `ctrfw`.
    pub name: String,
    /// In what it is measured.
    pub unit: &'static str,
    /// The figure itself
    pub value: f64,
    /// Where the interval of 95 % begins
    pub low: f64,
    /// Where it ends
    pub high: f64,
    /// How many samples there are
    pub n: usize,
    /// How it was measured
    pub how: String,
}

impl Figure {
    /// A figure that was sampled.
    pub fn new(
        group: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        estimate: Estimate,
        how: impl Into<String>,
    ) -> Self {
        let Estimate {
            value,
            low,
            high,
            n,
        } = estimate;
        Self {
            group: group.into(),
            name: name.into(),
            unit,
            value,
            low,
            high,
            n,
            how: how.into(),
        }
    }

    /// A figure that is the same each time.
    pub fn exact(
        group: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        value: f64,
        how: impl Into<String>,
    ) -> Self {
        let estimate = Estimate {
            value,
            low: value,
            high: value,
            n: 1,
        };
        Self::new(group, name, unit, estimate, how)
    }
}
