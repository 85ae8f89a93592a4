//! Records: what a linked program tells `cargo barrier-lint` about itself.

/// An entry of the section `barrier_lint_fns`: a function, and what it promises.
#[doc(hidden)]
#[repr(C)]
pub struct Record(pub *const (), pub u64);

// SAFETY: never read by the program.
unsafe impl Sync for Record {}

/// An entry of the section `barrier_lint_marks`: the number and the name of a function that promises something.
#[doc(hidden)]
#[repr(C)]
pub struct Mark(pub u64, pub &'static str);

/// Marks the function around it for `cargo barrier-lint --records SECTION`, to check another effect than write
/// barriers: no allocation, no lock.
///
/// The kinds: `root` (nothing forbidden below), `own` (nothing forbidden in the function itself), `gate` (the search
/// stops here), `site` (this is the forbidden thing), `canary` (must be found guilty). All but `site` belong as the
/// first statement into a function that is `#[inline(never)]`. Costs one instruction that does nothing, on x86_64; put
/// it behind a `cfg` of yours if that is too much.
///
/// ```
/// use barrier_lint::record;
/// #[inline(never)]
/// extern "C" fn handler(_signal: i32) {
///     record!("no_alloc", root);
/// }
/// #[inline(never)]
/// fn canary() -> Box<u32> {
///     record!("no_alloc", canary);
///     Box::new(1)
/// }
/// # handler(1); canary();
/// ```
///
/// `cargo barrier-lint --records no_alloc --forbid malloc` then walks from `handler`; the example `signal_handler` of
/// this crate is such a program.
#[macro_export]
macro_rules! record {
    ($section:literal, root) => { $crate::record!(@ $section, "1") };
    ($section:literal, own) => { $crate::record!(@ $section, "2") };
    ($section:literal, gate) => { $crate::record!(@ $section, "3") };
    ($section:literal, site) => { $crate::record!(@ $section, "4") };
    ($section:literal, canary) => { $crate::record!(@ $section, "5") };
    (@ $section:literal, $kind:literal) => {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        #[allow(unsafe_code, unused_unsafe, clippy::all, clippy::undocumented_unsafe_blocks)]
        let () = unsafe {
            ::core::arch::asm!(
                // Its line sets this instruction apart from that of other functions with an equal body.
                "772:", concat!("nop dword ptr [rax + 0x1000000 + ", line!(), " * 256 + ", column!(), "]"),
                concat!(".pushsection ", $section, ",\"aR\",@progbits"),
                ".balign 8", ".quad 772b - .", concat!(".quad ", $kind), ".popsection",
                options(nomem, nostack, preserves_flags),
            )
        };
    };
}
