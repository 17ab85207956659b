// SPDX-License-Identifier: GPL-2.0

//! Network namespaces and devices.
//!
//! C headers: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h),
//! [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use core::net::IpAddr;

use ctrfw_core::iface::{IfName, IFNAMSIZ};
use ctrfw_core::key::NameField;
use ctrfw_core::netns::NetnsId;
use kernel::types::Opaque;

use super::bindings;

/// A network namespace (`struct net`).
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

impl Net {
    /// # Safety
    ///
    /// `ptr` must point to a namespace that lives for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: The caller promises it; `Net` is transparent.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// What rules and trace lines know it by. Any context.
    #[inline]
    pub(crate) fn id(&self) -> NetnsId {
        NetnsId {
            // SAFETY: The namespace lives, and its inode number does not change.
            inode: unsafe { (*self.as_ptr()).ns.inum },
            host: core::ptr::eq(self.as_ptr(), &raw const bindings::init_net),
        }
    }

    /// A number that no other namespace has, nor will have. Any context.
    #[inline]
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: The namespace lives, and its cookie does not change.
        unsafe { (*self.as_ptr()).net_cookie }
    }
}

impl Net {
    /// Whether `addr` is an address of this namespace, seen from `device`, whose VRF it may be in. Any
    /// context, under RCU.
    pub(crate) fn owns(&self, addr: IpAddr, device: Option<&NetDevice>) -> bool {
        self.addr_is(addr, device, false)
    }

    /// Whether packets for `addr` are for this namespace itself, if only among others: it is an address
    /// of its own, or broadcast or multicast. Any context, under RCU.
    pub(crate) fn takes(&self, addr: IpAddr, device: Option<&NetDevice>) -> bool {
        self.addr_is(addr, device, true)
    }

    fn addr_is(&self, addr: IpAddr, device: Option<&NetDevice>, shared: bool) -> bool {
        let net = self.as_ptr();
        match addr {
            IpAddr::V4(addr) => {
                let device = device.map_or(core::ptr::null_mut(), NetDevice::as_ptr);
                let addr = u32::from_ne_bytes(addr.octets());
                // SAFETY: The namespace lives, and the device is null or lives, under RCU.
                unsafe { bindings::ctrfw_net_has_addr4(net, device, addr, shared) }
            }
            IpAddr::V6(addr) => {
                let addr = addr.octets();
                // SAFETY: The namespace lives, and the address has sixteen bytes.
                unsafe { bindings::ctrfw_net_has_addr6(net, addr.as_ptr(), shared) }
            }
        }
    }
}

/// A network device (`struct net_device`).
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

impl NetDevice {
    /// # Safety
    ///
    /// `ptr` must be null or point to a device that lives for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::net_device) -> Option<&'a Self> {
        // SAFETY: The caller promises it; `NetDevice` is transparent.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// Its name. Any context.
    ///
    /// While somebody renames the device this may be part of one name and part of the other, as
    /// for all of netfilter.
    pub(crate) fn name(&self) -> IfName {
        IfName::from_field(self.name_field())
    }

    /// The field with its name. Any context; as for [`Self::name`].
    #[inline]
    fn name_field(&self) -> [u8; IFNAMSIZ] {
        // SAFETY: The device lives, and there its name is, an array of `IFNAMSIZ` bytes. The read is
        // volatile as a rename may write at the same time; any bytes are valid.
        unsafe {
            self.as_ptr()
                .byte_add(bindings::CTRFW_NETDEV_NAME)
                .cast::<[u8; IFNAMSIZ]>()
                .read_volatile()
        }
    }
}

/// Whether two devices are one, or neither is there.
#[inline]
pub(crate) fn same(one: Option<&NetDevice>, other: Option<&NetDevice>) -> bool {
    one.map(NetDevice::as_ptr) == other.map(NetDevice::as_ptr)
}

/// The name of a device that may not be there; empty if it is not.
pub(crate) fn name_of(device: Option<&NetDevice>) -> IfName {
    device.map_or_else(IfName::default, NetDevice::name)
}

/// The field with the name of a device that may not be there; all zero if it is not.
#[inline]
pub(crate) fn name_field_of(device: Option<&NetDevice>) -> NameField {
    device.map_or(NameField::default(), |device| {
        let field = u128::from_le_bytes(device.name_field());
        [field as u64, (field >> 64) as u64]
    })
}
