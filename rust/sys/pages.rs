// SPDX-License-Identifier: GPL-2.0

//! Memory for large lists.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use core::alloc::Layout;
use core::ptr::NonNull;

use kernel::alloc::allocator::KVmalloc;
use kernel::alloc::{AllocError, Allocator, Flags, NumaNode};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

use super::bindings;

/// An allocator for lists of any length, some of which are megabytes for good: what is large takes no more
/// than the pages that it needs. [`KVmalloc`] rounds up to a power of two of them, as long as it finds so
/// many in one piece.
///
/// In one piece they are here, too, where there are so many: then the processor need not look their
/// addresses up page by page.
pub(crate) struct Pages;

/// Whether memory of this layout is of whole pages: what is smaller comes from caches of objects, if it is
/// as large as this no more.
fn is_large(layout: Layout) -> bool {
    layout.size() > PAGE_SIZE.saturating_mul(2)
}

// SAFETY: Memory stays as it is until it is freed. Whose it is, `KVmalloc`'s or not, its layout tells, which
// is the same for all functions. Large memory is there for no other flags than are honoured.
unsafe impl Allocator for Pages {
    const MIN_ALIGN: usize = KVmalloc::MIN_ALIGN;

    /// For large memory an error with other flags than [`GFP_KERNEL`]. It may be of any node.
    ///
    /// # Safety
    ///
    /// As of [`Allocator::realloc`].
    unsafe fn realloc(
        old: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let old_is_large = old.is_some() && is_large(old_layout);
        if layout.size() == 0 && old_layout.size() == 0 {
            // An empty list that is dropped, maybe in a hook: there is nothing to ask the kernel for.
            let nothing = core::ptr::without_provenance_mut(layout.align());
            let nothing = NonNull::new(nothing).ok_or(AllocError)?;
            return Ok(NonNull::slice_from_raw_parts(nothing, 0));
        }
        if !is_large(layout) && !old_is_large {
            // SAFETY: The caller promises the same for the pointer, which is `KVmalloc`'s if there is one.
            return unsafe { KVmalloc::realloc(old, layout, old_layout, flags, nid) };
        }
        let new = if is_large(layout) {
            if flags != GFP_KERNEL || layout.align() > PAGE_SIZE {
                return Err(AllocError);
            }
            // SAFETY: The caller may sleep.
            let pages = unsafe { bindings::ctrfw_pages_alloc(layout.size()) };
            let pages = NonNull::new(pages.cast()).ok_or(AllocError)?;
            NonNull::slice_from_raw_parts(pages, layout.size())
        } else {
            KVmalloc::alloc(layout, flags, nid)?
        };
        let Some(old) = old.filter(|_| old_layout.size() != 0) else {
            return Ok(new);
        };
        let kept = layout.size().min(old_layout.size());
        // SAFETY: The caller promises that the old memory is valid, and of that layout; the new one does not
        // overlap, and has room for so much. Large memory is not `KVmalloc`'s.
        unsafe {
            new.cast::<u8>().copy_from_nonoverlapping(old, kept);
            if old_is_large {
                bindings::ctrfw_pages_free(old.as_ptr().cast(), old_layout.size());
            } else {
                KVmalloc::free(old, old_layout);
            }
        }
        Ok(new)
    }
}
