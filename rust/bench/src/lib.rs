// SPDX-License-Identifier: GPL-2.0

//! Measures the policy engine alone, on this machine's CPU, and checks it against an oracle.
//!
//! Of the core only what others use of it is used: text is loaded, packets are judged. So it is
//! measured and checked whatever the core does inside.

#![forbid(unsafe_code)]

pub mod adversary;
pub mod classbench;
pub mod clock;
pub mod common;
pub mod engine;
pub mod figure;
pub mod generator;
pub mod language;
pub mod linear;
pub mod measure;
pub mod model;
pub mod oracle;
pub mod peer;
pub mod profile;
pub mod sample;
pub mod shape;
pub mod suite;
pub mod trace;
pub mod tuple;

/// The random numbers of everything here: the same on every machine for the same seed.
pub type Rng = rand_pcg::Pcg64Mcg;

/// The random numbers number `stream` of `seed`.
pub fn rng(seed: u64, stream: u64) -> Rng {
    use rand::SeedableRng as _;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&mix(stream).to_le_bytes());
    let mut rng = Rng::from_seed(bytes);
    // Seeds that differ little give streams that do at first.
    rand::RngCore::next_u64(&mut rng);
    rng
}

/// A number that looks random, and is the same for the same `value` (splitmix64).
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One of several, each as often as its weight says.
pub fn weighted<'a, T>(rng: &mut Rng, choices: &'a [(u32, T)]) -> &'a T {
    use rand::Rng as _;
    let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut left = rng.random_range(0..total);
    for (weight, choice) in choices {
        if left < *weight {
            return choice;
        }
        left -= weight;
    }
    &choices[choices.len() - 1].1
}

/// One of several, each as often as any other.
pub fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    use rand::Rng as _;
    &choices[rng.random_range(0..choices.len())]
}
