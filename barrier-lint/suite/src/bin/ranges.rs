//! Tables of unsafe-point ranges: some entries are right, each of the others is wrong in its own way. Nothing of it runs.
//!
//! ```text
//! cargo barrier-lint --bin ranges --ranges
//! ```

use std::hint::black_box;

fn main() {
    let restartable = [ok::store as fn(&mut u64), bad::two_stores, bad::store_too_early, bad::without_its_store];
    let others = [bad::in_an_instruction, bad::in_no_table, bad::with_a_call, bad::entered_in_the_middle, bad::empty];
    let more = [ok::no_preempt, bad::changes_a_register, bad::no_preempt_with_a_call];
    black_box((restartable, others, more));
}

/// A function whose body is assembly, with an entry in a table: `from` and `to` are the numbers of its labels.
macro_rules! range {
    ($name:ident, $table:literal, $from:literal, $to:literal, $($line:literal),*) => {
        #[inline(never)]
        pub fn $name(slot: &mut u64) {
            // SAFETY: never runs.
            unsafe {
                std::arch::asm!(
                    "2:",
                    $($line,)*
                    "4:",
                    concat!(".pushsection ", $table, ",\"aR\",@progbits"),
                    ".balign 4",
                    concat!(".long ", $from, " - ."),
                    concat!(".long ", $to, " - ."),
                    ".popsection",
                    "5:",
                    slot = in(reg) slot,
                );
            }
        }
    };
}

// In no function: says that there is a table.
std::arch::global_asm!(".pushsection wb_ranges,\"aR\",@progbits", ".balign 4", ".long 0", ".long -4", ".popsection");

mod ok {
    range!(store, "wb_ranges", "2b", "4b", "cmp dword ptr fs:[0x28], 0", "jne 5f", "mov qword ptr [{slot}], rcx");
    range!(
        no_preempt,
        "no_preempt_ranges",
        "2b",
        "4b",
        "mov rcx, qword ptr fs:[0]",
        "mov qword ptr [{slot}], rcx",
        "mov qword ptr [{slot} + 8], rcx"
    );
}

mod bad {
    range!(two_stores, "wb_ranges", "2b", "4b", "mov qword ptr [{slot}], 1", "mov qword ptr [{slot}], rcx");
    range!(store_too_early, "wb_ranges", "2b", "4b", "mov qword ptr [{slot}], 1", "cmp rax, rcx");
    range!(
        without_its_store,
        "wb_ranges",
        "2b",
        "3b",
        "cmp dword ptr fs:[0x28], 0",
        "jne 5f",
        "3:",
        "mov qword ptr [{slot}], rcx"
    );
    range!(in_an_instruction, "wb_ranges", "2b + 1", "4b", "cmp rax, 1000", "mov qword ptr [{slot}], rcx");
    range!(with_a_call, "wb_ranges", "2b", "4b", "cmp rax, 1", "call rax", "mov qword ptr [{slot}], rcx");
    range!(
        entered_in_the_middle,
        "wb_ranges",
        "2b",
        "4b",
        "cmp rax, 2",
        "jne 3f",
        "cmp rax, 3",
        "3:",
        "mov qword ptr [{slot}], rcx"
    );
    range!(empty, "wb_ranges", "4b", "2b", "cmp rax, 4", "mov qword ptr [{slot}], rcx");
    range!(changes_a_register, "wb_ranges", "2b", "4b", "inc rcx", "mov qword ptr [{slot}], rcx");
    range!(no_preempt_with_a_call, "no_preempt_ranges", "2b", "4b", "call rax", "/* {slot} */ nop");
    // As `ok::store`, in a section of another name.
    range!(in_no_table, "forgotten", "2b", "4b", "cmp dword ptr fs:[0x28], 0", "jne 5f", "mov qword ptr [{slot}], rcx");
}
