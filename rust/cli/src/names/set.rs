// SPDX-License-Identifier: GPL-2.0

//! The named sets that take the place of names.

use std::collections::BTreeSet;

use ctrfw_core::set::{SetName, MAX_NAME};

use super::{Kind, Name};

/// What the members of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Addresses: of containers, and the subnets of networks
    Addresses,
    /// Interfaces: the bridges of networks
    Interfaces,
}

/// A member, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// What is no name
    Literal(String),
    /// A name, with its line and column, both from 1
    Name(Name, u32, u32),
}

/// A set with names among its members.
#[derive(Clone, Debug)]
pub(crate) struct NamedSet {
    /// Its name in the table
    pub(crate) name: String,
    /// It gets other members, and is there already
    pub(crate) replace: bool,
    /// What its members are
    pub(crate) role: Role,
    /// As they were written
    pub(crate) members: Vec<Member>,
    /// Where it was written, both from 1
    pub(crate) at: (u32, u32),
}

/// The longest line of a set in bytes; the module takes 1023.
const MAX_LINE: usize = 900;

/// The statement that gives set `name` these members, which takes several lines if there are many.
pub(crate) fn statement(name: &str, members: &[String], replace: bool) -> Vec<String> {
    let word = if replace { "replace set" } else { "set" };
    if members.is_empty() {
        return vec![format!("{word} {name} {{ }}")];
    }
    let one = format!("{word} {name} {{ {} }}", members.join(", "));
    if one.len() <= MAX_LINE {
        return vec![one];
    }
    let mut lines = vec![format!("{word} {name} {{")];
    let mut line = String::new();
    for member in members {
        if line.len().saturating_add(member.len()) > MAX_LINE {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(&format!("\t{member},"));
    }
    lines.push(line);
    lines.push("}".to_owned());
    lines
}

/// A name for a set of these members that is none of `taken`: as telling as 31 characters let it be.
pub(crate) fn name_for(role: Role, members: &[Member], taken: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for member in members {
        match member {
            Member::Literal(literal) => text.push_str(literal),
            Member::Name(name, ..) => text.push_str(&name.to_string()),
        }
        text.push(' ');
    }
    let names = members.iter().filter_map(|member| match member {
        Member::Name(name, ..) => Some(name),
        Member::Literal(_) => None,
    });
    let first = names.into_iter().next();
    let kind = match (role, first.map(|name| name.kind)) {
        (Role::Interfaces, _) => "bridge",
        (_, Some(kind)) => kind.word(),
        (_, None) => Kind::Container.word(),
    };
    let value = first.map_or("", |name| &name.value);
    let plain: String = value
        .chars()
        .map(|c| match c {
            _ if c.is_ascii_alphanumeric() || "_-.".contains(c) => c,
            _ => '_',
        })
        .collect();
    let whole = format!("{kind}.{plain}");
    let same = plain == value && members.len() == 1 && whole.len() <= MAX_NAME;
    if same && !taken.contains(&whole) {
        return whole;
    }
    let mut salt = 0u32;
    loop {
        let hash = hash(&format!("{text}{salt}"));
        let room = MAX_NAME.saturating_sub(kind.len().saturating_add(8));
        let name = format!("{kind}.{}.{hash:06x}", ending(&plain, room));
        if !taken.contains(&name) && SetName::parse(name.as_bytes()).is_some() {
            return name;
        }
        salt = salt.saturating_add(1);
    }
}

/// The last `room` characters of `text`, from the beginning of a part between dots on if one begins there.
fn ending(text: &str, room: usize) -> &str {
    if text.len() <= room {
        return text;
    }
    let from = text.len().saturating_sub(room);
    let end = text.get(from..).unwrap_or(text);
    match end.split_once('.') {
        Some((_, parts)) if !parts.is_empty() => parts,
        _ => end,
    }
}

/// 24 bits of FNV-1a: to tell names apart, not to keep anybody out.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash >> 8) ^ (hash & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, role: Role, taken: &[&str]) -> String {
        let members: Vec<Member> = text
            .split(' ')
            .map(|word| match Name::parse(word.as_bytes()) {
                Some(Ok(name)) => Member::Name(name, 1, 1),
                _ => Member::Literal(word.to_owned()),
            })
            .collect();
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        name_for(role, &members, &taken)
    }

    #[test]
    fn telling_names() {
        for (text, role, expected) in [
            ("container:web", Role::Addresses, "container.web"),
            ("network:back_end", Role::Addresses, "network.back_end"),
            ("network:back_end", Role::Interfaces, "bridge.back_end"),
            ("label:tier", Role::Addresses, "label.tier"),
        ] {
            assert_eq!(named(text, role, &[]), expected);
        }
        for (text, beginning) in [
            ("label:tier=front", "label.tier_front."),
            (
                "label:com.docker.compose.project=shop",
                "label.project_shop.",
            ),
            ("container:web container:db", "container.web."),
            ("container:web 10.0.0.1", "container.web."),
            (
                &format!("container:{}", "x".repeat(100)),
                "container.xxxxxxxxxxxxxx.",
            ),
        ] {
            let name = named(text, Role::Addresses, &[]);
            assert!(name.starts_with(beginning), "{name}");
            assert!(SetName::parse(name.as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn names_that_differ() {
        let mut all = BTreeSet::new();
        for text in [
            "container:web",
            "container:web container:db",
            "container:web 10.0.0.1",
            "label:a=b",
            "label:a_b",
            "label:a",
            "label:a=",
        ] {
            assert!(all.insert(named(text, Role::Addresses, &[])), "{text}");
        }
        let other = named("container:web", Role::Addresses, &["container.web"]);
        assert!(other.starts_with("container.web."), "{other}");
        assert_ne!(
            named("container:web", Role::Addresses, &["container.web", &other]),
            other
        );
    }

    #[test]
    fn statements() {
        assert_eq!(statement("a", &[], false), ["set a { }"]);
        let two = ["10.0.0.1".to_owned(), "fe80::1".to_owned()];
        assert_eq!(
            statement("a", &two, true),
            ["replace set a { 10.0.0.1, fe80::1 }"]
        );
        let many: Vec<String> = (0..1000)
            .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
            .collect();
        let lines = statement("a", &many, false);
        assert!(lines.iter().all(|line| line.len() < 1000));
        let (policy, problems) = crate::policy::Policy::parse(lines.join("\n").as_bytes());
        assert_eq!(problems, []);
        assert_eq!(policy.canonical().len(), 1002);
    }
}
