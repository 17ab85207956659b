// SPDX-License-Identifier: GPL-2.0

//! Socket buffers.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use core::fmt;

use ctrfw_core::packet::Source;
use kernel::ffi::{c_char, c_void};
use kernel::types::Opaque;

use super::bindings;
use super::net::{Net, NetDevice};

/// A socket buffer (`struct sk_buff`) that a hook got.
///
/// While the hook runs nobody else uses the structure and its linear data. Pages that it refers to
/// may be written by others, such as a process that sends from memory that it has mapped.
#[repr(transparent)]
pub(crate) struct SkBuff(Opaque<bindings::sk_buff>);

impl SkBuff {
    /// # Safety
    ///
    /// `ptr` must point to a buffer that lives for `'a`, and that nobody else uses meanwhile.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::sk_buff) -> &'a Self {
        // SAFETY: The caller promises it; `SkBuff` is transparent.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::sk_buff {
        self.0.get()
    }

    /// The field so many bytes behind its beginning.
    ///
    /// # Safety
    ///
    /// A field of that type must be there.
    #[inline]
    unsafe fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: The buffer lives, and the caller promises the rest.
        unsafe { self.as_ptr().byte_add(offset).cast::<T>().read() }
    }

    /// Length of the data in bytes, from the network header on at the IP hooks.
    #[inline]
    pub(crate) fn data_len(&self) -> u32 {
        // SAFETY: The buffer lives.
        unsafe { (*self.as_ptr()).len }
    }

    /// Its firewall mark.
    #[inline]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: That is where this field is.
        unsafe { self.field(bindings::CTRFW_SKB_MARK) }
    }

    /// The packet from its network header on.
    #[inline]
    pub(crate) fn network(&self) -> NetworkData<'_> {
        // SAFETY: That is where this field is.
        let header: u16 = unsafe { self.field(bindings::CTRFW_SKB_NETWORK_HEADER) };
        // SAFETY: The buffer lives; these fields are plain data.
        let (head, data) = unsafe { ((*self.as_ptr()).head.addr(), (*self.as_ptr()).data.addr()) };
        // As `skb_network_offset()`.
        let offset = head.wrapping_add(header.into()).wrapping_sub(data);
        // No hook is called with the header in front of the data; if so, nothing can be read.
        let start = u32::try_from(offset).unwrap_or(u32::MAX);
        NetworkData { skb: self, start }
    }

    /// The device that the packet is on now. At LOCAL_OUT there is none yet.
    pub(crate) fn device(&self) -> Option<&NetDevice> {
        // SAFETY: That is where this field is; under RCU, which hooks are called with, the device lives.
        unsafe { NetDevice::from_raw(self.field(bindings::CTRFW_SKB_DEV)) }
    }

    /// The bridge port that it came in by, where br_netfilter noted it.
    pub(crate) fn phys_input<'a>(&'a self, net: &'a Net) -> Option<&'a NetDevice> {
        // SAFETY: The buffer and the namespace live; under RCU, so does the device.
        unsafe {
            let device = bindings::ctrfw_nf_bridge_physindev(self.as_ptr(), net.as_ptr());
            NetDevice::from_raw(device)
        }
    }

    /// The bridge port that it will leave by, where br_netfilter noted it.
    pub(crate) fn phys_output(&self) -> Option<&NetDevice> {
        // SAFETY: The buffer lives; under RCU, so does the device.
        unsafe { NetDevice::from_raw(bindings::ctrfw_nf_bridge_physoutdev(self.as_ptr())) }
    }

    /// Whether br_netfilter had the packet pass PRE_ROUTING of `net` already, on the bridge, and it
    /// is now there again for IP.
    ///
    /// br_netfilter's own `ip_sabotage_in()` hides the second passage from the hooks behind it, but
    /// has the same priority as ctrfw: which runs first depends on the order of registration.
    #[inline]
    pub(crate) fn repeats_pre_routing(&self, net: &Net) -> bool {
        // SAFETY: The buffer and the namespace live, and hooks are called under RCU.
        unsafe { bindings::ctrfw_nf_bridge_repeats(self.as_ptr(), net.as_ptr()) }
    }

    /// Whether it came by a bridge, as far as br_netfilter noted that.
    pub(crate) fn came_by_bridge(&self) -> bool {
        // SAFETY: The buffer lives.
        unsafe { bindings::ctrfw_skb_bridged(self.as_ptr()) }
    }

    /// Its address, which tells it from others. Not to be shown: see [`HashedPointer`].
    #[inline]
    pub(crate) fn address(&self) -> u64 {
        self.as_ptr().addr() as u64
    }
}

/// A packet's bytes from its network header on.
pub(crate) struct NetworkData<'a> {
    skb: &'a SkBuff,
    start: u32,
}

impl Source for NetworkData<'_> {
    #[inline]
    fn len(&self) -> u32 {
        self.skb.data_len().saturating_sub(self.start)
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let skb = self.skb.as_ptr();
        let from = self.start.checked_add(offset)?;
        let len = u32::try_from(N).ok()?;
        let end = from.checked_add(len)?;
        let mut bytes = [0u8; N];
        // SAFETY: The buffer lives; these fields are plain data.
        let (skb_len, nonlinear) = unsafe { ((*skb).len, (*skb).data_len) };
        if end > skb_len {
            return None;
        }
        // What is judged must be what is delivered: bytes in pages, which others may write to, are
        // first brought into the linear part for good. It takes memory only where that has no room.
        //
        // SAFETY: The buffer is ours, and nothing is kept that points into its data.
        if end > skb_len.wrapping_sub(nonlinear) && !unsafe { bindings::ctrfw_skb_pull(skb, end) } {
            return None;
        }
        // SAFETY: The range lies within the linear part, now at the latest.
        unsafe {
            let from = (*skb).data.add(from as usize);
            core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), N);
        }
        Some(bytes)
    }
}

/// An address as `%p` prints it: hashed, so that it tells things apart and nothing else.
pub(crate) struct HashedPointer(pub(crate) u64);

impl fmt::Display for HashedPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 24];
        // SAFETY: The buffer is writable for its length; the pointer is printed, not followed.
        let len = unsafe {
            let to = text.as_mut_ptr().cast::<c_char>();
            let pointer = core::ptr::without_provenance::<c_void>(self.0 as usize);
            bindings::ctrfw_hash_pointer(to, text.len(), pointer)
        };
        let text = usize::try_from(len)
            .ok()
            .and_then(|len| text.get(..len))
            .unwrap_or(&[]);
        f.write_str(core::str::from_utf8(text).unwrap_or("?"))
    }
}
