//! "No write barrier runs here", as a property that the compiler checks.
//!
//! A concurrent collector's write barrier needs per-processor state. Code that runs without a processor (in the
//! scheduler, in a signal handler, between marking an object and queueing it) must not execute one, not even through
//! a callee five files away. Go's compiler stops the build over that; this crate does it in stable Rust:
//!
//! * **Types** carry the permission: a barriered store takes a [`Wb`], and who was not handed one cannot store.
//!   [`NoBarrierPtr`] is a field without any barriered store, [`NotInHeap`] keeps types out of the heap.
//! * **Attributes** check bodies: [`macro@nowritebarrierrec`] accepts only calls of functions that are marked too.
//!   [`macro@yeswritebarrierrec`] ends the flood, [`macro@nowritebarrier`] looks at one function only.
//! * [`certify!`] lists, with a reason, what no attribute can stand on.
//!
//! ```
//! use barrier_lint::{NoBarrierPtr, Wb, nowritebarrierrec, yeswritebarrierrec};
//!
//! struct M { /** Kept alive by `allgs`. */ curg: NoBarrierPtr<u64> }
//!
//! #[nowritebarrierrec]
//! fn park(m: &M) {
//!     if m.curg.get().is_null() {
//!         wake();
//!     }
//! }
//!
//! #[yeswritebarrierrec(wb = "wake() has acquired a P above")]
//! fn wake() {
//!     barriered_store(wb);
//! }
//!
//! fn barriered_store(_: Wb<'_>) { /* .. */ }
//! # park(&M { curg: NoBarrierPtr::null() });
//! ```
//!
//! Calling `barriered_store` from `park` does not compile, with or without a token:
//!
//! ```compile_fail,E0573
//! # use barrier_lint::nowritebarrierrec;
//! fn unmarked() {}
//! #[nowritebarrierrec]
//! fn park() { unmarked() }
//! ```
//!
//! # What is checked, and how
//!
//! A marked free function leaves behind a type of the same name, a marked method a sibling method
//! `nowritebarrierrec__name`; each call in a `#[nowritebarrierrec]` body asserts, in code that never runs, that its
//! callee has left one. Hence a marked function cannot stand in one module with a type or module of the same name.
//! In builds for models (`--cfg modelled`) bodies are not checked; the ordinary build checks the same source.
//!
//! # Reading the errors
//!
//! | the compiler says | it means |
//! |---|---|
//! | `expected type, found function f` | `f` is not marked: mark it, or list it with [`certify!`] |
//! | `no method named nowritebarrierrec__m` | the method `m` is not marked, or belongs to a type that is not listed |
//! | `not all trait items implemented, missing: nowritebarrierrec__m` | the trait marks `m`; put the attribute on this `impl` |
//! | `nowritebarrierrec__m is not a member of trait` | the trait does not mark `m`: mark it there, or write `(foreign_trait)` here |
//! | `functions in trait impls cannot be declared const` | put the attribute on the whole `impl`, or write `(tr_impl)` |
//! | `the name f is defined multiple times` | a marked function's name is taken in the type namespace, too |
//! | `type annotations needed` at `Type::f()` | write the type's arguments: `Type::<T>::f()` |
//! | `found a different fn item` | your function bears the name of a listed one of `core`'s: call it by a longer path |
//!
//! | `destructor of D cannot be evaluated at compile-time` | (twin) a value with drop glue goes here: hand it on, or mark its `impl Drop` |
//!
//! # What the compiler implies
//!
//! Under `--cfg barrier_lint_twin` each checked body has a *twin*, in which the compiler looks for the calls that nobody
//! wrote: drop glue, operators, indexing, dereferencing. In this repository `cargo verify` does that; elsewhere:
//!
//! ```text
//! cargo check --target-dir target/twin --config 'build.rustflags=["--cfg=barrier_lint_twin"]'
//! ```
//!
//! Only ever check with that flag, never run: certified `impl Drop`s are left out. What passes:
//!
//! * Values without drop glue, values that are moved out on every path, and types whose `impl Drop` is marked and whose
//!   fields need no more. A standard container has drop glue; put it into a `ManuallyDrop`, or hand it on.
//! * Operators of numbers and pointers, and what is made of them. Derived ones are certified:
//!   `certify! { operators Id: "derived"; }`.
//! * `*`, fields and methods behind references, `Box`, and what has a marked `impl Deref` (and `DerefMut`); indexing of
//!   arrays and slices, and of what has a marked `impl Index`. That `impl` is checked as any other.
//!
//! # At run time
//!
//! In builds with debug assertions, a barrier inside a no-barrier function ends the process with both names
//! ([`on_violation`], [`barrier`]): whatever a function pointer, a false reason or assembly let through.
//!
//! Not seen here either: what closures drop, a `Deref` that coerces an argument, what temporaries drop that are consumed by
//! their name only (`unwrap…`, `map…`, `into_…`); glob imports that a local function shadows, upper-case functions passed as
//! values, the bodies of `asm!` and foreign functions. Those are for `cargo barrier-lint`.
//!
//! # The linked program
//!
//! `cargo install --path barrier-lint/checker`, and then
//!
//! ```text
//! cargo barrier-lint --example word_index        # or --bin, --test; --package, --features
//! cargo barrier-lint path/to/program             # built with --cfg barrier_lint
//! ```
//!
//! builds the program in `target/barrier-lint` under the profile `lint` (release with line tables and symbols) and walks
//! from each marked function along all calls: written or implied, inlined or not, in this crate or the standard library.
//! A function is OK, BAD, or UNKNOWN if it makes a call through a pointer that the walk cannot follow; the exit status is
//! 0, 1, or 2 if there is no verdict.
//!
//! * What is forbidden: the function `gc_write_barrier` (`--forbid` names others), and functions marked
//!   [`macro@writebarrier`], wherever they are inlined.
//! * A check that finds nothing looks like a clean program, so mark some functions that do reach a barrier
//!   [`macro@canary`]: unless each of them is found, there is no verdict.
//! * `--stop FILE` lists functions that the walk does not enter (`core::panicking::panic_fmt: ends the process`),
//!   `--allow FILE` calls and addresses that are no danger (`indirect my::dispatch: the table holds marked functions only`,
//!   `address my::newm -> my::mstart: runs on another thread`), below a heading `[program]` for one program only. A line
//!   must have a reason, and must be needed. `[workspace.metadata.barrier-lint]` with `stop`, `allow` and `forbid` in
//!   Cargo.toml goes for all checks of a workspace.
//! * Generic functions are checked in the instances that the program has. `--complete` asks that it has one of each.
//! * Other effects than write barriers ("no allocation", "no lock") have records of their own: [`record!`].
//!
//! x86_64 and ELF only so far. With `--target` cargo keeps flags from macros, so there would be no records.
#![deny(missing_docs)]

