// SPDX-License-Identifier: GPL-2.0

//! The limit on log lines: never more than the rate and the burst allow, never less than the rate.

mod common;

use ctrfw_core::limit::RateLimit;
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// The times of `arrivals` that are admitted.
fn admitted(limit: RateLimit, arrivals: &[u64]) -> Vec<u64> {
    let mut state = 0;
    let mut times = Vec::new();
    for now in arrivals {
        if let Some(next) = limit.admit(state, *now) {
            state = next;
            times.push(*now);
        }
    }
    times
}

/// Times that begin at `start` and are `gaps` apart.
fn arrivals(start: u64, gaps: &[u64]) -> Vec<u64> {
    let mut now = start;
    gaps.iter()
        .map(|gap| {
            now += gap;
            now
        })
        .collect()
}

/// The most lines in `time` nanoseconds; the interval between two is a whole number of them.
fn most(rate: u32, burst: u32, time: u64) -> u64 {
    let interval = SECOND / u64::from(rate);
    u64::from(burst) + time / interval
}

fn gaps() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![
        4 => Just(0),
        4 => 0..1000u64,
        4 => 0..SECOND / 100,
        1 => 0..2 * SECOND,
    ];
    vec(gap, 1..300)
}

proptest! {
    #![proptest_config(common::config(1000))]

    #[test]
    fn no_window_holds_too_many(
        rate in 1..100_000u32,
        burst in 1..100u32,
        start in 0..u64::MAX / 2,
        gaps in gaps(),
    ) {
        let arrivals = arrivals(start, &gaps);
        let times = admitted(RateLimit::new(rate, burst), &arrivals);
        for (index, first) in times.iter().enumerate() {
            for (count, last) in (1..).zip(&times[index..]) {
                let time = last - first;
                prop_assert!(count <= most(rate, burst, time), "{} in {} ns", count, time);
                // The same without the interval's rounding.
                let exact = f64::from(rate) * time as f64 / SECOND as f64;
                prop_assert!(count as f64 <= f64::from(burst) + exact * 1.0002 + 1.0);
            }
        }
    }

    /// As many as a bucket of `burst` lines that fills at the rate would let through, no fewer.
    #[test]
    fn nothing_is_left_out_without_need(
        rate in 1..100_000u32,
        burst in 1..100u32,
        start in SECOND..u64::MAX / 2,
        gaps in gaps(),
    ) {
        let arrivals = arrivals(start, &gaps);
        let limit = RateLimit::new(rate, burst);
        let interval = SECOND / u64::from(rate);
        let room = u128::from(interval) * u128::from(burst);
        let (mut level, mut before, mut state) = (room, start, 0);
        let mut counts = (0, 0);
        for now in arrivals {
            level = room.min(level + u128::from(now - before));
            before = now;
            let expected = level >= u128::from(interval);
            let next = limit.admit(state, now);
            prop_assert_eq!(next.is_some(), expected);
            match next {
                Some(next) => {
                    level -= u128::from(interval);
                    state = next;
                    counts.0 += 1;
                }
                None => counts.1 += 1,
            }
        }
        prop_assert_eq!(counts.0 + counts.1, gaps.len());
    }

    #[test]
    fn a_slow_source_is_never_limited(
        rate in 1..=1_000_000u32,
        burst in 0..100u32,
        start in SECOND..u64::MAX / 2,
        slack in vec(0..1000u64, 1..300),
    ) {
        let gaps: Vec<u64> =
            slack.iter().map(|slack| SECOND.div_ceil(u64::from(rate)) + slack).collect();
        let arrivals = arrivals(start, &gaps);
        prop_assert_eq!(&admitted(RateLimit::new(rate, burst), &arrivals), &arrivals);
    }
}

#[test]
fn a_flood_gets_the_burst_and_then_the_rate() {
    let limit = RateLimit::new(500, 2000);
    let every_microsecond: Vec<u64> = (0..3_000_000).map(|us| SECOND + us * 1000).collect();
    let times = admitted(limit, &every_microsecond);
    // The one that would make it 1500 is due when the three seconds are over.
    assert_eq!(times.len(), 2000 + 1499);
    let at_once = times
        .iter()
        .filter(|time| **time < SECOND + 2_000_000)
        .count();
    assert_eq!(at_once, 2000);
    for pair in times[2001..].windows(2) {
        assert_eq!(pair[1] - pair[0], SECOND / 500);
    }
    // After a rest the whole burst is there again, and no more.
    let mut state = 0;
    let mut count = 0;
    for _ in 0..10_000 {
        if let Some(next) = limit.admit(state, SECOND) {
            state = next;
            count += 1;
        }
    }
    assert_eq!(count, 2000);
    for _ in 0..10_000 {
        if let Some(next) = limit.admit(state, SECOND + 4 * SECOND) {
            state = next;
            count += 1;
        }
    }
    assert_eq!(count, 4000);
}

#[test]
fn one_line_is_always_possible() {
    for (rate, burst) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let limit = RateLimit::new(rate, burst);
        assert_eq!(limit, RateLimit::new(1, 1));
        let state = limit.admit(0, 7).unwrap();
        assert_eq!(limit.admit(state, 7), None);
        assert_eq!(limit.admit(state, 7 + SECOND - 1), None);
        assert!(limit.admit(state, 7 + SECOND).is_some());
    }
}

#[test]
fn the_greatest_numbers_do_no_harm() {
    let most = RateLimit::new(u32::MAX, u32::MAX);
    let least = RateLimit::new(1, u32::MAX);
    for limit in [most, least] {
        for now in [0, 1, u64::MAX - 1, u64::MAX] {
            for state in [0, 1, u64::MAX - 1, u64::MAX] {
                if let Some(next) = limit.admit(state, now) {
                    assert!(next >= state);
                }
            }
        }
    }
    // Another CPU's clock may lag a little: that counts nothing twice.
    let limit = RateLimit::new(1, 3);
    let state = limit.admit(0, 10 * SECOND).unwrap();
    let state = limit.admit(state, 10 * SECOND - 5).unwrap();
    assert_eq!(state, 12 * SECOND);
    assert_eq!(limit.admit(state, 10 * SECOND - 5), None);
}
