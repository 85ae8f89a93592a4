//! The table that people read.

use super::Row;

/// A number with about three digits that mean something.
pub fn short(x: f64) -> String {
    match x.abs() {
        x if x >= 100.0 => {
            let digits = format!("{x:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|g| String::from_utf8_lossy(g)).collect();
            groups.join(",")
        }
        x if x >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

/// Prints the rows, a metric after the other.
pub fn print(rows: &[Row]) {
    println!(
        "{:<14} {:<22} {:<9} {:>10} {:>10} {:>10}  {:>13}",
        "workload", "metric", "who", "median", "least", "most", "of Tricolor's"
    );
    for (i, row) in rows.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| &rows[i]);
        let same_workload = before.is_some_and(|b| b.workload == row.workload);
        let same_metric = same_workload && before.is_some_and(|b| b.metric == row.metric);
        let workload = if same_workload { "" } else { row.workload };
        let metric = match row.more_is_better {
            _ if same_metric => String::new(),
            true => format!("{} {}, more", row.metric, row.unit),
            false => format!("{} {}", row.metric, row.unit),
        };
        print!("{workload:<14} {metric:<22} {:<9}", row.contestant);
        let Some(median) = row.median else {
            let why = row.without.as_deref().unwrap_or("?");
            // In full once: for its first metric, or below for all workloads.
            let first = !rows[..i].iter().any(|r| (r.workload, r.contestant) == (row.workload, row.contestant));
            let (word, _) = why.split_once(':').unwrap_or((why, ""));
            println!(" {}", if first && word != "missing" { why } else { word });
            continue;
        };
        let (least, most) = (row.turns[0], row.turns[row.turns.len() - 1]);
        let ratio = row.ratio.map_or(String::new(), |r| format!("{r:.2}"));
        println!(" {:>10} {:>10} {:>10}  {ratio:>13}", short(median), short(least), short(most));
    }
    println!();
    let mut seen = Vec::new();
    for row in rows {
        if !seen.contains(&row.contestant) {
            seen.push(row.contestant);
            let missing = row.without.as_deref().filter(|why| why.starts_with("missing"));
            println!("{} {}", row.contestant, missing.unwrap_or(&row.version));
        }
    }
}