extern crate self as barrier_lint;

#[doc(hidden)]
pub mod certified;
mod implied;
mod place;
mod ptr;
mod record;
mod run;
mod token;
mod witness;

pub use implied::Operand;
#[doc(hidden)]
pub use implied::{
    Answer, CertifiedDeref, CertifiedDerefMut, Indexed, Stripped, element, indexed, opaque, operand, reached, strip,
};
pub use place::{NotInHeap, OffHeap, OnHeap, Place};
pub use ptr::NoBarrierPtr;
#[doc(hidden)]
pub use record::{Mark, Record};
#[doc(hidden)]
pub use run::check_system_stack;
pub use run::{Function, Inside, OnSystemStack, Violation, barrier, on_system_stack, on_violation};
pub use token::{SystemStack, Wb};
pub use witness::NoWb;
#[doc(hidden)]
pub use witness::{
    Certified, Direct, MayBarrier, NoStore, Of, Plain, Prim, QuestionMark, Reaches, UnlessStore, copied, direct,
    no_store, prim, question_mark, same, same_type,
};

/// No write barrier runs in this function, nor in any that it calls.
///
/// Stands on a function, on a method, on a whole `impl` block, on a trait or on a trait's method without a body.
///
/// ```
/// use barrier_lint::nowritebarrierrec;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// struct Sched { idle: AtomicU32 }
///
/// #[nowritebarrierrec]
/// impl Sched {
///     fn new() -> Self { Sched { idle: AtomicU32::new(0) } }
///     fn stop_one(&self) -> u32 { self.idle.fetch_add(1, Relaxed) + two() }
/// }
///
/// #[nowritebarrierrec]
/// fn two() -> u32 { 2 }
/// # assert_eq!(Sched::new().stop_one(), 2);
/// ```
///
/// # What a body may do
///
/// * Call marked functions and methods, constructors, and the listed parts of `core`: integers, atomics, raw pointers,
///   `NonNull`, `Option`, `Result`, slices, cells, `ptr::…`, `mem::…`, `hint::…`, fences.
/// * Name marked functions as values, and write closures, whose bodies are checked where they stand.
/// * Use `assert!` and its kin, `panic!`, `unreachable!`, any `throw!`, `matches!`, `addr_of!`, `offset_of!`, `const { }`.
/// * Loop with `while`, `loop`, and `for` over a range (or its `rev()`) or a written-out array; use `?` on an `Option`.
/// * Call `drop(x)`, if the type's `impl Drop` is marked.
///
/// Refused, each with a message of its own: calling a value (a parameter, a field, a `let`), any other macro, `for` over
/// an iterator, `?` on a `Result`, `.await`, `async`, a [`Wb`] parameter. The body of a `const fn` is left to the compiler, which is
/// stricter.
///
/// # Arguments
///
/// * `assoc`: the function stands in an `impl`, but has no `self`. Automatic if the attribute is on the `impl`.
/// * `tr_impl`: it stands in the impl of a trait that is marked itself. Automatic likewise.
/// * `foreign_trait`: it stands in the impl of a trait that is not marked (`GlobalAlloc`): the body is checked,
///   but marked functions cannot call it. Automatic for `Drop`, which `drop(x)` looks for,
///   and `Deref`.
/// * `asm = "reason"`: the body's `asm!` holds no barrier.
/// * `receiver = "reason"`, on an `impl Deref`: methods of the target may be called through this type, since it has no
///   method of its own that would stand before one of them (a smart pointer).
/// * `indirect = "reason"`: what the body calls through values holds none.
/// * `implied = "reason"`: nor does what the compiler implies; no twin.
///
/// ```
/// use barrier_lint::nowritebarrierrec;
/// #[nowritebarrierrec(indirect = "the table holds only marked functions")]
/// fn dispatch(table: &[fn(u32) -> u32; 2], n: usize) -> u32 { (table[n])(1) }
/// # assert_eq!(dispatch(&[|x| x, |x| x + 1], 1), 2);
/// ```
pub use barrier_lint_macros::nowritebarrierrec;

