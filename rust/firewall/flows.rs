// SPDX-License-Identifier: GPL-2.0

//! What the table has decided about packets lately, on each CPU.

use ctrfw_core::cache::{Cache, Hash, Recall, Secret};
use ctrfw_core::family::Family;
use ctrfw_core::flow::{Finding, Flow, State};
use ctrfw_core::hook::Hook;
use ctrfw_core::key::{Key, Names};
use ctrfw_core::outcome::Outcome;
use kernel::prelude::*;

use super::memory::KernelMemory;
use super::table::Table;
use crate::sys::conntrack::attached;
use crate::sys::cpu::{CpuLocal, Here};
use crate::sys::net::name_field_of;
use crate::sys::netfilter::HookState;
use crate::sys::random;
use crate::sys::skbuff::SkBuff;

/// What else than its headers a packet is remembered by, where the table asks for it.
#[derive(Default)]
pub(super) struct Around {
    state: Option<State>,
    mark: u32,
    names: Option<Names>,
}

/// What a packet is remembered by.
pub(super) struct Trail<'a> {
    pub(super) key: Key<'a>,
    /// The packet's length in bytes, from the network header to the end of the datagram.
    pub(super) len: u32,
}

impl<'a> Trail<'a> {
    /// That of a packet; [`None`] if such packets are not remembered. Any context, under RCU.
    #[inline(always)]
    pub(super) fn of(
        (hook, family): (Hook, Family),
        skb: &SkBuff,
        state: &HookState<'_>,
        around: &'a Around,
    ) -> Option<Self> {
        let (mut key, len) = Key::of(hook, family, state.net().cookie(), &skb.network())?;
        around.add_to(&mut key);
        Some(Self { key, len })
    }

    /// The names of devices that it has, if the table asks for any. What is remembered must have been
    /// judged by these: the devices may have other names by then.
    #[inline]
    pub(super) fn names(&self) -> Option<&'a Names> {
        self.key.names()
    }
}

/// The caches.
pub(crate) struct Flows {
    /// None if nothing is to be remembered.
    caches: Option<CpuLocal<Cache<KernelMemory>>>,
    /// How many bytes of memory they take together.
    memory: usize,
    /// So that nobody can tell which packets meet in a set.
    secret: Secret,
}

impl Flows {
    /// Caches of so many places on each CPU; none if that is 0. Process context; may sleep.
    pub(super) fn new(places: usize) -> Result<Self> {
        let mut memory = 0usize;
        let caches = || {
            CpuLocal::new(|| {
                let cache = Cache::new(places).map_err(|_| ENOMEM)?;
                memory = memory.saturating_add(cache.memory());
                Ok(cache)
            })
        };
        Ok(Self {
            caches: (places != 0).then(caches).transpose()?,
            memory,
            secret: Secret::new([(); Secret::WORDS].map(|()| random::random_u64())),
        })
    }

    /// How many bytes of memory they take.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// What `table` has decided about such packets, or whether that is to be remembered. Any context.
    #[inline(always)]
    pub(super) fn find(&self, here: &Here, table: &Table, trail: &Trail<'_>) -> Recall {
        let Some(caches) = &self.caches else {
            return Recall::New;
        };
        let Some(mut cache) = caches.own(here) else {
            // Somebody who has it now was interrupted, and this packet is not remembered.
            return Recall::New;
        };
        if cache.rests() {
            return Recall::New;
        }
        cache.find(table.generation, self.hash(table, trail), &trail.key)
    }

    /// Remembers what `table` has decided about such packets, on this CPU. Any context.
    #[inline(never)]
    pub(super) fn remember(&self, here: &Here, table: &Table, trail: &Trail<'_>, outcome: Outcome) {
        let cache = self.caches.as_ref().and_then(|caches| caches.own(here));
        if let Some(mut cache) = cache {
            let hash = self.hash(table, trail);
            cache.remember(table.generation, hash, &trail.key, outcome);
        }
    }

    #[inline(always)]
    fn hash(&self, table: &Table, trail: &Trail<'_>) -> Hash {
        Hash::of(&self.secret, table.generation, &trail.key)
    }
}

impl Around {
    /// Looks for what the rules ask for; `false` if not all of that can be told. Any context, under RCU.
    #[inline]
    pub(super) fn look(&mut self, table: &Table, skb: &SkBuff, state: &HookState<'_>) -> bool {
        let (needs, netns) = (table.needs(), state.net().id());
        if table.asks_for_cgroup(state.hook(), netns) {
            return false;
        }
        if table.asks_for_flow(state.hook(), netns) {
            if needs.origins {
                return false;
            }
            let finding = match (attached(skb, state.net()), state.hook()) {
                (Some(finding), _) => finding,
                // It is looked for by more than the key has.
                (None, Hook::PreRouting | Hook::LocalOut) => return false,
                (None, Hook::LocalIn | Hook::Forward | Hook::PostRouting) => Finding::Nothing,
            };
            let Flow::Known(state, _) = Flow::from(finding) else {
                return false;
            };
            self.state = Some(state);
        }
        if needs.mark {
            self.mark = skb.mark();
        }
        if needs.interfaces || needs.ports {
            self.names = Some(names(skb, state, needs.interfaces, needs.ports));
        }
        true
    }

    /// Adds what was found to a key.
    #[inline(always)]
    fn add_to<'a>(&'a self, key: &mut Key<'a>) {
        key.set_mark(self.mark);
        if let Some(state) = self.state {
            key.set_state(state);
        }
        if let Some(names) = &self.names {
            key.set_names(names);
        }
    }
}

/// The names that the devices and the bridge ports of a packet have now, if these are wanted. Any context,
/// under RCU.
pub(super) fn names(skb: &SkBuff, state: &HookState<'_>, devices: bool, ports: bool) -> Names {
    let mut names = Names::default();
    if devices {
        names.devices = [name_field_of(state.input()), name_field_of(state.output())];
    }
    if ports {
        names.ports = [
            name_field_of(skb.phys_input(state.net())),
            name_field_of(skb.phys_output()),
        ];
    }
    names
}
