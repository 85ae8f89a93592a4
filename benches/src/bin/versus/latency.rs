//! The latency plot: a panel for each workload that tells quantiles, a line for each contestant.
//!
//! From left to right each quantile leaves a tenth of what the one before leaves (the last is the longest of all); a
//! point is the median of the turns, the thin line through it their spread. Both axes are as good as logarithmic, so that
//! a line that stays flat to the right is a contestant without a tail.

use super::Row;
use super::plot::{FONT, Picture, Wrong, color, name_series, save};
use crate::contestants;
use crate::table::short;
use crate::workloads::{QUANTILES, WORKLOADS};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::{Path, PathBuf};

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 340;

/// A quantile: its place in [`QUANTILES`]; the least, the median and the most of the turns, in microseconds.
struct Point {
    place: usize,
    least: f64,
    median: f64,
    most: f64,
}

struct Panel {
    workload: &'static str,
    what: &'static str,
    lines: Vec<(&'static str, Vec<Point>)>,
}

fn panels(rows: &[Row]) -> Vec<Panel> {
    let of = |workload: &str, contestant: &str| -> Vec<Point> {
        let quantile = |place: usize| {
            let here = |r: &&Row| (r.workload, r.contestant, r.metric) == (workload, contestant, QUANTILES[place]);
            let row = rows.iter().find(here)?;
            // Nothing is at no time at all on a logarithmic axis.
            let at = |x: f64| x.max(1e-3);
            let (least, most) = (at(*row.turns.first()?), at(*row.turns.last()?));
            Some(Point { place, least, median: at(row.median?), most })
        };
        (0..QUANTILES.len()).filter_map(quantile).collect()
    };
    let panel = |w: &'static crate::workloads::Workload| {
        let mut lines: Vec<_> = contestants::names().map(|c| (c, of(w.name, c))).collect();
        // A figure or two make no line.
        lines.retain(|(_, points)| points.len() > 2);
        (!lines.is_empty()).then_some(Panel { workload: w.name, what: w.what, lines })
    };
    WORKLOADS.iter().filter_map(panel).collect()
}

/// Writes `versus-latency` into the folder, if there is something to show; the paths.
///
/// # Errors
/// If that is not possible.
pub fn write(rows: &[Row], folder: &Path) -> Result<Vec<PathBuf>, Wrong> {
    let panels = Panels(panels(rows));
    match panels.0.len() {
        0 => Ok(Vec::new()),
        _ => save(&panels, folder, "versus-latency").map(Vec::from),
    }
}

struct Panels(Vec<Panel>);

impl Picture for Panels {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT * self.0.len() as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Wrong>
    where
        B::ErrorType: 'static,
    {
        area.fill(&WHITE)?;
        for (panel, area) in self.0.iter().zip(area.split_evenly((self.0.len(), 1))) {
            panel.draw(&area)?;
        }
        Ok(())
    }
}

/// Microseconds, on a logarithmic axis: between its powers of ten only what has room.
fn time(us: f64) -> String {
    let digit = us / 10_f64.powf(us.log10().floor());
    if ![1.0, 2.0, 5.0, 10.0].iter().any(|known| (digit - known).abs() < 0.01) {
        return String::new();
    }
    match us {
        ..0.999 => format!("{:.0} ns", us * 1e3),
        ..999.0 => format!("{us:.0} us"),
        ..999e3 => format!("{:.0} ms", us / 1e3),
        _ => format!("{} s", short(us / 1e6)),
    }
}

impl Panel {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Wrong>
    where
        B::ErrorType: 'static,
    {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let least = points().fold(f64::INFINITY, |least, p| least.min(p.least)) / 2.0;
        let most = points().fold(0.0_f64, |most, p| most.max(p.most)) * 2.0;
        // Room for the legend on the right.
        let end = QUANTILES.len() as f64 - 0.2;
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{}: {}", self.workload, self.what), ("sans-serif", 15))
            .margin(12)
            .set_label_area_size(LabelAreaPosition::Left, 70)
            .set_label_area_size(LabelAreaPosition::Bottom, 30)
            .build_cartesian_2d(-0.3..end, (least..most).log_scale())?;
        chart
            .configure_mesh()
            .x_labels(QUANTILES.len())
            .x_max_light_lines(1)
            .y_max_light_lines(1)
            .x_label_formatter(&|x| match QUANTILES.get(x.round() as usize) {
                Some(name) if (x - x.round()).abs() < 0.01 => (*name).to_owned(),
                _ => String::new(),
            })
            .y_label_formatter(&|us| time(*us))
            .label_style(FONT)
            .draw()?;
        for (i, (contestant, points)) in self.lines.iter().enumerate() {
            let color = color(contestant);
            // Beside each other, so that spreads do not cover each other.
            let x = |p: &Point| p.place as f64 + (i as f64 - (self.lines.len() as f64 - 1.0) / 2.0) * 0.04;
            let line: Vec<_> = points.iter().map(|p| (x(p), p.median)).collect();
            chart
                .draw_series([PathElement::new(line.clone(), color.stroke_width(2))])?
                .label(*contestant)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
            chart.draw_series(line.into_iter().map(|at| Circle::new(at, 4, color.filled())))?;
            chart.draw_series(points.iter().map(|p| PathElement::new([(x(p), p.least), (x(p), p.most)], color)))?;
        }
        name_series(&mut chart, SeriesLabelPosition::LowerRight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::Group;

    fn row(metric: &'static str, turns: &[f64]) -> Row {
        Row {
            workload: "stops",
            group: Group::Stops,
            metric,
            unit: "us",
            more_is_better: false,
            contestant: "go",
            version: String::new(),
            turns: turns.to_vec(),
            median: turns.get(turns.len() / 2).copied(),
            ratio: None,
            point: true,
            goal: None,
            without: None,
            failed: false,
        }
    }

    #[test]
    fn an_axis_says_what_has_room() {
        let said = [0.2, 1.0, 3.0, 50.0, 99_999.999_999, 2e6].map(time);
        assert_eq!(said, ["200 ns", "1 us", "", "50 us", "100 ms", "2.00 s"]);
    }

    #[test]
    fn quantiles_become_lines_in_their_order() {
        let folder = std::env::temp_dir().join(format!("versus-latency-{}", std::process::id()));
        let mut rows = vec![row("worst", &[30.0, 40.0]), row("median", &[0.0, 2.0])];
        assert!(write(&rows, &folder).unwrap().is_empty(), "two points are no line");
        rows.push(row("p99", &[5.0, 6.0]));
        rows.push(row("p90", &[]));
        let panels = panels(&rows);
        let [Panel { workload: "stops", lines, .. }] = &panels[..] else { panic!("one panel") };
        let [("go", points)] = &lines[..] else { panic!("one line") };
        let medians: Vec<_> = points.iter().map(|p| (p.place, p.median)).collect();
        assert_eq!(medians, [(0, 2.0), (2, 6.0), (5, 40.0)]);
        let paths = write(&rows, &folder).unwrap();
        assert!(std::fs::read_to_string(&paths[0]).unwrap().contains("p99"));
        assert!(std::fs::read(&paths[1]).unwrap().starts_with(b"\x89PNG"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
