// SPDX-License-Identifier: GPL-2.0

//! Samples of a figure, and how sure it is.

use rand::Rng as _;

use crate::rng;

/// How many times samples are drawn anew.
const RESAMPLES: usize = 1000;

/// A median, and the interval that it is in with a probability of 95 % (percentile bootstrap).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median
    pub value: f64,
    /// Where the interval begins
    pub low: f64,
    /// Where it ends
    pub high: f64,
    /// How many samples there are.
    pub n: usize,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => f64::NAN,
        0 => (values[half - 1] + values[half]) / 2.0,
        _ => values[half],
    }
}

impl Estimate {
    /// Of these samples. The same for the same ones.
    pub fn of(samples: &[f64]) -> Self {
        let mut rng = rng(samples.len() as u64, 0xb007);
        let value = median(&mut samples.to_vec());
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let mut drawn: Vec<f64> = samples
                    .iter()
                    .map(|_| samples[rng.random_range(0..samples.len())])
                    .collect();
                median(&mut drawn)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Self {
            value,
            low: medians[RESAMPLES / 40],
            high: medians[RESAMPLES - 1 - RESAMPLES / 40],
            n: samples.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_interval_is_around_the_median_and_ignores_what_is_far_off() {
        let mut samples: Vec<f64> = (0..40).map(|index| 100.0 + f64::from(index % 5)).collect();
        samples[7] = 1e9;
        let estimate = Estimate::of(&samples);
        assert_eq!(estimate.value, 102.0);
        assert!(
            estimate.low >= 101.0 && estimate.high <= 103.0,
            "{estimate:?}"
        );
    }
}