/// No write barrier stands in this function itself; what it calls is its own affair.
///
/// Refuses a [`Wb`] parameter, [`Wb::conjure`], and methods marked [`macro@writebarrier`] with the name of a store
/// (`set`, `swap`, `replace`, `compare_exchange` and the like).
///
/// ```
/// use barrier_lint::nowritebarrier;
/// #[nowritebarrier]
/// fn allocate() -> Vec<u32> { vec![1, 2] }
/// # allocate();
/// ```
///
/// ```compile_fail,E0277
/// use barrier_lint::{nowritebarrier, writebarrier};
/// struct GcCell;
/// impl GcCell {
///     #[writebarrier]
///     fn set(&self, _: usize) {}
/// }
/// #[nowritebarrier]
/// fn f(c: &GcCell) { c.set(1) }
/// ```
pub use barrier_lint_macros::nowritebarrier;

/// Write barriers are allowed here, although a [`macro@nowritebarrierrec`] function may call this one.
///
/// Where the flood stops: the function has made sure that this M holds a P. It is never inlined, its body is not
/// checked. With `wb = "reason"` it binds `wb`, a [`Wb`] that cannot leave the body; the reason says why there is a P.
///
/// ```
/// use barrier_lint::{Wb, nowritebarrierrec, yeswritebarrierrec};
/// fn store(_: Wb<'_>, slot: &mut u32, v: u32) { *slot = v }
///
/// #[yeswritebarrierrec(wb = "the caller has just wired a P")]
/// fn start(slot: &mut u32) { store(wb, slot, 1) }
///
/// #[nowritebarrierrec]
/// fn schedule(slot: &mut u32) { start(slot) }
/// # let mut n = 0; schedule(&mut n); assert_eq!(n, 1);
/// ```
///
/// Also takes `assoc` and `tr_impl`, as [`macro@nowritebarrierrec`] does.
pub use barrier_lint_macros::yeswritebarrierrec;

/// This function may execute a write barrier.
///
/// Changes nothing about the function; gives those who call it where they must not a better message, names the stores
/// for [`macro@nowritebarrier`], and is a barrier to `cargo barrier-lint`, wherever it ends up inlined.
///
/// ```compile_fail,E0277
/// use barrier_lint::{nowritebarrierrec, writebarrier};
/// #[writebarrier]
/// fn grow() {}
/// #[nowritebarrierrec]
/// fn f() { grow() }
/// ```
///
/// ```
/// # use barrier_lint::writebarrier;
/// #[writebarrier]
/// fn grow() {}
/// fn f() { grow() }
/// # f();
/// ```
pub use barrier_lint_macros::writebarrier;

