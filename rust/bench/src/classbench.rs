// SPDX-License-Identifier: GPL-2.0

//! Rule sets as files in ClassBench's format.
//!
//! `@SRC/LEN  DST/LEN  SPORT_LO : SPORT_HI  DPORT_LO : DPORT_HI  PROTO/MASK`, perhaps with further
//! columns, which are left out. A protocol's mask is `0xFF`, or `0x00` for any. In files of this
//! project addresses may be IPv6 ones, too.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{bail, ensure, Context as _, Result};

use crate::tuple::{prefix, prefix_len, width, RuleSet, Tuple};

/// Reads the sets that a folder has, in the order of their size.
pub fn folder(folder: &Path) -> Result<Vec<RuleSet>> {
    let mut sets = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        // What else lies there, a README say.
        if text.starts_with('@') {
            sets.push(parse(&name, &text).with_context(|| format!("{}", path.display()))?);
        }
    }
    sets.sort_by_key(|set| (set.rules.len(), set.name.clone()));
    Ok(sets)
}

/// The set that a file's text is.
pub fn parse(name: &str, text: &str) -> Result<RuleSet> {
    let mut rules = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            rules.push(rule(line).with_context(|| format!("line {}", index + 1))?);
        }
    }
    let v6 = rules.first().is_some_and(|rule| rule.v6);
    ensure!(
        rules.iter().all(|rule| rule.v6 == v6),
        "rules of both families"
    );
    Ok(RuleSet {
        name: name.to_owned(),
        v6,
        rules,
    })
}

fn rule(line: &str) -> Result<Tuple> {
    let mut words = line
        .strip_prefix('@')
        .context("no @ at its beginning")?
        .split_whitespace();
    let mut word = || words.next().context("too few columns");
    let (v6, from) = addrs(word()?)?;
    let (to_v6, to) = addrs(word()?)?;
    ensure!(v6 == to_v6, "addresses of both families");
    let mut ports = || -> Result<(u16, u16)> {
        let first = word()?.parse()?;
        ensure!(word()? == ":", "no : between ports");
        let last = word()?.parse()?;
        ensure!(first <= last, "ports {first} : {last}");
        Ok((first, last))
    };
    let (sport, dport) = (ports()?, ports()?);
    let rule = Tuple {
        v6,
        from,
        to,
        sport,
        dport,
        proto: proto(word()?)?,
    };
    ensure!(rule.is_sound(), "ports of a protocol that has none");
    Ok(rule)
}

fn addrs(text: &str) -> Result<(bool, (u128, u128))> {
    let (addr, len) = text.split_once('/').context("no / in a prefix")?;
    let (v6, bits) = match addr.parse()? {
        IpAddr::V4(addr) => (false, addr.to_bits().into()),
        IpAddr::V6(addr) => (true, addr.to_bits()),
    };
    let len = len.parse()?;
    ensure!(len <= width(v6), "a prefix of {len} bits");
    Ok((v6, prefix(v6, bits, len)))
}

fn proto(text: &str) -> Result<Option<u8>> {
    let hex = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16);
    let (value, mask) = text.split_once('/').context("no / in a protocol")?;
    Ok(match hex(mask)? {
        0 => None,
        0xff => Some(hex(value)?),
        other => bail!("a protocol's mask is {other:#x}"),
    })
}

/// A set as such a file; a rule whose addresses are no prefix has no place there.
pub fn print(set: &RuleSet) -> Result<String> {
    let mut text = String::new();
    for rule in &set.rules {
        let addrs = |addrs: (u128, u128)| {
            let len = prefix_len(set.v6, addrs).context("addresses that are no prefix")?;
            anyhow::Ok(if set.v6 {
                format!("{}/{len}", std::net::Ipv6Addr::from(addrs.0))
            } else {
                format!("{}/{len}", std::net::Ipv4Addr::from(addrs.0 as u32))
            })
        };
        let (value, mask) = rule.proto.map_or((0, 0), |proto| (proto, 0xff));
        writeln!(
            text,
            "@{}\t{}\t{} : {}\t{} : {}\t{value:#04x}/{mask:#04X}\t0x0000/0x0000",
            addrs(rule.from)?,
            addrs(rule.to)?,
            rule.sport.0,
            rule.sport.1,
            rule.dport.0,
            rule.dport.1,
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::generate;
    use crate::profile::PROFILES;

    #[test]
    fn what_is_printed_is_read_again() {
        for profile in &PROFILES {
            for v6 in [false, true] {
                let set = generate(profile, v6, 500, 1);
                let again = parse(&set.name, &print(&set).unwrap()).unwrap();
                assert_eq!(again.rules, set.rules);
            }
        }
    }

    #[test]
    fn a_line_of_classbench() {
        let line = "@10.0.0.0/8\t1.2.3.4/32\t0 : 65535\t1024 : 65535\t0x06/0xFF\t0x1000/0x1000\t\n";
        let set = parse("x", line).unwrap();
        assert_eq!(
            set.text(),
            "allow from 10.0.0.0/8 to 1.2.3.4/32 proto tcp dport 1024-65535\n"
        );
        for broken in [
            "10.0.0.0/8\t1.2.3.4/32\t0 : 65535\t0 : 65535\t0x06/0xFF",
            "@10.0.0.0/33\t1.2.3.4/32\t0 : 65535\t0 : 65535\t0x06/0xFF",
            "@10.0.0.0/8\t::/0\t0 : 65535\t0 : 65535\t0x06/0xFF",
            "@10.0.0.0/8\t1.2.3.4/32\t0 : 65535\t1 : 0\t0x06/0xFF",
            "@10.0.0.0/8\t1.2.3.4/32\t0 : 65535\t1 : 1\t0x01/0xFF",
            "@10.0.0.0/8\t1.2.3.4/32\t0 : 65535\t1 : 1\t0x06/0x0F",
            "@10.0.0.0/8\t1.2.3.4/32\t0 : 65535\t1 : 1",
        ] {
            assert!(parse("x", broken).is_err(), "{broken}");
        }
    }
}
