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
    let rows: Vec<&Row> = rows.iter().filter(|row| !row.point).collect();
    println!(
        "{:<14} {:<22} {:<9} {:>10} {:>10} {:>10}  {:>13}",
        "workload", "metric", "who", "median", "least", "most", "of Tricolor's"
    );
    for (i, row) in rows.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| rows[i]);
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
    for row in &rows {
        if !seen.contains(&row.contestant) {
            seen.push(row.contestant);
            let missing = row.without.as_deref().filter(|why| why.starts_with("missing"));
            println!("{} {}", row.contestant, missing.unwrap_or(&row.version));
        }
    }
}

/// Prints what Tricolor's figures should come to, and what they did.
pub fn print_goals(rows: &[Row]) {
    let goals: Vec<_> = rows.iter().filter_map(|row| row.goal.as_ref().map(|goal| (row, goal))).collect();
    if goals.is_empty() {
        return;
    }
    println!("\n{:<14} {:<12} {:<9} {:>10} {:>10}", "goals", "", "over", "wanted", "reached");
    for (row, goal) in goals {
        let sign = if row.more_is_better { ">=" } else { "<=" };
        let wanted = format!("{sign} {}", short(goal.wanted));
        let reached = goal.reached.map_or("?".to_owned(), short);
        let verdict = match goal.is_enough(row.more_is_better) {
            Some(true) => "",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let over = goal.over.unwrap_or(row.unit);
        println!("{:<14} {:<12} {over:<9} {wanted:>10} {reached:>10}  {verdict}", row.workload, row.metric);
    }
}

#[cfg(test)]
mod tests {
    use crate::Reached;

    #[test]
    fn a_goal_is_reached_missed_or_not_measured() {
        let goal = |reached| Reached { over: Some("go"), wanted: 0.5, reached };
        for (reached, less, more) in
            [(Some(0.4), Some(true), Some(false)), (Some(0.6), Some(false), Some(true)), (None, None, None)]
        {
            assert_eq!((goal(reached).is_enough(false), goal(reached).is_enough(true)), (less, more));
        }
    }
}
