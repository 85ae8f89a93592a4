//! What is to be proved, and by which models: a property whose models are not in the list fails the suite.

use super::Model;

/// Number, short name, models.
type Property<'a> = (u32, &'a str, &'a [&'a str]);

pub const PROPERTIES: &[Property<'static>] = &[
    (1, "greyobject against a stopped world", &["greyobject", "syscall-exit", "barrier-without-p"]),
    (2, "no-barrier fields", &["no-barrier-field"]),
    (3, "hybrid barrier without rescan", &["hybrid-deletion", "hybrid-insertion", "birth"]),
    (4, "copies between grey and black stacks", &["channel", "spawn", "bulk-move"]),
    (5, "two writers of one slot", &["two-writers"]),
    (6, "barrier buffer", &["barrier-buffer"]),
    (7, "the barrier goes on before the first scan", &["barrier-on"]),
    (8, "termination with the ragged barrier", &["termination", "ragged-barrier"]),
    (9, "the look under the stop", &["weak", "hybrid-insertion"]),
    (10, "work-buffer hand-off", &["buffers"]),
    (11, "the mark map", &["mark-word"]),
    (12, "syscall exit against stop and retake", &["stop-syscall", "retake"]),
    (13, "P hand-off against a stop", &["stop-handoff", "stop-door", "stop-request", "two-stoppers", "handshake"]),
    (
        14,
        "park and ready, lost wake-ups",
        &["wake-local", "wake-global", "steal-handed-over", "watch", "netpoll-ready", "timer-sleep"],
    ),
    (15, "suspension against exit and reuse", &["suspend-end", "suspend-reuse"]),
    (16, "preemption requests, by flag and by signal", &["signal-one", "signal-answer", "slice-over", "stop-request"]),
    (17, "sweep against allocation", &["sweep"]),
    (18, "weak upgrade at termination", &["weak"]),
    (19, "vector registers", &["xregs"]),
    (20, "the context of morestack", &["morestack-ctxt", "morestack-queued"]),
    (21, "mutable access", &["mutable-inside", "mutable-enter", "mutable-leave"]),
    (22, "claim, stale word, publication, cycle", &["claim", "publish"]),
    (23, "root copied and dropped", &["root-dropped", "root-dropped-with-p"]),
    (24, "suspending in place against entering and leaving the runtime", &["suspend-refused"]),
    (25, "a suspension that a scan and a stop hold", &["suspend-two-holders", "suspend-stop-scan"]),
    (26, "each P counted once", &["stop-count"]),
    (27, "cached spans across a flip", &["cached-spans"]),
    (28, "the store's word", &["store-word"]),
    (29, "a goroutine that waits for several channels", &["select-wakers", "select-late", "select-both"]),
    (30, "the mutex for goroutines", &["mutex"]),
    (31, "a lock given back by a plain store", &["lock-kept", "lock-kept-three"]),
];

/// # Errors
/// The first property that lacks one of its models.
pub fn check(properties: &[Property], models: &[Model]) -> Result<(), String> {
    for (number, what, names) in properties {
        if let Some(missing) = names.iter().find(|name| models.iter().all(|m| m.name != **name)) {
            return Err(format!("property {number} ({what}) has no model: there is no `{missing}`"));
        }
        if names.is_empty() {
            return Err(format!("property {number} ({what}) has no model"));
        }
    }
    Ok(())
}
