//! The kinds of workers.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a worker does, and compares.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[repr(u32)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All of them, by name, in their order.
            pub const ALL: &[(&str, Kind)] = &[$(($text, Kind::$name)),*];

            /// Those that do wrong on purpose, so that the watcher can be seen at work.
            pub const PLANTED: &[Kind] = &[Kind::Hang, Kind::Crash, Kind::Wrong, Kind::Panic, Kind::Exit];

            /// A name of one word.
            pub fn name(self) -> &'static str {
                Kind::ALL[self as usize].0
            }
        }
    };
}

kinds! {
    /// The goroutine that begins and ends phases.
    Main = "main",
    /// Computes without a call. The answer is known.
    Loop = "loop",
    /// Kernels of `injection`: much of a thread's state is alive at any instruction. Their answers are known.
    Kernel = "kernel",
    /// A pointer is in a register alone, general or vector, while others collect.
    Registers = "registers",
    /// Reads the clock, and notes when that took long.
    Hiccup = "hiccup",
    /// Keeps lists in the heap, and turns them round. Each word is known.
    Alloc = "alloc",
    /// Large arrays of pointers, moved in bulk.
    Arrays = "arrays",
    /// A sender and a receiver. Number, order and content of the values are known.
    Channel = "channel",
    /// Two goroutines of which one waits at any time.
    PingPong = "pingpong",
    /// Several senders, several receivers. Number and sum of the values are known.
    Crowd = "crowd",
    /// Several senders and a receiver that select from the same channels. Number, order and content of the values are known.
    Select = "select",
    /// A mutex around two numbers that should be equal; a wait group.
    Locks = "locks",
    /// Blocking calls, short and long. Their results are known.
    Block = "block",
    /// Reads of a pipe, in blocking calls. The bytes are known.
    Pipe = "pipe",
    /// Threads are made in blocking calls.
    Threads = "threads",
    /// Goroutines that are locked to their threads: these stay the same.
    Locked = "locked",
    /// Bytes over a socket and back; a read with a time limit ends no earlier.
    Net = "net",
    /// No timer fires early.
    Timer = "timer",
    /// Goroutines are born, go deep, panic, and are joined. Their results are known.
    Churn = "churn",
    /// Weak pointers, cleanups, roots that are set. What they hold is known.
    Afterlife = "afterlife",
    /// Objects move between the stack and other places while marking begins and goes on: each is known to be alive.
    Moves = "moves",
    /// Messages that come through a channel just when the time for them is over: each arrives once.
    Limits = "limits",
    /// The same through a socket.
    Deadlines = "deadlines",
    /// Several goroutines read from one socket, each a message.
    Readers = "readers",
    /// Reads of sockets into which nothing comes: each ends, by its time limit or because somebody closes it.
    Silence = "silence",
    /// Short sleeps, while nothing else happens: none lasts long.
    Naps = "naps",
    /// More goroutines than Ps, none of which goes on before all have run.
    Fair = "fair",
    /// Looks for leaked goroutines: none of those that can still be woken is one.
    Leaks = "leaks",
    /// Goroutines that stop the world once, and are joined.
    Once = "once",
    /// More goroutines at once than a run queue holds: each runs once.
    Brood = "brood",
    /// Stops the world: nobody runs meanwhile.
    Stopper = "stopper",
    /// A function for every P: runs once on each.
    EachP = "each-p",
    /// Changes the number of Ps.
    Procs = "procs",
    /// Collects, counts objects, reads statistics.
    Collect = "collect",
    /// Random heaps against an oracle.
    Oracle = "oracle",
    /// Planted: waits for ever.
    Hang = "hang",
    /// Planted: reads where nothing is mapped.
    Crash = "crash",
    /// Planted: finds a wrong answer.
    Wrong = "wrong",
    /// Planted: panics.
    Panic = "panic",
    /// Planted: ends the process with status 0.
    Exit = "exit",
}