/// This function must be condemned by the whole-program check.
///
/// A check that finds nothing looks like a clean program. A canary reaches a barrier on purpose: if
/// `cargo barrier-lint` does not find it, it refuses to say anything about the rest. Nothing calls a canary, and only
/// the check's own builds link it.
///
/// ```
/// # use barrier_lint::{Wb, canary};
/// # fn barriered_store(_: Wb<'_>) {}
/// #[canary]
/// fn canary_store() {
///     // SAFETY: never runs.
///     barriered_store(unsafe { Wb::conjure() });
/// }
/// ```
pub use barrier_lint_macros::canary;

/// Certifies, each with a reason, what no attribute can stand on.
///
/// ```
/// use barrier_lint::{certify, nowritebarrierrec};
///
/// certify! {
///     // A function of this module, for instance one in assembly or from another macro.
///     pub fn switch: "assembly; touches registers only";
///     // Functions from elsewhere: imports them here, and callers use these names.
///     pub use std::process::id as pid: "a system call";
///     use std::thread::{park, yield_now}: "system calls";
///     // Methods of a type of this crate; `fn` stands before those without `self`.
///     impl Task { run, fn idle }: "generated from the table";
///     // Methods of types from elsewhere. The trait must be in scope at the call.
///     trait Threads { id } for std::thread::Thread: "reads a field";
///     trait Lists { len, fn new } for [T] Vec<T>: "reads a field; allocates nothing";
///     // Types that may be compared and computed with.
///     operators Task, [T] Pair<T>: "derived";
/// }
/// # pub extern "C" fn switch() {}
/// # struct Pair<T>(T); pub struct Task; impl Task { fn run(&self) {} fn idle() -> Task { Task } }
/// #[nowritebarrierrec]
/// fn f(t: &std::thread::Thread, v: &Vec<u32>) -> usize {
///     switch();
///     Task::idle().run();
///     t.id();
///     yield_now();
///     v.len() + pid() as usize
/// }
/// # f(&std::thread::current(), &Vec::new());
/// ```
///
/// A reason must be there, and say something:
///
/// ```compile_fail
/// # fn switch() {}
/// barrier_lint::certify! { fn switch: ""; }
/// ```
pub use barrier_lint_macros::certify;

/// This function and all that it calls, until the switch to the system stack, use no more than `budget` bytes of stack.
///
/// It runs where a stack cannot grow: on what is left of a goroutine's. `cargo barrier-lint --stack` adds up the frames of
/// the linked program along every path from it, and condemns a path over the budget, a recursion, an indirect call, and a
/// frame whose size is only known at run time. Where a path reaches a [`macro@systemstack`] function, called or passed on
/// by its address, another stack begins and the path ends. The budget does not count the return address of the
/// function itself.
///
/// ```
/// use barrier_lint::nosplit;
/// #[nosplit(budget = 800)]
/// fn morestack(size: usize) -> usize { size * 2 }
/// # morestack(1);
/// ```
pub use barrier_lint_macros::nosplit;

/// This function runs on a system stack: it has a parameter of type `&`[`SystemStack`].
///
/// In builds with debug assertions it asks at entry whether that is true, if [`on_system_stack`] says how.
///
/// ```
/// use barrier_lint::{SystemStack, systemstack};
/// #[systemstack]
/// fn shrink_stack(_on: &SystemStack, g: usize) -> usize { g }
/// // SAFETY: the example never runs on a goroutine's stack.
/// shrink_stack(&unsafe { SystemStack::conjure() }, 1);
/// ```
///
/// ```compile_fail
/// # use barrier_lint::systemstack;
/// #[systemstack]
/// fn shrink_stack(g: usize) {}
/// ```
pub use barrier_lint_macros::systemstack;

/// Places a type outside the heap: implements [`trait@NotInHeap`] and [`Place`] at [`OffHeap`].
///
/// Every field must be [`trait@NotInHeap`] itself. A type cannot be placed in the heap as well.
///
/// ```
/// use barrier_lint::{NoBarrierPtr, NotInHeap};
/// #[derive(NotInHeap)]
/// struct Span { start: usize, next: NoBarrierPtr<Span> }
/// ```
///
/// ```compile_fail,E0277
/// # use barrier_lint::NotInHeap;
/// struct Gc(*mut u8);
/// #[derive(NotInHeap)]
/// struct Span { object: Gc }
/// ```
pub use barrier_lint_macros::NotInHeap;
