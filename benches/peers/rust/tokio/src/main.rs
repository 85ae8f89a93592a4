//! tokio's side of `cargo versus`, on its threaded runtime: tasks without stacks, which yield at `await` only.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tricolor_bench_program::{Ask, Memory, none, tell, tell_address, wait_for_end_of_input};

fn main() {
    let ask = Ask::from_args();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(ask.procs).enable_all().build().expect("a runtime");
    // On a worker, as the tasks that it talks to; `block_on` would be a thread more.
    runtime.block_on(async { tokio::spawn(workload(ask)).await.expect("a task that does not panic") });
    runtime.shutdown_background();
}

async fn workload(ask: Ask) {
    match ask.workload.as_str() {
        "echo" => echo().await,
        "spawn-join" => time(ask.size(1_000_000), spawn_join).await,
        "yield-2" => time(ask.size(4_000_000), |n| yields(n, 2)).await,
        "yield-1000" => time(ask.size(4_000_000), |n| yields(n, 1000)).await,
        "ping-pong" => time(ask.size(500_000), ping_pong).await,
        "buffered" => time(ask.size(4_000_000), buffered).await,
        "select" => time(ask.size(1_000_000), select).await,
        "mutex" => time(ask.size(4_000_000), mutex).await,
        "skynet" => skynet(&ask).await,
        "parked" => parked(ask.size(1_000_000)).await,
        "read-byte" => none("tasks do not block; another thread would"),
        _ => ask.unknown(),
    }
}

/// As `tricolor_bench_program::tell_time`.
async fn time<F: Future<Output = ()>>(n: u64, f: impl Fn(u64) -> F) {
    f((n / 8).max(1)).await;
    let begin = Instant::now();
    f(n).await;
    tell("time", begin.elapsed().as_nanos() as f64 / n as f64);
}

async fn echo() {
    // The backlog is 1024.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    tell_address(&listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream));
        }
    });
    tokio::task::spawn_blocking(wait_for_end_of_input).await.expect("standard input");
}

async fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("no delay");
    let mut buffer = [0_u8; 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
}

async fn spawn_join(n: u64) {
    for i in 0..n {
        assert_eq!(tokio::spawn(async move { i }).await.unwrap(), i);
    }
}

async fn yields(n: u64, tasks: u64) {
    let each = n.div_ceil(tasks);
    let task = || async move {
        for _ in 0..each {
            tokio::task::yield_now().await;
        }
    };
    let all: Vec<_> = (0..tasks).map(|_| tokio::spawn(task())).collect();
    for task in all {
        task.await.unwrap();
    }
}

/// There is no channel without a buffer: one with room for one.
async fn ping_pong(n: u64) {
    let (ping, mut pinged) = mpsc::channel(1);
    let (pong, mut ponged) = mpsc::channel(1);
    let other = tokio::spawn(async move {
        while let Some(i) = pinged.recv().await {
            pong.send(i + 1).await.unwrap();
        }
    });
    for i in 0..n {
        ping.send(i).await.unwrap();
        assert_eq!(ponged.recv().await, Some(i + 1));
    }
    drop(ping);
    other.await.unwrap();
}

async fn buffered(n: u64) {
    let (tx, mut rx) = mpsc::channel(64);
    let sender = tokio::spawn(async move {
        for i in 0..n {
            tx.send(i).await.unwrap();
        }
    });
    let mut sum = 0;
    while let Some(i) = rx.recv().await {
        sum += i;
    }
    assert_eq!(sum, n * (n - 1) / 2);
    sender.await.unwrap();
}

/// Room for one, as in `ping_pong`.
async fn select(n: u64) {
    let each = n.div_ceil(4);
    let channel = || {
        let (tx, rx) = mpsc::channel::<u64>(1);
        tokio::spawn(async move {
            for _ in 0..each {
                tx.send(1).await.unwrap();
            }
        });
        rx
    };
    let (mut a, mut b, mut c, mut d) = (channel(), channel(), channel(), channel());
    let mut sum = 0;
    for _ in 0..4 * each {
        sum += tokio::select! {
            Some(i) = a.recv() => i,
            Some(i) = b.recv() => i,
            Some(i) = c.recv() => i,
            Some(i) = d.recv() => i,
        };
    }
    assert_eq!(sum, 4 * each);
}

async fn mutex(n: u64) {
    let (count, each) = (Arc::new(Mutex::new(0)), n.div_ceil(8));
    let task = || {
        let count = count.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                *count.lock().await += 1;
            }
        })
    };
    let all: Vec<_> = (0..8).map(|_| task()).collect();
    for task in all {
        task.await.unwrap();
    }
    assert_eq!(*count.lock().await, 8 * each);
}

/// Room for one, as in `ping_pong`.
async fn skynet(ask: &Ask) {
    /// A boxed future, as its type would contain itself.
    fn node(up: mpsc::Sender<u64>, first: u64, leaves: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if leaves == 1 {
                return up.send(first).await.unwrap();
            }
            let (tx, mut rx) = mpsc::channel(1);
            for i in 0..10 {
                tokio::spawn(node(tx.clone(), first + i * leaves / 10, leaves / 10));
            }
            let mut sum = 0;
            for _ in 0..10 {
                sum += rx.recv().await.unwrap();
            }
            up.send(sum).await.unwrap();
        })
    }
    let leaves = 10_u64.pow(6 - ask.scale.ilog10().min(5));
    let begin = Instant::now();
    let (tx, mut rx) = mpsc::channel(1);
    tokio::spawn(node(tx, 0, leaves));
    assert_eq!(rx.recv().await.unwrap(), leaves * (leaves - 1) / 2);
    tell("wall", begin.elapsed().as_secs_f64() * 1e3);
}

/// Channels have one receiver, except `watch`, which all wait for.
async fn parked(n: u64) {
    let bare = Memory::now();
    let begin = Instant::now();
    let (wake, sleeps) = watch::channel(());
    let (up, mut ready) = mpsc::channel(64);
    let (done, mut all_done) = mpsc::channel::<()>(1);
    for _ in 0..n {
        let (mut sleeps, up, done) = (sleeps.clone(), up.clone(), done.clone());
        tokio::spawn(async move {
            up.send(()).await.unwrap();
            assert!(sleeps.changed().await.is_err());
            drop(done);
        });
    }
    for _ in 0..n {
        ready.recv().await.unwrap();
    }
    tell("time", begin.elapsed().as_nanos() as f64 / n as f64);
    let now = Memory::now();
    tell("memory", ((now.resident + now.tables) - (bare.resident + bare.tables)) as f64 / n as f64);
    drop((wake, done));
    assert!(all_done.recv().await.is_none());
}
