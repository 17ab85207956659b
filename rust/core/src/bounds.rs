// SPDX-License-Identifier: GPL-2.0

//! What bounds a rule by families, hooks, fragments and states, of which there are few.

use crate::family::FamilySet;
use crate::flags::Flag;
use crate::flow::StateSet;
use crate::fragment::PlaceSet;
use crate::hook::HookSet;
use crate::packet::Packet;

/// A bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds(u16);

/// Where the hooks begin; the families come first.
const HOOKS: u32 = 2;
const PLACES: u32 = 7;
const STATES: u32 = 10;

impl Bounds {
    /// Those that these words set.
    pub(crate) fn new(
        families: FamilySet,
        hooks: HookSet,
        places: PlaceSet,
        states: StateSet,
    ) -> Self {
        let at = |bits: u8, place: u32| u16::from(bits).wrapping_shl(place);
        Self(
            at(families.bits(), 0)
                | at(hooks.bits(), HOOKS)
                | at(places.bits(), PLACES)
                | at(states.bits(), STATES),
        )
    }

    /// None: the bits of all, two families, five hooks, three places and five states.
    pub(crate) const NONE: Self = Self(0x7fff);

    /// The bits from `place` on.
    #[inline]
    fn from(self, place: u32) -> u8 {
        // What is cut off belongs to others.
        self.0.wrapping_shr(place) as u8
    }

    /// Address families
    #[inline]
    pub(crate) fn families(self) -> FamilySet {
        FamilySet::from_bits(self.from(0))
    }

    /// Hooks
    #[inline]
    pub(crate) fn hooks(self) -> HookSet {
        HookSet::from_bits(self.from(HOOKS))
    }

    /// Places in a fragmented datagram
    #[inline]
    pub(crate) fn places(self) -> PlaceSet {
        PlaceSet::from_bits(self.from(PLACES))
    }

    /// What a packet may be to its connection
    #[inline]
    pub(crate) fn states(self) -> StateSet {
        StateSet::from_bits(self.from(STATES))
    }

    /// Whether they say nothing of fragments and states.
    #[inline(always)]
    pub(crate) fn are_plain(self) -> bool {
        self.0.wrapping_shr(PLACES) == Self::NONE.0.wrapping_shr(PLACES)
    }

    /// The bits of a packet's family and hook.
    pub(crate) fn of(packet: &Packet) -> Self {
        let hook = u16::from(packet.hook.bit()).wrapping_shl(HOOKS);
        Self(u16::from(packet.family.bit()) | hook)
    }

    /// Whether all bits of `packet` are there.
    #[inline(always)]
    pub(crate) fn admit(self, packet: Self) -> bool {
        self.0 & packet.0 == packet.0
    }
}
