//! Runs one command with its output in a file, in a process group of its own, for a limited time.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How a command ended.
#[derive(Debug)]
pub enum End {
    Exited(ExitStatus),
    /// Its time was up, and the process group was killed.
    TimedOut(Duration),
    /// Somebody stopped the tool (Ctrl-C), and the process group was killed.
    Interrupted,
    /// It could not be started.
    NotStarted(io::Error),
}

impl End {
    /// Nothing if the command succeeded, else one line that says what happened.
    pub fn problem(&self) -> Option<String> {
        match self {
            End::Exited(status) if status.success() => None,
            End::Exited(status) => Some(match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => status.to_string(),
            }),
            End::TimedOut(limit) => Some(format!("timed out after {} s", limit.as_secs_f64())),
            End::Interrupted => Some("interrupted".to_owned()),
            End::NotStarted(error) => Some(format!("could not be started: {error}")),
        }
    }
}

/// Runs `command` to its end, with both of its outputs in `log` and no input. Calls `tick` about every 50 ms.
pub fn run(mut command: Command, log: &File, limit: Duration, interrupted: &AtomicBool, mut tick: impl FnMut()) -> End {
    let outputs = log.try_clone().and_then(|out| Ok((out, log.try_clone()?)));
    let child = outputs.and_then(|(out, err)| {
        heed_quit(&mut command);
        // A group of its own, so that a test program which hangs can be killed along with cargo.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn()
    });
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return End::NotStarted(error),
    };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return End::Exited(status),
            Ok(None) => {}
            Err(error) => {
                kill(&mut child);
                return End::NotStarted(error);
            }
        }
        if interrupted.load(Ordering::Relaxed) {
            kill(&mut child);
            return End::Interrupted;
        }
        if start.elapsed() >= limit {
            kill(&mut child);
            return End::TimedOut(limit);
        }
        tick();
        thread::sleep(Duration::from_millis(50));
    }
}

/// Lets the command end on SIGQUIT. What a script starts in the background ignores it, and so do its children: tests that
/// ask a program for its dump would wait in vain.
fn heed_quit(command: &mut Command) {
    let default = || {
        // SAFETY: a system call, which is allowed between `fork` and `exec`.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: as `default` says.
    unsafe { command.pre_exec(default) };
}

/// CPU time, user's and system's, of all processes below this one that have ended and were waited for.
pub fn cpu_time() -> Duration {
    // SAFETY: a structure of numbers, for which zeros are a value.
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: writes the structure.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Kills the whole group and collects its leader.
fn kill(child: &mut Child) {
    // An error says that the group is gone already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// A new file of our own in the folder for temporary files.
    pub fn scratch() -> (std::path::PathBuf, File) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tricolor-verify-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let file = File::options().append(true).create(true).open(&path).unwrap();
        (path, file)
    }

    /// Runs a shell script and gives its end and its output.
    pub fn shell(script: &str, limit: Duration, interrupted: bool) -> (End, String) {
        let (path, log) = scratch();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let end = run(command, &log, limit, &AtomicBool::new(interrupted), || {});
        let output = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (end, output)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_cpu_time_of_what_has_ended_counts() {
        let before = cpu_time();
        let (end, _) = shell("i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done", LONG, false);
        assert!(end.problem().is_none() && cpu_time() > before);
    }

    #[test]
    fn both_outputs_are_logged_in_order() {
        let (end, output) = shell("echo one; echo two >&2; echo three", LONG, false);
        assert!(end.problem().is_none(), "{end:?}");
        assert_eq!(output, "one\ntwo\nthree\n");
    }

    #[test]
    fn an_exit_status_is_named() {
        assert_eq!(shell("exit 3", LONG, false).0.problem().unwrap(), "exit status 3");
    }

    #[test]
    fn a_signal_is_named() {
        assert_eq!(shell("kill -SEGV $$", LONG, false).0.problem().unwrap(), "killed by signal 11");
    }

    #[test]
    fn what_is_ignored_here_is_heeded_there() {
        // SAFETY: nothing in this process waits for the signal.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_IGN) };
        assert_eq!(shell("kill -QUIT $$; echo alive", LONG, false).0.problem().unwrap(), "killed by signal 3");
    }

    #[test]
    fn a_missing_program_is_named() {
        let (path, log) = scratch();
        let end = run(Command::new("/no/such/program"), &log, LONG, &AtomicBool::new(false), || {});
        std::fs::remove_file(path).unwrap();
        let problem = end.problem().unwrap();
        assert!(problem.starts_with("could not be started: No such file"), "{problem}");
    }

    #[test]
    fn there_is_no_input() {
        assert_eq!(shell("cat; echo end", LONG, false).1, "end\n");
    }

    #[test]
    fn a_hang_is_killed_with_its_descendants() {
        let start = Instant::now();
        let (end, output) = shell("sleep 600 & echo $!; wait", Duration::from_millis(300), false);
        assert_eq!(end.problem().unwrap(), "timed out after 0.3 s");
        assert!(start.elapsed() < LONG);
        let descendant = output.trim().parse::<u32>().unwrap();
        // The kernel finishes a killed process in its own time.
        while is_alive(descendant) {
            assert!(start.elapsed() < LONG, "the descendant lives on");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn an_interrupt_ends_the_command() {
        let start = Instant::now();
        let (end, _) = shell("sleep 600", LONG * 10, true);
        assert!(matches!(end, End::Interrupted), "{end:?}");
        assert!(start.elapsed() < LONG);
    }

    /// Exists and is not merely waiting to be collected.
    fn is_alive(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}
