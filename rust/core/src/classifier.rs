// SPDX-License-Identifier: GPL-2.0

//! Which rules may be for a packet, without asking one after the other.
//!
//! What it is made of knows nothing of rules but numbers, in the order in which they are judged, and
//! [`pattern::Pattern`]s. It is made once and then only read, in any context.

mod choice;
mod forest;
mod grow;
mod key;
mod mask;
mod pattern;
mod record;
mod spans;
mod word;

use crate::family::Family;
use crate::hook::{Hook, HookSet};
use crate::memory::{Memory, NoMemory};
use crate::netns::NetnsId;

use forest::Forest;
use grow::Grower;
pub(crate) use key::{Class, Extra, Extras, Key};
pub(crate) use pattern::Pattern;
pub(crate) use record::Found;
pub(crate) use word::Word;

/// Which namespaces rules are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Both,
    Host,
    Container,
}

/// Rules that are looked for together: those for the same hooks and the same side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    hooks: HookSet,
    side: Side,
}

impl Group {
    #[inline]
    fn has(&self, hook: Hook, netns: NetnsId) -> bool {
        self.hooks.contains(hook)
            && match self.side {
                Side::Both => true,
                Side::Host => netns.host,
                Side::Container => !netns.host,
            }
    }
}

/// See above.
pub(crate) struct Classifier<M: Memory> {
    ipv4: M::Unique<Forest<u32, M>>,
    ipv6: M::Unique<Forest<u128, M>>,
}

impl<M: Memory> Classifier<M> {
    /// The classifier of some rules, by ascending number. `fill` tells which packets of the pattern's family
    /// a rule may be for, and whether there are any. Process context; may sleep.
    pub(crate) fn new(
        rules: impl Iterator<Item = u32> + Clone,
        fill: impl Fn(u32, &mut Pattern) -> bool,
    ) -> Result<Self, NoMemory> {
        Ok(Self {
            ipv4: forest::<u32, M>(Family::Ipv4, rules.clone(), &fill)?,
            ipv6: forest::<u128, M>(Family::Ipv6, rules, &fill)?,
        })
    }

    /// Which extra fields it asks for in a key of this family, a bit for each. Any context.
    #[inline]
    pub(crate) fn extras<A: Word>(&self) -> u8 {
        A::forest(self).extras
    }

    /// The first rule, of those from number `from` on, that is for the packet with this key, at this hook.
    /// `is_for` is asked about rules that may be, and told whether the classifier knows that they are. Any
    /// context.
    #[inline(always)]
    pub(crate) fn first<A: Word>(
        &self,
        key: &Key<'_, A>,
        hook: (Hook, NetnsId),
        from: u32,
        is_for: impl FnMut(u32, bool) -> bool,
    ) -> Option<Found> {
        A::forest(self).first(key, hook, from, is_for)
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.ipv4.memory().saturating_add(self.ipv6.memory())
    }
}

/// The forest of some rules. What is large is not on the stack.
#[inline(never)]
fn forest<A: Word, M: Memory>(
    family: Family,
    rules: impl Iterator<Item = u32>,
    fill: &impl Fn(u32, &mut Pattern) -> bool,
) -> Result<M::Unique<Forest<A, M>>, NoMemory> {
    let mut grower = Grower::<A, M>::new()?;
    let mut pattern = M::unique(Pattern::any(family))?;
    for (count, rule) in (0u32..).zip(rules) {
        if count % 1024 == 0 {
            M::pause();
        }
        if fill(rule, &mut pattern) {
            pattern.add_to(&mut grower, rule)?;
        }
    }
    grower.grow()
}
