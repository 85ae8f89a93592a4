//! `NoGc`: what owns nothing that the collector would have to see.
//!
//! Such types may go where no pointer into the collected heap may: into blocking calls, and, as owned data outside the
//! heap, into heap objects. There they are data to the collector, and dropped with the object.
#![expect(clippy::disallowed_types, reason = "says of std's types what they are, and uses none")]

use super::TypeDesc;
use super::trace::Trace;
use barrier_lint::{OffHeap, Place};
use core::marker::PhantomData;

/// A type whose values hold nothing that the collector has to see, and nothing whose drop needs a P: no `Gc`, no
/// reference to an object of the heap, no channel end of the runtime.
///
/// The std types that own plain data or a handle of the operating system are, if what they contain is; those of them
/// that are `Send` are [`Trace`] too, so a field `name: String` of a heap object needs nothing more. A type of your
/// own, say a handle of a C library, becomes part of a heap object by `unsafe impl NoGc` and `#[trace(no_gc)]` on the
/// field.
///
/// # Safety
/// That is so for every value of the type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known to be free of pointers into the collected heap",
    label = "may hold a `Gc` where the collector does not look",
    note = "what `Vec`, `Box` and maps own lies where no write barrier sees it, so they may be in a heap object only \
            without `Gc`s: keep those in a `Gc<[T]>`",
    note = "what goes into a blocking call is owned plain data (numbers, `String`, `Vec` of such, `File`), or goes \
            through the unsafe `blocking_with`",
    note = "on a type of your own that holds no `Gc`, write `unsafe impl NoGc`"
)]
pub unsafe trait NoGc {}

/// Types that are also `Trace` by `layout::trace` (where plain data is both), or cannot be.
macro_rules! no_gc {
    ($($t:ty),* ; $([$($g:tt)*] $u:ty),* $(,)?) => {
        $(
            // SAFETY: plain data.
            unsafe impl NoGc for $t {}
        )*
        $(
            // SAFETY: consists of values that are `NoGc` themselves.
            unsafe impl<$($g)*> NoGc for $u {}
        )*
    };
}
no_gc!(
    str, std::path::Path, std::ffi::OsStr
    ;
    [T: NoGc] Option<T>,
    [T: NoGc, E: NoGc] Result<T, E>,
    [T: NoGc, const N: usize] [T; N],
    [T: NoGc] [T],
    [T: NoGc] core::cell::Cell<T>,
    [A: NoGc] (A,),
    [A: NoGc, B: NoGc] (A, B),
    [A: NoGc, B: NoGc, C: NoGc] (A, B, C),
    [A: NoGc, B: NoGc, C: NoGc, D: NoGc] (A, B, C, D),
    [A: NoGc, B: NoGc, C: NoGc, D: NoGc, E: NoGc] (A, B, C, D, E),
);

/// Types that own memory or a handle, and drop it. `Send`, since a dead object is dropped on another thread.
macro_rules! owned {
    ($($t:ty),* ; $([$($g:tt)*] $u:ty),* $(,)?) => {
        $(
            // SAFETY: owns plain data or an operating-system handle only.
            unsafe impl NoGc for $t {}
            // SAFETY: holds no `Gc` (`NoGc`); it is `Send`, so it may be dropped anywhere.
            unsafe impl Trace for $t {
                const DESC: &'static TypeDesc = {
                    const fn send<T: Send>() {}
                    send::<$t>();
                    &TypeDesc::data::<$t>(stringify!($t))
                };
            }
        )*
        $(
            // SAFETY: owns values that are `NoGc` themselves, and nothing else.
            unsafe impl<$($g)*> NoGc for $u {}
            // SAFETY: as above.
            unsafe impl<$($g)*> Trace for $u
            where
                $u: Send + 'static,
            {
                const DESC: &'static TypeDesc = &TypeDesc::data::<$u>(stringify!($u));
            }
        )*
    };
}
owned!(
    String, &'static [u8], &'static std::path::Path, std::path::PathBuf, std::ffi::OsString, std::ffi::CString,
    std::fs::File, std::fs::Metadata, std::fs::FileType, std::fs::DirEntry, std::fs::ReadDir, std::fs::Permissions,
    std::io::Error, std::io::ErrorKind, std::io::Stdin, std::io::Stdout, std::io::Stderr, std::io::PipeReader,
    std::io::PipeWriter, std::os::fd::OwnedFd, std::time::SystemTime, std::net::TcpStream, std::net::TcpListener,
    std::net::UdpSocket, std::net::SocketAddr, std::net::IpAddr, std::process::ExitStatus, std::process::Output,
    std::process::Child, std::process::Command, std::string::FromUtf8Error, core::str::Utf8Error,
    core::num::ParseIntError, std::hash::RandomState
    ;
    [T: NoGc] Vec<T>,
    [T: NoGc] std::collections::VecDeque<T>,
    [T: NoGc + ?Sized] Box<T>,
    [T: NoGc + ?Sized] std::sync::Arc<T>,
    [T: NoGc] std::sync::Mutex<T>,
    [T: NoGc] std::sync::mpsc::Sender<T>,
    [T: NoGc] std::sync::mpsc::Receiver<T>,
    [T: NoGc] std::io::BufReader<T>,
    [T: NoGc + std::io::Write] std::io::BufWriter<T>,
    [K: NoGc, V: NoGc] std::collections::BTreeMap<K, V>,
    [K: NoGc, V: NoGc, S: NoGc] std::collections::HashMap<K, V, S>,
    [K: NoGc] std::collections::BTreeSet<K>,
    [K: NoGc, S: NoGc] std::collections::HashSet<K, S>,
);

/// The description of a field marked `#[trace(no_gc)]`.
#[doc(hidden)]
pub const fn no_gc_field<T: NoGc>(send: bool, off_heap: bool) -> TypeDesc {
    assert!(!off_heap, "a `NotInHeap` type cannot be part of a heap object, not even as a `#[trace(no_gc)]` field");
    assert!(
        send || !core::mem::needs_drop::<T>(),
        "a `#[trace(no_gc)]` field that needs drop must be `Send`: dead objects are dropped on a goroutine of the \
         runtime, not on the thread that made them"
    );
    TypeDesc::data::<T>("NoGc")
}

/// What `derive(Trace)` asks of a type: a constant is found here if the bound holds, else in [`ProbeElse`].
#[doc(hidden)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

#[allow(drop_bounds)] // "has a Drop impl" is the question
impl<T: Drop + ?Sized> Probe<T> {
    pub const HAS_DROP_IMPL: bool = true;
}

impl<T: Send + ?Sized> Probe<T> {
    pub const SEND: bool = true;
}

impl<T: Place<At = OffHeap> + ?Sized> Probe<T> {
    pub const OFF_HEAP: bool = true;
}

#[doc(hidden)]
pub trait ProbeElse {
    const HAS_DROP_IMPL: bool = false;
    const SEND: bool = false;
    const OFF_HEAP: bool = false;
}

impl<T: ?Sized> ProbeElse for Probe<T> {}
