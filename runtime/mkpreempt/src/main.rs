//! Will generate the assembly of asynchronous preemption (`async_preempt`) for x86_64, i686 and aarch64 from one table
//! of registers. Comes with signal preemption; until then goroutines are descheduled at safepoints only.

fn main() -> std::process::ExitCode {
    eprintln!("mkpreempt: not built yet: preemption is cooperative, there is no assembly to generate");
    std::process::ExitCode::from(2)
}
