//! `cargo run --release -p tricolor-benches --bin mark_rate`: how fast the collector marks, on four heap shapes
//! (`benches/src/mark.rs`).

use std::process::ExitCode;
use tricolor_benches::mark::{self, Shape};

const USAGE: &str = "usage: mark_rate [--scale N] [--rounds N] [--huge-pages] [SHAPE…]
  --scale N     heaps of an Nth of the full size (default 1)
  --rounds N    cycles measured for each shape (default 9)
  --huge-pages  the heap on huge pages
  SHAPE         graph, tree, ordered, shuffled (default: all; a single one prints its row only)";

fn measure(shape: Shape, options: &Options) {
    let marked = mark::rate(shape, options.scale, options.rounds, options.huge_pages);
    println!("{:<10} {:>8.0} {:>10.2} {}", shape.name(), marked.mib, marked.objects as f64 / 1e6, marked.figure);
}

struct Options {
    scale: usize,
    rounds: usize,
    huge_pages: bool,
    shapes: Vec<Shape>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { scale: 1, rounds: 9, huge_pages: false, shapes: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || match args.next().map(|n| n.parse()) {
            Some(Ok(n)) if n > 0 => Ok(n),
            _ => Err(format!("{arg} takes a number, 1 or more")),
        };
        match arg.as_str() {
            "--scale" => options.scale = number()?,
            "--rounds" => options.rounds = number()?,
            "--huge-pages" => options.huge_pages = true,
            name => match Shape::named(name) {
                Some(shape) => options.shapes.push(shape),
                None => return Err(format!("no shape or option is called `{arg}`")),
            },
        }
    }
    if options.shapes.is_empty() {
        options.shapes = Shape::ALL.to_vec();
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("mark_rate: {e}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let [shape] = &options.shapes[..] {
        measure(*shape, &options);
        return ExitCode::SUCCESS;
    }
    println!("{:<10} {:>8} {:>10} {:>32}", "", "MiB", "million", "MiB per CPU second");
    println!("{:<10} {:>8} {:>10} {:>10} {:>10} {:>10}", "shape", "marked", "objects", "median", "min", "max");
    for shape in &options.shapes {
        // A heap lives as long as its process: one process for each shape.
        let mut row = std::process::Command::new(std::env::current_exe().expect("the path of this program"));
        row.args(["--scale", &options.scale.to_string(), "--rounds", &options.rounds.to_string(), shape.name()]);
        if options.huge_pages {
            row.arg("--huge-pages");
        }
        if !row.status().is_ok_and(|s| s.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
