//! Runs one command with its output in a file, in a process group of its own, for a limited time, and says what it took.

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

/// Runs `command` to its end, with both of its outputs in `log` and no input. Calls `tick` about every 50 ms. How it ended,
/// and its CPU time, with that of all its descendants that were waited for.
pub fn run(
    mut command: Command,
    log: &File,
    limit: Duration,
    interrupted: &AtomicBool,
    mut tick: impl FnMut(),
) -> (End, Duration) {
    let outputs = log.try_clone().and_then(|out| Ok((out, log.try_clone()?)));
    let child = outputs.and_then(|(out, err)| {
        heed_quit(&mut command);
        // A group of its own, so that a test program which hangs can be killed along with cargo.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn()
    });
    let child = match child {
        Ok(child) => child,
        Err(error) => return (End::NotStarted(error), Duration::ZERO),
    };
    let start = Instant::now();
    loop {
        match wait(&child, libc::WNOHANG) {
            Ok(Some((status, cpu))) => return (End::Exited(status), cpu),
            Ok(None) => {}
            Err(error) => return (End::NotStarted(error), kill(&child)),
        }
        if interrupted.load(Ordering::Relaxed) {
            return (End::Interrupted, kill(&child));
        }
        if start.elapsed() >= limit {
            return (End::TimedOut(limit), kill(&child));
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

/// Lets the command, and what it starts, have only what others leave of the processors.
pub fn stand_back(command: &mut Command) {
    let nicer = || {
        // SAFETY: a system call, which is allowed between `fork` and `exec`.
        unsafe { libc::nice(10) };
        Ok(())
    };
    // SAFETY: as `nicer` says.
    unsafe { command.pre_exec(nicer) };
}

/// Collects a child that has ended: its exit status, and the CPU time, user's and system's, of it and its descendants.
fn wait(child: &Child, flags: i32) -> io::Result<Option<(ExitStatus, Duration)>> {
    let mut status = 0;
    // SAFETY: a structure of numbers, for which zeros are a value.
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: writes both; the child is ours, and nobody has collected it.
    match unsafe { libc::wait4(child.id() as i32, &raw mut status, flags, &raw mut usage) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => {
            let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
            Ok(Some((ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime))))
        }
    }
}

/// Kills the whole group and collects its leader. Its CPU time.
fn kill(child: &Child) -> Duration {
    // An error says that the group is gone already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    loop {
        match wait(child, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            ended => return ended.ok().flatten().map_or(Duration::ZERO, |(_, cpu)| cpu),
        }
    }
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
        let (end, _) = run(command, &log, limit, &AtomicBool::new(interrupted), || {});
        let output = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (end, output)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_cpu_time_of_a_command_and_its_descendants_counts() {
        let cpu = |script: &str, limit: Duration| {
            let (path, log) = scratch();
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let (_, cpu) = run(command, &log, limit, &AtomicBool::new(false), || {});
            std::fs::remove_file(path).unwrap();
            cpu
        };
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
        let (own, childs) = (cpu(busy, LONG), cpu(&format!("sh -c '{busy}'; true"), LONG));
        let (killed, idle) = (cpu("while :; do :; done", Duration::from_millis(500)), cpu("sleep 0.5", LONG));
        assert!(own > idle && childs > idle && killed > idle, "{own:?}, {childs:?}, {killed:?}, {idle:?}");
    }

    #[test]
    fn who_stands_back_has_a_lower_priority() {
        let (path, log) = scratch();
        let mut command = Command::new("nice");
        stand_back(&mut command);
        run(command, &log, LONG, &AtomicBool::new(false), || {});
        let own: i32 = shell("nice", LONG, false).1.trim().parse().unwrap();
        let there: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(there, (own + 10).min(19));
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
        let (end, _) = run(Command::new("/no/such/program"), &log, LONG, &AtomicBool::new(false), || {});
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
