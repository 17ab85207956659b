// SPDX-License-Identifier: GPL-2.0

//! What rule sets of three kinds look like: access lists, firewalls, and chains of a host's packet
//! filter.
//!
//! The weights are rounded from six public sets that ClassBench made (`docs/bench.md` compares).

/// How the addresses of some of the rules look: lengths of prefixes (in bits of IPv4), and how often.
pub struct Kind {
    /// Source
    pub from: &'static [(u32, u8)],
    /// Destination
    pub to: &'static [(u32, u8)],
}

/// What a rule says of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Nothing
    Any,
    /// 1024 to 65535
    High,
    /// One port
    Exact,
    /// From one to another
    Range,
}

/// The protocol of a rule, if it names one, and what it says of source and destination port.
pub type Service = (Option<u8>, Ports, Ports);

/// A kind of rule sets.
pub struct Profile {
    /// Its name
    pub name: &'static str,
    /// Pairs of lengths
    pub kinds: &'static [(u32, Kind)],
    /// Protocols and ports
    pub services: &'static [(u32, Service)],
    /// How many source addresses there are in a set's whole space, for each rule
    pub froms: f64,
    /// Destination addresses, likewise
    pub tos: f64,
    /// How likely a rule has the addresses of another one, for another service
    pub again: f64,
}

const TCP: Option<u8> = Some(6);
const UDP: Option<u8> = Some(17);
const ICMP: Option<u8> = Some(1);
const GRE: Option<u8> = Some(47);

use Ports::{Any, Exact, High, Range};

const WILD: &[(u32, u8)] = &[(66, 0), (30, 1), (4, 2)];
const HOSTS: &[(u32, u8)] = &[
    (1, 21),
    (2, 22),
    (1, 23),
    (2, 27),
    (3, 28),
    (3, 29),
    (9, 30),
    (36, 31),
    (43, 32),
];
const MIXED: &[(u32, u8)] = &[
    (8, 0),
    (4, 1),
    (2, 15),
    (4, 16),
    (3, 17),
    (1, 21),
    (4, 22),
    (12, 23),
    (14, 24),
    (10, 25),
    (5, 26),
    (3, 27),
    (2, 28),
    (1, 29),
    (1, 30),
    (9, 31),
    (17, 32),
];

/// All kinds.
pub static PROFILES: [Profile; 3] = [
    // Long prefixes on both sides, any source port, tcp to one destination port.
    Profile {
        name: "acl",
        kinds: &[(
            1,
            Kind {
                from: &[
                    (2, 22),
                    (7, 23),
                    (5, 24),
                    (1, 25),
                    (1, 29),
                    (5, 30),
                    (25, 31),
                    (54, 32),
                ],
                to: &[
                    (1, 0),
                    (1, 15),
                    (1, 16),
                    (1, 17),
                    (2, 21),
                    (7, 22),
                    (4, 23),
                    (2, 24),
                    (2, 25),
                    (1, 28),
                    (5, 30),
                    (21, 31),
                    (52, 32),
                ],
            },
        )],
        services: &[
            (60, (TCP, Any, Exact)),
            (17, (TCP, Any, Any)),
            (11, (TCP, Any, Range)),
            (8, (None, Any, Any)),
            (3, (ICMP, Any, Any)),
            (1, (UDP, Any, Exact)),
        ],
        froms: 2.0,
        tos: 0.05,
        again: 0.3,
    },
    // Either side wild, source ports too.
    Profile {
        name: "fw",
        kinds: &[
            (
                53,
                Kind {
                    from: WILD,
                    to: HOSTS,
                },
            ),
            (
                20,
                Kind {
                    from: HOSTS,
                    to: WILD,
                },
            ),
            (
                17,
                Kind {
                    from: HOSTS,
                    to: HOSTS,
                },
            ),
            (
                10,
                Kind {
                    from: WILD,
                    to: WILD,
                },
            ),
        ],
        services: &[
            (44, (TCP, Any, Exact)),
            (14, (UDP, Any, Exact)),
            (10, (UDP, Exact, Any)),
            (9, (TCP, Any, Any)),
            (5, (GRE, Any, Any)),
            (4, (ICMP, Any, Any)),
            (4, (TCP, High, High)),
            (3, (UDP, Exact, Exact)),
            (2, (UDP, High, High)),
            (2, (UDP, Exact, High)),
            (2, (UDP, High, Exact)),
            (1, (None, Any, Any)),
        ],
        froms: 3.0,
        tos: 6.0,
        again: 0.05,
    },
    // Prefixes of all lengths, a third of the rules for any protocol.
    Profile {
        name: "ipc",
        kinds: &[
            (
                92,
                Kind {
                    from: MIXED,
                    to: MIXED,
                },
            ),
            (
                8,
                Kind {
                    from: &[(2, 31), (3, 32)],
                    to: &[(2, 31), (5, 32)],
                },
            ),
        ],
        services: &[
            (33, (None, Any, Any)),
            (22, (UDP, Any, Exact)),
            (14, (TCP, Any, Exact)),
            (8, (UDP, Exact, Any)),
            (8, (TCP, Exact, Any)),
            (6, (UDP, Any, High)),
            (2, (TCP, Any, Any)),
            (2, (TCP, Any, Range)),
            (2, (TCP, Range, Any)),
            (1, (ICMP, Any, Any)),
            (1, (UDP, Exact, Exact)),
            (1, (UDP, Any, Range)),
        ],
        froms: 0.6,
        tos: 1.5,
        again: 0.1,
    },
];

/// Ports of services, the more frequent ones first: the n-th is as likely as 1/n.
pub const SERVICES: [u16; 40] = [
    80, 53, 25, 22, 123, 443, 1521, 161, 69, 514, 21, 750, 1433, 88, 135, 137, 544, 2105, 110, 143,
    23, 389, 445, 1526, 3306, 5432, 8080, 993, 995, 5060, 1812, 1813, 636, 2049, 3389, 5900, 6379,
    9003, 9090, 27017,
];
