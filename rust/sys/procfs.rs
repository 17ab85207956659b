// SPDX-License-Identifier: GPL-2.0

//! Files in `/proc` that are read record by record and written as a stream.
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use core::marker::PhantomData;
use core::pin::Pin;

use kernel::ffi::{c_char, c_int, c_uint, c_void};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::poll::{PollCondVar, PollTable};
use kernel::types::ForeignOwnable;
use kernel::uaccess::{UserPtr, UserSlice, UserSliceWriter};

use super::module::Hold;
use super::{bindings, task};

/// How a file was opened.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// For reading
    pub(crate) read: bool,
    /// For writing
    pub(crate) write: bool,
    /// Shortened to nothing first (`O_TRUNC`)
    pub(crate) truncate: bool,
    /// For writing at its end (`O_APPEND`)
    pub(crate) append: bool,
}

impl Mode {
    /// # Safety
    ///
    /// The file must be valid.
    unsafe fn of(file: *const bindings::file) -> Self {
        // SAFETY: The caller promises it.
        let (flags, mode) = unsafe { ((*file).f_flags, (*file).f_mode) };
        Self {
            read: mode & bindings::CTRFW_FMODE_READ != 0,
            write: mode & bindings::CTRFW_FMODE_WRITE != 0,
            truncate: flags & bindings::O_TRUNC != 0,
            append: flags & bindings::O_APPEND != 0,
        }
    }
}

/// One time that a file was opened. All calls are in process context and may sleep.
pub(crate) trait OpenFile: Sized + Send + Sync + 'static {
    /// Opens the file.
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>>;

    /// How many records a reader gets.
    fn len(&self) -> usize;

    /// Prints the record `index`, which is less than [`OpenFile::len`].
    fn show(&self, index: usize, to: &SeqFile);

    /// What is being written, if the file may be.
    fn writing(&self) -> Option<&dyn Writing> {
        None
    }
}

/// What is being written to an open file. All process context; sleeps.
pub(crate) trait Writing {
    /// Takes the next piece. Two threads may call it at once.
    fn write(&self, piece: &[u8]) -> Result;

    /// A write failed after part of it was taken: what is written will never be whole.
    fn abort(&self, error: Error);

    /// The file is being closed.
    fn close(&self);
}

/// One time that a file was opened that is read as a stream. All calls are in process context.
pub(crate) trait Stream: Sized + Send + Sync + 'static {
    /// Opens the file.
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>>;

    /// Gives a reader what comes next, as far as there is room; nothing is the end. If nothing is there
    /// yet it sleeps until there is, or fails with EAGAIN if it must not `wait`. Two threads may call
    /// it at once.
    fn read(&self, to: &mut UserSliceWriter, wait: bool) -> Result;

    /// Whether a reader would not have to wait; `register` has him woken when that may have changed. What it
    /// is given must live as long as the stream. The module is not unloaded until the file is closed.
    fn poll(&self, register: impl FnOnce(&PollCondVar)) -> bool;
}

/// A directory in `/proc`; it and all in it go when this is dropped, and then no call into them runs
/// any more.
///
/// # Invariants
///
/// The pointer is a live entry that nobody else removes.
pub(crate) struct Directory(*mut bindings::proc_dir_entry);

// SAFETY: procfs does its own locking.
unsafe impl Send for Directory {}
// SAFETY: As above.
unsafe impl Sync for Directory {}

impl Directory {
    /// Makes the directory `/proc/NAME`. Process context; sleeps.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a C string, and null stands for the root of procfs.
        let entry =
            unsafe { bindings::proc_mkdir(name.as_ptr().cast::<c_char>(), core::ptr::null_mut()) };
        if entry.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The entry was just made.
        Ok(Self(entry))
    }

    /// Makes a file in it with the permission bits `mode`. Process context; sleeps.
    pub(crate) fn add<T: OpenFile>(&self, name: &CStr, mode: u16) -> Result {
        self.create(name, mode, Operations::<T>::PROC_OPS)
    }

    /// Makes a file in it that is read as a stream, likewise.
    pub(crate) fn add_stream<T: Stream>(&self, name: &CStr, mode: u16) -> Result {
        self.create(name, mode, StreamOperations::<T>::PROC_OPS)
    }

    fn create(&self, name: &CStr, mode: u16, operations: &'static bindings::proc_ops) -> Result {
        // SAFETY: The name is a C string, by the invariant the parent lives, and the operations are
        // static.
        let entry = unsafe {
            let name = name.as_ptr().cast::<c_char>();
            bindings::proc_create(name, mode, self.0, operations)
        };
        if entry.is_null() {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: By the invariant the entry lives, and nobody else removes it.
        unsafe { bindings::proc_remove(self.0) };
    }
}

