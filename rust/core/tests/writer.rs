// SPDX-License-Identifier: GPL-2.0

//! What a buffer says of numbers is what everybody says, and it is never more than there is room for.

mod common;

use std::fmt::Write;

use ctrfw_core::event::write_time;
use ctrfw_core::writer::{Buffer, Writer, SHORT};
use proptest::prelude::*;

/// What `write` adds to a buffer.
fn written(write: impl FnOnce(&mut Buffer<Vec<u8>>)) -> String {
    let mut buffer = Buffer::new(vec![0; 64]);
    write(&mut buffer);
    String::from_utf8(buffer.text().to_vec()).unwrap()
}

fn number(number: u64) -> String {
    written(|buffer| buffer.number(number).unwrap())
}

#[test]
fn numbers() {
    let powers = (0..20).map(|power| 10u64.pow(power));
    let around = powers.flat_map(|power| [power - 1, power, power + 1]);
    for value in (0..2000).chain(around).chain([u64::MAX]) {
        assert_eq!(number(value), value.to_string());
        assert_eq!(
            written(|buffer| buffer.three(value).unwrap()),
            format!("{:03}", value % 1000)
        );
    }
    for value in 0..=u16::MAX {
        assert_eq!(
            written(|buffer| buffer.hex(value).unwrap()),
            format!("{value:x}")
        );
    }
}

#[test]
fn times() {
    for (ns, expected) in [
        (0, "[    0.000000]"),
        (1_999, "[    0.000001]"),
        (9_999_999_999, "[    9.999999]"),
        (10_000_001_000, "[   10.000001]"),
        (12_345_067_890_123, "[12345.067890]"),
        (123_456_000_000_000, "[123456.000000]"),
    ] {
        assert_eq!(written(|buffer| write_time(buffer, ns).unwrap()), expected);
    }
}

proptest! {
    #![proptest_config(common::config(2000))]

    #[test]
    fn any_number(value: u64) {
        prop_assert_eq!(number(value), value.to_string());
    }

    /// What does not fit is refused, and what is there stays.
    #[test]
    fn full(room in 0..40usize, pieces in prop::collection::vec((0..4u8, any::<u64>()), 0..20)) {
        let mut buffer = Buffer::new(vec![0; room]);
        let mut expected = String::new();
        for (kind, value) in pieces {
            let (piece, added) = match kind {
                0 => (value.to_string(), buffer.number(value)),
                1 => (format!("{:x}", value as u16), buffer.hex(value as u16)),
                2 => {
                    let len = value as usize % (SHORT + 1);
                    ("x".repeat(len), buffer.ascii(&[b'x'; SHORT], len))
                }
                _ => (" key=".to_owned(), buffer.write_str(" key=")),
            };
            match added {
                Ok(()) => expected.push_str(&piece),
                // Of a long number the beginning may have had room.
                Err(_) => {
                    prop_assert!(buffer.left() < SHORT);
                    break;
                }
            }
            prop_assert_eq!(buffer.text(), expected.as_bytes());
            prop_assert_eq!(buffer.left(), room - expected.len());
        }
        prop_assert!(buffer.text().starts_with(expected.as_bytes()));
        buffer.clear();
        prop_assert_eq!((buffer.text(), buffer.left()), (&[][..], room));
    }
}
