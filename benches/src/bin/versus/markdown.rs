//! The tables of `benches/README.md`: one for each group, a row for each metric, a column for each contestant.

use super::Row;
use super::table::short;
use crate::contestants;
use std::fmt::Write;

/// The tables, and who took part.
pub fn tables(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut groups: Vec<_> = rows.iter().map(|row| row.group).collect();
    groups.dedup();
    for group in groups {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group && !row.point).collect();
        let measured = |name: &&str| rows.iter().any(|row| row.contestant == *name && row.median.is_some());
        let contestants: Vec<_> = contestants::names().filter(measured).collect();
        text += &table(&rows, &contestants);
        text.push('\n');
    }
    let mut seen = Vec::new();
    for row in rows.iter().filter(|row| !row.version.is_empty()) {
        if !seen.contains(&row.contestant) {
            seen.push(row.contestant);
            _ = write!(text, "{}{} {}", if seen.len() > 1 { "; " } else { "" }, row.contestant, row.version);
        }
    }
    text.push('\n');
    text
}

fn table(rows: &[&Row], contestants: &[&str]) -> String {
    let mut text = format!(
        "| | {} | goal | reached |\n|---|{}---|---|\n",
        contestants.join(" | "),
        "---|".repeat(contestants.len())
    );
    for ours in rows.iter().filter(|row| row.contestant == "tricolor") {
        let better = if ours.more_is_better { ", more is better" } else { "" };
        _ = write!(text, "| {}: {}, {}{better} |", ours.workload, ours.metric, ours.unit);
        for contestant in contestants {
            let of =
                |row: &&&Row| (row.workload, row.metric, row.contestant) == (ours.workload, ours.metric, *contestant);
            let cell = rows.iter().find(of).and_then(|row| {
                Some(format!("{} ({}..{})", short(row.median?), short(*row.turns.first()?), short(*row.turns.last()?)))
            });
            _ = write!(text, " {} |", cell.unwrap_or_default());
        }
        _ = match &ours.goal {
            None => writeln!(text, " | |"),
            Some(goal) => {
                let sign = if ours.more_is_better { "≥" } else { "≤" };
                let over = goal.over.map_or(String::new(), |over| format!(" of {over}'s"));
                let reached = goal.reached.map_or("not measured".to_owned(), short);
                let mark = if goal.is_enough(ours.more_is_better) == Some(false) { "**" } else { "" };
                writeln!(text, " {sign} {}{over} | {mark}{reached}{mark} |", short(goal.wanted))
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reached;
    use crate::workloads::Group;

    fn row(contestant: &'static str, turns: [f64; 3], goal: Option<Reached>) -> Row {
        Row {
            workload: "stops",
            group: Group::Stops,
            metric: "p99",
            unit: "us",
            more_is_better: false,
            contestant,
            version: "1.0".to_owned(),
            turns: turns.to_vec(),
            median: Some(turns[1]),
            ratio: None,
            point: false,
            goal,
            without: None,
            failed: false,
        }
    }

    #[test]
    fn a_missed_goal_stands_out() {
        let goal = Reached { over: Some("go"), wanted: 0.5, reached: Some(0.75) };
        let text = tables(&[row("tricolor", [1.0, 3.0, 5.0], Some(goal)), row("go", [2.0, 4.0, 6.0], None)]);
        let expected = "| | tricolor | go | goal | reached |\n|---|---|---|---|---|\n\
                        | stops: p99, us | 3.00 (1.00..5.00) | 4.00 (2.00..6.00) | ≤ 0.50 of go's | **0.75** |\n\n\
                        tricolor 1.0; go 1.0\n";
        assert_eq!(text, expected);
    }
}