/// The callbacks for files of type `T`.
///
/// While a file is open, its `private_data` is the `seq_file`, whose `private` is the `T`.
struct Operations<T>(PhantomData<T>);

impl<T: OpenFile> Operations<T> {
    const PROC_OPS: &'static bindings::proc_ops = &bindings::proc_ops {
        proc_open: Some(Self::open),
        proc_read: Some(bindings::seq_read),
        proc_write: Some(Self::write),
        proc_lseek: Some(Self::lseek),
        proc_release: Some(Self::release),
        ..pin_init::zeroed()
    };

    const SEQ_OPS: &'static bindings::seq_operations = &bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// `seq` must be the `seq_file` of an open file with these operations.
    unsafe fn get<'a>(seq: *mut bindings::seq_file) -> &'a T {
        // SAFETY: `open()` put the pointer of a `Pin<KBox<T>>` there, which `release()` takes back.
        unsafe { &*(*seq).private.cast::<T>() }
    }

    /// # Safety
    ///
    /// `file` must be an open file with these operations.
    unsafe fn seq(file: *mut bindings::file) -> *mut bindings::seq_file {
        // SAFETY: The caller promises that `open()` was called, which had `seq_open()` set it.
        unsafe { (*file).private_data.cast() }
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: procfs gives a valid file.
        let opened = match T::open(unsafe { Mode::of(file) }) {
            Ok(opened) => opened,
            Err(error) => return error.to_errno(),
        };
        // SAFETY: procfs gives a valid file, and the operations are static.
        let error = unsafe { bindings::seq_open(file, Self::SEQ_OPS) };
        if error == 0 {
            // SAFETY: `seq_open()` succeeded, so the `seq_file` is there.
            unsafe { (*Self::seq(file)).private = opened.into_foreign() };
        }
        error
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` put the pointer there; nothing uses it after the release.
        let opened =
            unsafe { <Pin<KBox<T>> as ForeignOwnable>::from_foreign((*Self::seq(file)).private) };
        if let Some(writing) = opened.writing() {
            writing.close();
        }
        // SAFETY: `open()` had `seq_open()` open the file.
        unsafe { bindings::seq_release(inode, file) }
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        from: *const c_char,
        len: usize,
        _position: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: procfs gives an open file.
        let opened = unsafe { Self::get(Self::seq(file)) };
        let from = UserPtr::from_ptr(from.cast_mut().cast::<c_void>());
        let fed = match opened.writing() {
            Some(writing) => Self::feed(writing, UserSlice::new(from, len)),
            None => Err(EACCES),
        };
        match fed {
            // VFS lets no more than `MAX_RW_COUNT` pass, which fits.
            Ok(()) => len as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn lseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: procfs gives a valid file.
        let writable = unsafe { (*file).f_mode } & bindings::CTRFW_FMODE_WRITE != 0;
        if writable && whence == bindings::SEEK_END as c_int {
            // What is written is a stream; who appends to it (`tee -a`) goes to its end first, which
            // `seq_lseek()` knows nothing of.
            return 0;
        }
        // SAFETY: `open()` had `seq_open()` open the file.
        unsafe { bindings::seq_lseek(file, offset, whence) }
    }

    fn feed(to: &dyn Writing, from: UserSlice) -> Result {
        let mut reader = from.reader();
        let mut buffer = [0u8; 512];
        while !reader.is_empty() {
            let len = reader.len().min(buffer.len());
            let piece = buffer.get_mut(..len).ok_or(EFAULT)?;
            let read = if task::is_killed() {
                Err(EINTR)
            } else {
                reader.read_slice(piece)
            };
            read.inspect_err(|error| to.abort(*error))?;
            to.write(piece)?;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// Only `seq_file` may call it.
    unsafe extern "C" fn start(
        seq: *mut bindings::seq_file,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: `seq_file` gives valid pointers.
        let (opened, position) = unsafe { (Self::get(seq), *position) };
        match usize::try_from(position) {
            // Any pointer will do that is neither null nor an error; it is never followed.
            Ok(index) if index < opened.len() => core::ptr::dangling_mut::<u64>().cast(),
            _ => core::ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// Only `seq_file` may call it.
    unsafe extern "C" fn next(
        seq: *mut bindings::seq_file,
        _record: *mut c_void,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: `seq_file` gives valid pointers.
        unsafe {
            *position = (*position).wrapping_add(1);
            Self::start(seq, position)
        }
    }

    /// # Safety
    ///
    /// Only `seq_file` may call it.
    unsafe extern "C" fn stop(_seq: *mut bindings::seq_file, _record: *mut c_void) {}

    /// # Safety
    ///
    /// Only `seq_file` may call it.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _record: *mut c_void) -> c_int {
        // SAFETY: `seq_file` gives a valid pointer, which nobody else uses during the call.
        let (opened, index, to) = unsafe { (Self::get(seq), (*seq).index, SeqFile::from_raw(seq)) };
        if let Ok(index) = usize::try_from(index) {
            opened.show(index, to);
        }
        0
    }
}

/// A stream while it is open.
struct Opened<T> {
    stream: Pin<KBox<T>>,
    /// There from when somebody polls it. Whoever polls is on a wait queue of the stream, until he lets go of
    /// the file. Procfs knows nothing of that: at rmmod it releases the file over his head.
    /// `wake_up_pollfree()` takes no poll(2) or select(2) off the queue, only who was called back (epoll(7),
    /// say). So the module stays, as sunrpc does for those who open its files. Who merely reads is
    /// waited for by procfs, and need not hold anything.
    hold: Hold,
}

/// The callbacks for streams of type `T`; while one is open, its `private_data` is the `Opened<T>`.
struct StreamOperations<T>(PhantomData<T>);

impl<T: Stream> StreamOperations<T> {
    const PROC_OPS: &'static bindings::proc_ops = &bindings::proc_ops {
        proc_open: Some(Self::open),
        proc_read: Some(Self::read),
        proc_poll: Some(Self::poll),
        proc_release: Some(Self::release),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `file` must be an open file with these operations.
    unsafe fn get<'a>(file: *mut bindings::file) -> &'a Opened<T> {
        // SAFETY: `open()` put the pointer of a `KBox<Opened<T>>` there, which `release()` takes back.
        unsafe { &*(*file).private_data.cast::<Opened<T>>() }
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: procfs gives a valid file.
        let opened = T::open(unsafe { Mode::of(file) }).and_then(|stream| {
            let hold = Hold::none();
            Ok(KBox::new(Opened { stream, hold }, GFP_KERNEL)?)
        });
        match opened {
            Ok(opened) => {
                // SAFETY: procfs gives a valid file and its inode. A stream has no position: two who share
                // the file do not wait for each other's read(2), in which they may sleep.
                unsafe {
                    (*file).private_data = opened.into_foreign();
                    bindings::stream_open(inode, file)
                }
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` put the pointer there; nothing uses it after the release: who polls has the file
        // open, and holds the module, so that it is not released over his head. If this gives that hold
        // back, procfs still has the module's end wait for this call.
        drop(unsafe { <KBox<Opened<T>> as ForeignOwnable>::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        to: *mut c_char,
        len: usize,
        _position: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: procfs gives an open file.
        let (opened, flags) = unsafe { (Self::get(file), (*file).f_flags) };
        let mut to = UserSlice::new(UserPtr::from_ptr(to.cast::<c_void>()), len).writer();
        let wait = flags & bindings::O_NONBLOCK == 0;
        let read = opened.stream.read(&mut to, wait);
        match (read, len.wrapping_sub(to.len())) {
            // What was given has been taken.
            (Err(error), 0) => error.to_errno() as isize,
            // VFS lets no more than `MAX_RW_COUNT` pass, which fits.
            (_, given) => given as isize,
        }
    }

    /// # Safety
    ///
    /// Only procfs may call it.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> c_uint {
        // SAFETY: procfs gives an open file, and a table that is null or valid; no `fdget_pos()` of it
        // is relied on.
        let (opened, file, table) = unsafe {
            let table = PollTable::from_raw(table);
            (Self::get(file), File::from_raw_file(file), table)
        };
        if !opened.hold.take() {
            return bindings::CTRFW_POLL_ENDED;
        }
        let stream = &opened.stream;
        if stream.poll(|condition| table.register_wait(file, condition)) {
            bindings::CTRFW_POLL_READABLE
        } else {
            0
        }
    }
}
