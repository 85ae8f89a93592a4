//! Runtime-fatal errors: one clear message, where it happened, exit status 2 (as Go's `throw`).
//!
//! No allocation and no lock: the thread that fails may hold any of them.

use core::fmt::{self, Write};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Prints "fatal error: …" and what the host knows of the current goroutine, and ends the process with status 2.
/// May run without a P.
#[macro_export]
macro_rules! throw {
    ($($arg:tt)*) => {
        $crate::fatal::throw(::core::format_args!($($arg)*))
    };
}

/// The host's function that says which goroutine (or thread) failed.
static DESCRIBE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// How many threads have failed; only the first one reports.
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Writes to standard error without buffering, locking or allocating.
pub struct Stderr;

impl Write for Stderr {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut rest = s.as_bytes();
        while !rest.is_empty() {
            // SAFETY: a live buffer of that length.
            let n = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
            if n <= 0 {
                return Err(fmt::Error);
            }
            rest = &rest[n as usize..];
        }
        Ok(())
    }
}

/// Collects a message so that it reaches standard error in one write, as far as it fits.
struct Line {
    text: [u8; 1024],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.text.len() - self.len);
        self.text[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Prints one line to standard error in one write, so that lines of several threads do not mix.
pub fn print_line(args: fmt::Arguments<'_>) {
    let mut line = Line { text: [0; 1024], len: 0 };
    let _ = writeln!(line, "{args}");
    let text = core::str::from_utf8(&line.text[..line.len]).unwrap_or("(message was cut)\n");
    let _ = Stderr.write_str(text);
}

/// Registers what to print about the current goroutine after a fatal error. It may run without a P, on any stack.
pub fn set_describe(f: fn(&mut dyn Write)) {
    DESCRIBE.store(f as *mut (), Ordering::Release);
}

/// Whether some thread has failed and reports: who prints for it takes locks in whatever order they are held.
#[cfg(all(debug_assertions, not(any(modelled, miri))))]
#[barrier_lint::nowritebarrierrec]
pub(crate) fn under_way() -> bool {
    FAILED.load(Ordering::SeqCst) != 0
}

/// See [`throw!`](crate::throw).
#[cold]
#[inline(never)]
pub fn throw(args: fmt::Arguments<'_>) -> ! {
    #[cfg(any(modelled, test))]
    panic!("fatal error: {args}");
    #[cfg(not(any(modelled, test)))]
    {
        if FAILED.fetch_add(1, Ordering::SeqCst) == 0 {
            print_line(format_args!("fatal error: {args}"));
            let f = DESCRIBE.load(Ordering::Acquire);
            if !f.is_null() {
                // SAFETY: only `set_describe` writes it, with a function of this type.
                let f = unsafe { core::mem::transmute::<*mut (), fn(&mut dyn Write)>(f) };
                f(&mut Stderr);
            }
            // SAFETY: ends the process.
            unsafe { libc::_exit(2) }
        }
        loop {
            // Another thread is reporting; it ends the process.
            // SAFETY: sleeps until a signal has been handled. (std's `park` may allocate.)
            unsafe { libc::pause() };
        }
    }
}
#[cfg(any(modelled, test))]
#[allow(dead_code)]
fn unused() {
    let _ = (&FAILED, &DESCRIBE);
}
