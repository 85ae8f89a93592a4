//! Whole programs.

use crate::files;
use crate::index::Index;
use std::time::Instant;
use tricolor_bench_program::{Ask, tell};

/// The example `word_index`, over the folder that the program runs in; all indexes but the last are garbage.
pub fn word_index(ask: &Ask) {
    let rounds = ask.size(4);
    let begin = Instant::now();
    for _ in 1..rounds {
        tricolor::spawn(|| _ = files::index_all(Index::new(), &[], false)).join().unwrap();
    }
    let index = Index::new();
    let files = files::index_all(index, &[], false).files;
    tell("wall", begin.elapsed().as_secs_f64() * 1e3 / rounds as f64);
    let (mut words, mut distinct, mut places, mut sum) = (0, 0_u64, 0_u64, 0_u64);
    index.each(|node, _| {
        words += node.count();
        distinct += 1;
        for at in node.chunks().flat_map(|chunk| chunk.positions.iter().collect::<Vec<_>>()) {
            places += 1;
            sum = sum.wrapping_add(at);
        }
    });
    assert_eq!(words, places, "words counted, and places kept");
    println!("result {files} files, {words} words, {distinct} of them distinct, sum of their places {sum}");
}
