//! The table that people read.

use super::Row;
use tricolor_benches::Figure;

/// Prints the rows, a workload after the other.
pub fn print(rows: &[Row]) {
    println!(
        "{:<14} {:<10} {:>10} {:>10} {:>10} {:>10}  {:>12}",
        "workload", "who", "median", "least", "most", "unit", "of Tricolor's"
    );
    for (i, row) in rows.iter().enumerate() {
        let name = if i > 0 && rows[i - 1].workload == row.workload { "" } else { row.workload };
        if row.turns.is_empty() {
            println!("{name:<14} {:<10} missing: {}", row.contestant, row.missing.as_deref().unwrap_or("?"));
            continue;
        }
        let (median, least, most) =
            (Figure::of(row.turns.clone()).median(), row.turns[0], row.turns[row.turns.len() - 1]);
        let ratio = row.ratio.map_or(String::new(), |r| format!("{r:.2}"));
        println!(
            "{name:<14} {:<10} {median:>10.0} {least:>10.0} {most:>10.0} {:>10}  {ratio:>12}",
            row.contestant, row.unit
        );
    }
    println!();
    let mut seen = Vec::new();
    for row in rows.iter().filter(|r| !r.version.is_empty()) {
        if !seen.contains(&row.contestant) {
            seen.push(row.contestant);
            println!("{} {}", row.contestant, row.version);
        }
    }
}
