//! The whole index as text, for tests: a line `word<TAB>path:position,position;path:position...` per word, sorted.

use crate::index::{Index, Node};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use tricolor::{Gc, Root, blocking, poll};

/// Writes the index to a file.
pub fn dump(index: Gc<Index>, path: PathBuf) -> io::Result<()> {
    // The collector does not look into a `Vec`: what is kept there must be a `Root`.
    let mut nodes = Vec::new();
    index.each(|node, _| nodes.push(Root::new(node)));
    nodes.sort_by(|a, b| (*a.get().word).cmp(&b.get().word));
    let mut out = blocking(path, File::create)?;
    for node in nodes {
        // The file goes into the call and comes back from it.
        out = blocking((out, line(node.get())), |(mut out, line)| out.write_all(line.as_bytes()).map(|()| out))?;
    }
    Ok(())
}

fn line(node: Gc<Node>) -> String {
    let mut files: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for chunk in node.chunks() {
        files.entry(chunk.file.to_string()).or_default().extend(chunk.positions.iter());
        poll();
    }
    let places = files.into_iter().map(|(path, mut positions)| {
        positions.sort_unstable();
        let positions: Vec<String> = positions.iter().map(u64::to_string).collect();
        format!("{path}:{}", positions.join(","))
    });
    format!("{}\t{}\n", node.word, places.collect::<Vec<_>>().join(";"))
}
