//! What interrupting goroutines by signals needs of the machine and the program; looked at when a runtime starts.
//!
//! | condition | without it |
//! |---|---|
//! | Linux on x86_64 | the runtime does not start |
//! | no user shadow stacks: switches between stacks return where nobody has called | the runtime does not start |
//! | an M's signal stack holds the kernel's frame, and is left over enough | no signals at all |
//! | XSAVE, and its area is large enough | no descheduling |
//! | frame pointers: the handler reads all return addresses on the stack | no descheduling |
//! | the runtime is part of the program itself, so the program's text is known | no descheduling |
//! | libc is a library of its own, so its text is known not to be the program's | no descheduling |
//! | SIGURG is not blocked | each M unblocks it (`suspend::start_thread`) |
//!
//! Suspending in place needs the upper half alone. What is missing is said in one line, once per process, with what to do
//! about it; not where the program's settings have signals off.

use crate::arch::async_preempt::xsave_mode;
use crate::arch::{REFUSED, keeps_frame_pointers, shadow_stacks};
use crate::config::Settings;
use crate::signal::ALTSTACK;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};
use gc_core::fatal::print_line;

/// Bytes of the signal stack for the handler itself, and for what it calls at the door.
const HANDLER: usize = 32 << 10;

/// What the handler must know to deschedule.
pub(crate) struct Known {
    /// How the processor saves vector registers, as `async_preempt` reads it.
    pub(crate) xsave_mode: u32,
    pub(crate) objects: Objects,
}

/// Where the code of the program is, and that of libc.
#[derive(Clone, Copy, Default)]
pub(crate) struct Objects {
    /// The program's own text, with the runtime in it.
    pub(crate) text: Option<[usize; 2]>,
    /// The start of libc's.
    pub(crate) libc: Option<usize>,
}

/// Why something is off, and what to do about it.
type Missing = (&'static str, &'static str);

/// Turns signals off in `settings` if there can be none, and says so. `None`: nobody is descheduled.
///
/// # Errors
/// If the runtime cannot run at all.
pub(crate) fn check(settings: &mut Settings) -> Result<Option<Known>, String> {
    // Of the program's code, says the caller; and of the runtime's own.
    settings.frame_pointers &= keeps_frame_pointers::<Known>();
    if let Some(why) = REFUSED {
        return Err(why.to_owned());
    }
    if shadow_stacks() {
        let how = "start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off";
        return Err(format!("the program has user shadow stacks, which know one stack per thread; {how}"));
    }
    if !settings.async_preempt {
        return Ok(None);
    }
    if let Err(missing) = signal_stack(signal_frame()) {
        settings.async_preempt = false;
        say("goroutines stop at safepoints only", missing);
        return Ok(None);
    }
    match known(xsave_mode(), settings.frame_pointers, objects()) {
        Ok(known) => Ok(Some(known)),
        Err(missing) => {
            say("time slices end at safepoints only", missing);
            Ok(None)
        }
    }
}

fn say(what: &str, (why, remedy): Missing) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        print_line(format_args!("tricolor: {what}: {why}; {remedy}"));
    }
}

fn known(xsave: Result<u32, &'static str>, frame_pointers: bool, objects: Objects) -> Result<Known, Missing> {
    const QUIET: &str = "TRICOLOR_DEBUG=asyncpreemptoff=1 says that this is known";
    if !frame_pointers {
        let remedy = "build it with RUSTFLAGS=\"-C force-frame-pointers=yes\"";
        return Err(("the program has no frame pointers, by which calls from libc are found", remedy));
    }
    if objects.text.is_none() {
        return Err(("the runtime is in a shared library, so the program's own text is not known", QUIET));
    }
    if objects.libc.is_none() {
        let remedy = "build it without -C target-feature=+crt-static";
        return Err(("libc is part of the program, so its text is not known", remedy));
    }
    Ok(Known { xsave_mode: xsave.map_err(|why| (why, QUIET))?, objects })
}

/// Whether an M's signal stack is large enough for frames of so many bytes.
fn signal_stack(frame: usize) -> Result<(), Missing> {
    if frame + HANDLER <= ALTSTACK {
        return Ok(());
    }
    Err((
        "the processor's registers are too large for a signal stack",
        "TRICOLOR_DEBUG=asyncpreemptoff=1 says that this is known",
    ))
}

/// Bytes of what the kernel puts on a signal stack; 0 if it does not say, and then they are few.
fn signal_frame() -> usize {
    // SAFETY: reads a word that the kernel has passed.
    unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) as usize }
}

fn objects() -> Objects {
    struct Search {
        first: bool,
        found: Objects,
    }
    unsafe extern "C" fn visit(object: *mut libc::dl_phdr_info, _: usize, search: *mut libc::c_void) -> libc::c_int {
        // SAFETY: what `dl_iterate_phdr` passes, and what we have passed to it; names end in 0.
        let (object, search, name) = unsafe {
            let name = if (*object).dlpi_name.is_null() { c"" } else { CStr::from_ptr((*object).dlpi_name) };
            (&*object, &mut *search.cast::<Search>(), name.to_bytes())
        };
        // SAFETY: its table of segments.
        let segments = unsafe { core::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
        for segment in segments.iter().filter(|s| s.p_type == libc::PT_LOAD && s.p_flags & libc::PF_X != 0) {
            let lo = (object.dlpi_addr + segment.p_vaddr) as usize;
            let text = [lo, lo + segment.p_memsz as usize];
            let file = name.rsplit(|&b| b == b'/').next().unwrap_or_default();
            if search.first && (text[0]..text[1]).contains(&crate::preempt::own_text().start) {
                search.found.text = Some(text);
            } else if [&b"libc.so"[..], b"libc.musl", b"ld-musl"].iter().any(|libc| file.starts_with(libc)) {
                search.found.libc = Some(lo);
            }
        }
        search.first = false;
        0
    }
    let mut search = Search { first: true, found: Objects::default() };
    // SAFETY: `visit` takes a `Search`; the program itself comes first.
    #[expect(clippy::disallowed_methods, reason = "before the runtime has a thread")]
    unsafe {
        libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast())
    };
    search.found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_counts_and_says_what_to_do() {
        let here = Objects { text: Some([1, 2]), libc: Some(3) };
        let why = |xsave, frame_pointers, objects| known(xsave, frame_pointers, objects).err().map(|(why, _)| why);
        assert_eq!(why(Ok(1), true, here), None);
        assert!(why(Ok(1), false, here).is_some_and(|why| why.contains("frame pointers")));
        assert!(why(Ok(1), true, Objects { text: None, ..here }).is_some_and(|why| why.contains("shared library")));
        assert!(why(Ok(1), true, Objects { libc: None, ..here }).is_some_and(|why| why.contains("libc is part")));
        assert_eq!(why(Err("no FXSAVE"), true, here), Some("no FXSAVE"));
        assert!(signal_stack(12 << 10).is_ok() && signal_stack(40 << 10).is_err());
    }

    /// What is found here, where tests are built with frame pointers, against a dynamic libc.
    #[test]
    fn this_program_has_everything() {
        let objects = objects();
        let text = objects.text.expect("the program's text");
        assert!((text[0]..text[1]).contains(&(shadow_stacks as *const () as usize)));
        let libc = objects.libc.expect("a libc");
        assert!(!(text[0]..text[1]).contains(&libc));
        assert!(keeps_frame_pointers::<Objects>());
        assert!(!shadow_stacks() && signal_frame() > 0);
    }
}
