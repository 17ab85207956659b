// SPDX-License-Identifier: GPL-2.0

//! ctrfw: one allow/deny table and one trace at the first place of every netfilter hook, in every
//! network namespace.

#![deny(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

use kernel::prelude::*;

mod firewall;
#[allow(unsafe_code)]
mod sys;

module! {
    type: Ctrfw,
    name: "ctrfw",
    authors: ["The ctrfw authors"],
    description: "Packet filter and tracer for container hosts, in every network namespace",
    license: "GPL",
    params: {
        max_rules: u32 {
            default: 100_000,
            description: "Most rules and defaults that the table may have",
        },
        max_values: u32 {
            default: 1_000_000,
            description: "Most addresses, ports and other values in the table's rules and sets",
        },
        max_sets: u32 {
            default: 1_000,
            description: "Most named sets in the table",
        },
        max_bytes: u32 {
            default: 134_217_728,
            description: "Most bytes of memory that the table may take, without its counters",
        },
        flow_cache: u32 {
            default: 4096,
            description: "Flows that each CPU remembers the verdicts for; 0: none",
        },
        trace_rate: u32 {
            default: 100,
            description: "Most trace lines a second in the long run",
        },
        trace_burst: u32 {
            // About what fits into Debian's kernel log of 128 KiB.
            default: 400,
            description: "Most trace lines at once",
        },
        trace_bytes: u32 {
            default: 16_777_216,
            description: "Most bytes that traced events take, on all CPUs together, while they are traced or read",
        },
        log_rate: u32 {
            default: 20,
            description: "Most log lines a second in the long run",
        },
        log_burst: u32 {
            default: 200,
            description: "Most log lines at once",
        },
    },
}

/// The module, loaded. The fields are dropped in this order: first nobody can write or read any
/// more, then no packet is judged, then what the verdicts came from goes.
struct Ctrfw {
    _active: firewall::Active,
    _files: sys::procfs::Directory,
    _hooks: sys::netfilter::Registration<firewall::hooks::Hooks>,
    _firewall: firewall::Global,
    _goodbye: Goodbye,
}

impl kernel::Module for Ctrfw {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let limits = firewall::Limits {
            rules: module_parameters::max_rules.value() as usize,
            values: module_parameters::max_values.value() as usize,
            sets: module_parameters::max_sets.value() as usize,
            bytes: module_parameters::max_bytes.value() as usize,
            flow_cache: module_parameters::flow_cache.value() as usize,
            trace_rate: module_parameters::trace_rate.value(),
            trace_burst: module_parameters::trace_burst.value(),
            trace_bytes: module_parameters::trace_bytes.value() as usize,
            log_rate: module_parameters::log_rate.value(),
            log_burst: module_parameters::log_burst.value(),
        };
        let firewall = firewall::Global::new(limits)?;
        let hooks = sys::netfilter::Registration::new()?;
        let files = firewall::files::create()?;
        pr_info!(
            "version {}, hooks PRE_ROUTING LOCAL_IN FORWARD POST_ROUTING LOCAL_OUT for IPv4 and \
             IPv6 at NF_IP_PRI_FIRST in {} network namespaces\n",
            firewall::VERSION,
            firewall.namespaces(),
        );
        Ok(Self {
            _active: firewall::Active,
            _files: files,
            _hooks: hooks,
            _firewall: firewall,
            _goodbye: Goodbye,
        })
    }
}

/// Says when all the rest is gone.
struct Goodbye;

impl Drop for Goodbye {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
