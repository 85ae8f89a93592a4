//! Shows that each row of `clippy.toml` bites: whatever stands there is used here once, where clippy expects its lint. A
//! row that catches nothing makes `cargo clippy` fail. Nobody calls this, and nobody else compiles it.

macro_rules! types {
    ($($refused:ty,)*) => {
        $(const _: () = {
            #[expect(clippy::disallowed_types, reason = "a canary")]
            type _Refused = $refused;
        };)*
    };
}

types! {
    std::sync::Mutex<()>,
    std::sync::RwLock<()>,
    std::sync::Condvar,
    std::sync::Once,
    std::sync::OnceLock<()>,
    std::sync::LazyLock<()>,
    std::sync::Barrier,
    std::sync::mpsc::Sender<()>,
    std::sync::mpsc::SyncSender<()>,
    std::sync::mpsc::Receiver<()>,
    std::thread::Thread,
    std::thread::Builder,
    std::backtrace::Backtrace,
}

macro_rules! methods {
    ($($refused:expr,)*) => {
        #[allow(unused_unsafe, deprecated)]
        fn _methods() {
            $({
                #[expect(clippy::disallowed_methods, reason = "a canary")]
                let _ = $refused;
            })*
        }
    };
}

methods! {
    std::thread::spawn::<fn(), ()>,
    std::thread::scope::<fn(&std::thread::Scope<'_, '_>), ()>,
    std::thread::current,
    std::thread::park,
    std::thread::park_timeout,
    std::io::stdin,
    std::io::stdout,
    std::io::stderr,
    std::env::var::<&str>,
    std::env::var_os::<&str>,
    std::env::vars,
    std::env::vars_os,
    std::env::set_var::<&str, &str>,
    std::env::remove_var::<&str>,
    std::process::exit,
    std::panic::set_hook,
    std::panic::take_hook,
    libc::dl_iterate_phdr,
    libc::dlopen,
    libc::dlsym,
    libc::dladdr,
    libc::getaddrinfo,
    std::net::ToSocketAddrs::to_socket_addrs(""),
    libc::pthread_create,
    libc::pthread_mutex_lock,
    libc::pthread_atfork,
    libc::atexit,
    libc::exit,
    libc::getenv,
    libc::malloc,
    libc::calloc,
    libc::realloc,
    libc::free,
}

macro_rules! macros {
    ($($refused:stmt,)*) => {
        fn _macros() {
            $({
                #[expect(clippy::disallowed_macros, reason = "a canary")]
                {
                    $refused
                }
            })*
        }
    };
}

macros! {
    std::print!("\n"),
    std::println!(),
    std::eprint!("\n"),
    std::eprintln!(),
    std::dbg!(()),
}

#[cfg(all(test, not(modelled)))]
mod tests {
    #[test]
    fn each_row_has_a_canary() {
        let rows = include_str!("../../../clippy.toml").lines();
        let mut paths = rows.filter_map(|row| row.trim().strip_prefix("{ path = \"")?.split_once('"')).peekable();
        assert!(paths.peek().is_some());
        for (path, _) in paths {
            let uses = |line: &str| {
                line.trim().strip_prefix(path).is_some_and(|rest| rest.starts_with([',', '<', ':', '(', '!']))
            };
            assert!(include_str!("canary.rs").lines().any(uses), "no canary for `{path}`");
        }
    }
}
