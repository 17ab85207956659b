// SPDX-License-Identifier: GPL-2.0

//! What names stand for now, by what engines know.

use std::collections::BTreeSet;

use ctrfw_core::addr::AddrRange;
use ctrfw_core::iface::IfPattern;
use ctrfw_core::port::PortRange;
use ctrfw_core::value::Value as _;
use ipnet::IpNet;

use super::expansion::Expansion;
use super::set::{Member, Role};
use super::{Kind, Name};
use crate::engine::inventory::Inventory;
use crate::problem::{Problem, Severity};

/// What one name stands for.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Addresses and subnets
    pub(crate) nets: BTreeSet<IpNet>,
    /// Interfaces
    pub(crate) bridges: BTreeSet<String>,
    /// There is something of this name, whatever it stands for.
    pub(crate) known: bool,
    /// A container of this name is in the host's network namespace.
    pub(crate) on_host: bool,
}

/// What all names of a text stand for.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    /// The members of each set
    pub(crate) members: Vec<Vec<String>>,
    /// Names that stand for nothing
    pub(crate) problems: Vec<Problem>,
}

/// Looks up the names of a text; it is this bad if there is nothing of a name.
pub(crate) fn look_up(
    expansion: &Expansion,
    inventories: &[&Inventory],
    missing: Severity,
) -> Lookup {
    let mut lookup = Lookup::default();
    for set in &expansion.sets {
        let mut found = Found::default();
        let mut members = Vec::new();
        for member in &set.members {
            match member {
                Member::Literal(text) => members.push(text.clone()),
                Member::Name(name, line, column) => {
                    let one = of_name(name, set.role, inventories);
                    if let Some((severity, message)) = trouble(name, set.role, &one, missing) {
                        lookup
                            .problems
                            .push(problem(severity, *line, *column, message));
                    }
                    found.nets.extend(one.nets);
                    found.bridges.extend(one.bridges);
                }
            }
        }
        members.extend(found.nets.iter().map(canonical));
        members.extend(found.bridges.iter().map(|bridge| device(bridge)));
        // As a user may have written what an engine says, too.
        let mut seen = BTreeSet::new();
        members.retain(|member| seen.insert(member.clone()));
        lookup.members.push(members);
    }
    lookup
}

fn of_name(name: &Name, role: Role, inventories: &[&Inventory]) -> Found {
    let mut found = Found::default();
    for inventory in inventories {
        inventory.find(name, &mut found);
    }
    match role {
        Role::Addresses => found.bridges.clear(),
        Role::Interfaces => found.nets.clear(),
    }
    found
}

fn trouble(
    name: &Name,
    role: Role,
    found: &Found,
    missing: Severity,
) -> Option<(Severity, String)> {
    if !found.known {
        let message = match name.kind {
            Kind::Container => "no engine has a container of this name",
            Kind::Network => "no engine has a network of this name",
            Kind::Label => "no engine has a container with this label",
        };
        return Some((missing, format!("{name}: {message}")));
    }
    if found.on_host && name.kind == Kind::Container {
        let message = "the container uses the host's network and has no address of its own";
        return Some((missing, format!("{name}: {message}")));
    }
    if found.nets.is_empty() && found.bridges.is_empty() {
        let message = match (name.kind, role) {
            (Kind::Container, _) => "the container has no address now",
            (Kind::Network, Role::Addresses) => "the network has no subnet",
            (Kind::Network, Role::Interfaces) => "the network has no bridge",
            (Kind::Label, _) => "no container with this label has an address now",
        };
        return Some((Severity::Warning, format!("{name}: {message}")));
    }
    None
}

fn problem(severity: Severity, line: u32, column: u32, message: String) -> Problem {
    Problem {
        severity,
        line,
        column,
        message,
        got: None,
        expected: None,
        suggestion: None,
        rule: None,
        shadowed_by: None,
    }
}

/// As a member of a set, where it must not be taken for anything else.
fn device(name: &str) -> String {
    let text = name.as_bytes();
    let other = AddrRange::parse(text).is_some() || PortRange::parse(text).is_some();
    match IfPattern::parse(text) {
        Some(pattern) if !other && pattern.to_string() == name => name.to_owned(),
        _ => format!("\"{name}\""),
    }
}

/// As the table lists it.
fn canonical(net: &IpNet) -> String {
    let text = net.trunc().to_string();
    AddrRange::parse(text.as_bytes()).map_or(text, |range| range.to_string())
}
