// SPDX-License-Identifier: GPL-2.0

//! A small run of the check that `make oracle` makes a large one of.

use ctrfw_bench::oracle::run;

#[test]
fn policy_and_oracle_agree() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = match run(1_000_000, 1, threads, 0) {
        Ok(report) => report,
        Err(disagreement) => panic!("{disagreement}"),
    };
    // Of every generator there was something.
    assert_eq!(report.pairs.len(), 14, "{report:?}");
}
