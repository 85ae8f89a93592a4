//! Stack budgets that are kept, and such that are not. Nothing of it runs.
//!
//! ```text
//! cargo barrier-lint --bin stack --stack
//! ```

use barrier_lint::{SystemStack, nosplit, systemstack};
use std::hint::black_box;
use std::mem::MaybeUninit;

fn main() {
    let roots = [ok::small as fn(usize) -> usize, ok::passed_on, ok::exactly, bad::own_frame, bad::of_a_callee];
    let others = [bad::recursive, bad::mutually, bad::indirect, bad::dynamic, bad::through_a_drop, ok::on_one_path];
    let more = [bad::of_a_function_passed_on, bad::alloc, ok::tail, ok::leaves, bad::leaves_late, bad::leaves_unsaid];
    black_box((roots, others, more));
}

/// Uses `N` bytes of stack and a little more.
#[inline(never)]
fn uses<const N: usize>(n: usize) -> usize {
    let mut all = MaybeUninit::<[u8; N]>::uninit();
    black_box(all.as_mut_ptr()) as usize + n
}

/// Its frame is never another's: `f` is not called as a tail.
#[inline(never)]
fn calls(f: impl Fn(usize) -> usize, n: usize) -> usize {
    black_box(f(n)) + 1
}

/// Pushes two words, and goes on with another stack.
macro_rules! leave {
    ($to:expr) => {
        // SAFETY: never runs.
        unsafe {
            std::arch::asm!(
                "lea rcx, [rip + 2f]", "push rcx", "push rbp", "mov rsp, rax", "pop rbp", "pop rcx", "jmp rcx", "2:",
                inout("rax") $to => _, clobber_abi("sysv64"),
            )
        }
    };
}

mod ok {
    use super::{SystemStack, black_box, calls, nosplit, systemstack, uses};

    #[nosplit(budget = 200)]
    pub fn small(n: usize) -> usize {
        uses::<64>(n) + 1
    }

    #[nosplit(budget = 1200)]
    pub fn exactly(n: usize) -> usize {
        calls(uses::<1000>, n) + uses::<512>(n)
    }

    #[nosplit(budget = 700)]
    pub fn on_one_path(n: usize) -> usize {
        if n > 3 { uses::<400>(n) + 1 } else { uses::<500>(n) + 2 }
    }

    #[nosplit(budget = 300)]
    pub fn tail(n: usize) -> usize {
        uses::<200>(n)
    }

    /// The list says so.
    #[nosplit(budget = 200)]
    pub fn leaves(n: usize) -> usize {
        goes_on(n) + 1
    }
    #[inline(never)]
    fn goes_on(n: usize) -> usize {
        leave!(n);
        n
    }

    /// What it passes on uses much, but of another stack.
    #[nosplit(budget = 200)]
    pub fn passed_on(n: usize) -> usize {
        switch(large, n)
    }

    #[systemstack]
    fn large(_on: &SystemStack, n: usize) -> usize {
        uses::<5000>(n) + 1
    }

    #[inline(never)]
    fn switch(f: fn(&SystemStack, usize) -> usize, n: usize) -> usize {
        black_box(f);
        n
    }
}

mod bad {
    use super::{MaybeUninit, black_box, calls, nosplit, ok, uses};

    #[nosplit(budget = 200)]
    pub fn own_frame(n: usize) -> usize {
        let mut all = MaybeUninit::<[u8; 300]>::uninit();
        black_box(all.as_mut_ptr()) as usize + n
    }

    #[nosplit(budget = 500)]
    pub fn of_a_callee(n: usize) -> usize {
        if n == 3 { n } else { calls(|n| calls(uses::<600>, n), n) }
    }

    #[nosplit(budget = 100_000)]
    pub fn recursive(n: usize) -> usize {
        if n == 0 { 1 } else { black_box(recursive(n - 1)) + 1 }
    }

    #[nosplit(budget = 100_000)]
    pub fn mutually(n: usize) -> usize {
        even(n) + 1
    }
    #[inline(never)]
    fn even(n: usize) -> usize {
        if n == 0 { 1 } else { black_box(odd(n - 1)) + 1 }
    }
    #[inline(never)]
    fn odd(n: usize) -> usize {
        if n == 0 { 0 } else { black_box(even(n - 1)) + 2 }
    }

    #[nosplit(budget = 100_000)]
    pub fn indirect(n: usize) -> usize {
        let f: fn(usize) -> usize = black_box(ok::small);
        f(n) + 1
    }

    /// As `alloca` does it.
    #[nosplit(budget = 100_000)]
    pub fn dynamic(n: usize) -> usize {
        // SAFETY: never runs; gives back what it takes.
        unsafe { std::arch::asm!("sub rsp, {n}", "mov byte ptr [rsp], 0", "add rsp, {n}", n = in(reg) n) };
        n
    }

    /// What it uses until then counts.
    #[nosplit(budget = 500)]
    pub fn leaves_late(n: usize) -> usize {
        goes_on_late(n) + 1
    }
    #[inline(never)]
    fn goes_on_late(n: usize) -> usize {
        let mut all = MaybeUninit::<[u8; 700]>::uninit();
        black_box(all.as_mut_ptr());
        leave!(n);
        black_box(all.as_mut_ptr()) as usize
    }

    /// The list does not say so.
    #[nosplit(budget = 100_000)]
    pub fn leaves_unsaid(n: usize) -> usize {
        goes_on(n) + 1
    }
    #[inline(never)]
    fn goes_on(n: usize) -> usize {
        leave!(n);
        // As `ok::goes_on` it would be one with that.
        n + 3
    }

    struct Large(usize);
    impl Drop for Large {
        fn drop(&mut self) {
            uses::<900>(self.0);
        }
    }
    #[nosplit(budget = 500)]
    pub fn through_a_drop(n: usize) -> usize {
        let _large = Large(n);
        uses::<8>(n)
    }

    /// Nobody says that it runs on another stack.
    #[nosplit(budget = 500)]
    pub fn of_a_function_passed_on(n: usize) -> usize {
        keep(unmarked);
        n
    }
    fn unmarked(n: usize) -> usize {
        uses::<700>(n) + 1
    }
    #[inline(never)]
    fn keep(f: fn(usize) -> usize) {
        black_box(f);
    }

    /// Code of another object, whose frames cannot be read.
    #[nosplit(budget = 100_000)]
    pub fn alloc(n: usize) -> usize {
        unsafe extern "C" {
            fn malloc(n: usize) -> *mut u8;
        }
        // SAFETY: never runs.
        unsafe { malloc(n) as usize }
    }
}
