//! A bar chart for each group of workloads, as SVG and as PNG.
//!
//! A row is a metric of a workload; its bars say by what factor each peer is slower (or larger) than Tricolor, on a
//! logarithmic scale: bars to the left of the line are peers that do better. The thin line is the spread of the turns.

use super::Row;
use super::table::short;
use crate::contestants;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::path::{Path, PathBuf};

const WIDTH: u32 = 1000;
const BAR: u32 = 14;
/// Above and below the rows.
const MARGINS: u32 = 80;
pub const FONT: (&str, u32) = ("sans-serif", 13);

/// What went wrong while drawing.
pub type Wrong = Box<dyn Error>;

/// Something that can be drawn into a file.
pub trait Picture {
    /// Width and height, in pixels.
    fn size(&self) -> (u32, u32);

    /// # Errors
    /// If it cannot be drawn.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Wrong>
    where
        B::ErrorType: 'static;
}

/// Draws it as `NAME.svg` and `NAME.png`; the paths.
///
/// # Errors
/// If that is not possible.
pub fn save(picture: &impl Picture, folder: &Path, name: &str) -> Result<[PathBuf; 2], Wrong> {
    std::fs::create_dir_all(folder)?;
    _ = register_font(FONT.0, FontStyle::Normal, dejavu::sans::regular());
    let paths = ["svg", "png"].map(|kind| folder.join(format!("{name}.{kind}")));
    {
        let svg = SVGBackend::new(&paths[0], picture.size()).into_drawing_area();
        picture.draw(&svg)?;
        svg.present()?;
        let png = BitMapBackend::new(&paths[1], picture.size()).into_drawing_area();
        picture.draw(&png)?;
        png.present()?;
    }
    Ok(paths)
}

/// The colour of a contestant, the same in all pictures.
pub fn color(contestant: &str) -> RGBColor {
    const COLORS: [RGBColor; 8] = [
        RGBColor(0x1b, 0x1f, 0x24),
        RGBColor(0x1f, 0x77, 0xb4),
        RGBColor(0xd9, 0x5f, 0x02),
        RGBColor(0x2c, 0xa0, 0x2c),
        RGBColor(0x8c, 0x8c, 0x8c),
        RGBColor(0xc7, 0x2e, 0x6b),
        RGBColor(0x8a, 0x3f, 0xb0),
        RGBColor(0x17, 0xa2, 0xa8),
    ];
    COLORS[contestants::names().position(|name| name == contestant).unwrap_or(0) % COLORS.len()]
}

/// Says in a corner of the chart what its series are called.
///
/// # Errors
/// If it cannot be drawn.
pub fn name_series<'a, B: DrawingBackend + 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, B, C>,
    corner: SeriesLabelPosition,
) -> Result<(), Wrong>
where
    B::ErrorType: 'static,
{
    chart
        .configure_series_labels()
        .position(corner)
        .legend_area_size(24)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK)
        .label_font(FONT)
        .draw()?;
    Ok(())
}

/// One bar.
struct Bar<'a> {
    contestant: &'a str,
    factor: f64,
    least: f64,
    most: f64,
}

/// What stands beside each other.
struct Line<'a> {
    name: String,
    bars: Vec<Bar<'a>>,
}

fn lines<'a>(rows: &[&'a Row]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line> = Vec::new();
    let ours = |row: &Row| {
        rows.iter().find(|r| (r.workload, r.metric, r.contestant) == (row.workload, row.metric, "tricolor"))?.median
    };
    for row in rows.iter().filter(|r| r.contestant != "tricolor" && !r.point) {
        let (Some(median), Some(ours)) = (row.median, ours(row)) else { continue };
        let factor = |value: f64| if row.more_is_better { ours / value } else { value / ours };
        let name = format!("{}: {} ({} {})", row.workload, row.metric, short(ours), row.unit);
        if lines.last().is_none_or(|line| line.name != name) {
            lines.push(Line { name, bars: Vec::new() });
        }
        let (a, b) = (factor(row.turns[0]), factor(row.turns[row.turns.len() - 1]));
        let bar = Bar { contestant: row.contestant, factor: factor(median), least: a.min(b), most: a.max(b) };
        lines.last_mut().expect("a line").bars.push(bar);
    }
    // A peer that did something in no time at all has no place on a logarithmic scale.
    lines.iter_mut().for_each(|line| line.bars.retain(|bar| bar.least > 0.0 && bar.most.is_finite()));
    lines
}

/// Writes `versus-GROUP` into the folder for each group that has figures of a peer; the paths.
///
/// # Errors
/// If that is not possible.
pub fn write(rows: &[Row], folder: &Path) -> Result<Vec<PathBuf>, Wrong> {
    let mut written = Vec::new();
    let mut groups: Vec<_> = rows.iter().map(|row| row.group).collect();
    groups.dedup();
    for group in groups {
        let mut lines = lines(&rows.iter().filter(|row| row.group == group).collect::<Vec<_>>());
        lines.retain(|line| !line.bars.is_empty());
        if !lines.is_empty() {
            let group = format!("{group:?}").to_lowercase();
            let name = format!("versus-{group}");
            written.extend(save(&Bars { group, lines }, folder, &name)?);
        }
    }
    Ok(written)
}

struct Bars<'a> {
    group: String,
    lines: Vec<Line<'a>>,
}

impl Bars<'_> {
    /// In the order in which they are named everywhere.
    fn contestants(&self) -> Vec<&'static str> {
        let here = |name: &&str| self.lines.iter().flat_map(|line| &line.bars).any(|bar| bar.contestant == *name);
        contestants::names().filter(here).collect()
    }

    /// Each line has room for its bars and one more; above them all stands the legend.
    fn slots(&self) -> (u32, u32) {
        (self.lines.iter().map(|line| line.bars.len() as u32 + 1).sum(), 2 * self.contestants().len() as u32)
    }
}

impl Picture for Bars<'_> {
    fn size(&self) -> (u32, u32) {
        let (slots, legend) = self.slots();
        (WIDTH, (slots + legend) * BAR + MARGINS)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Wrong>
    where
        B::ErrorType: 'static,
    {
        let (slots, legend) = self.slots();
        let lines = &self.lines;
        area.fill(&WHITE)?;
        let bars = || lines.iter().flat_map(|line| &line.bars);
        let (least, most) =
            bars().fold((0.5_f64, 2.0_f64), |(least, most), bar| (least.min(bar.least), most.max(bar.most)));
        let caption = format!("{}: how many times Tricolor's time or memory (left of 1: less)", self.group);
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 16))
            .margin(12)
            .set_label_area_size(LabelAreaPosition::Left, 330)
            .set_label_area_size(LabelAreaPosition::Bottom, 30)
            .build_cartesian_2d((least / 1.2..most * 1.2).log_scale(), f64::from(slots)..-f64::from(legend))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_max_light_lines(1)
            .y_labels(0)
            .x_label_formatter(&|x| format!("{x}"))
            .label_style(FONT)
            .draw()?;
        let (left, _) = chart.plotting_area().get_pixel_range();
        let label = FONT.into_font().color(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
        for contestant in self.contestants() {
            let color = color(contestant);
            let (mut top, mut rectangles, mut spreads) = (0.5, Vec::new(), Vec::new());
            for line in lines {
                for (j, bar) in line.bars.iter().enumerate().filter(|(_, bar)| bar.contestant == contestant) {
                    let y = top + j as f64;
                    rectangles.push(Rectangle::new([(1.0, y + 0.1), (bar.factor, y + 0.9)], color.filled()));
                    spreads.push(PathElement::new([(bar.least, y + 0.5), (bar.most, y + 0.5)], BLACK));
                }
                top += line.bars.len() as f64 + 1.0;
            }
            chart
                .draw_series(rectangles)?
                .label(contestant)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
            chart.draw_series(spreads)?;
        }
        let axis = [(1.0, -f64::from(legend)), (1.0, f64::from(slots))];
        chart.draw_series([PathElement::new(axis, BLACK.stroke_width(2))])?;
        let mut top = 0.5;
        for line in lines {
            let (_, y) = chart.backend_coord(&(1.0, top + line.bars.len() as f64 / 2.0));
            area.draw_text(&line.name, &label, (left.start - 8, y))?;
            top += line.bars.len() as f64 + 1.0;
        }
        name_series(&mut chart, SeriesLabelPosition::UpperRight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::Group;

    fn row(contestant: &'static str, more_is_better: bool, turns: [f64; 3]) -> Row {
        Row {
            workload: "echo",
            group: Group::Net,
            metric: "requests",
            unit: "1/s",
            more_is_better,
            contestant,
            version: String::new(),
            turns: turns.to_vec(),
            median: Some(turns[1]),
            ratio: None,
            point: false,
            goal: None,
            without: None,
            failed: false,
        }
    }

    #[test]
    fn bars_to_the_left_do_better() {
        for (more_is_better, factor, least, most) in [(false, 0.5, 0.25, 2.0), (true, 2.0, 0.5, 4.0)] {
            let rows = [row("tricolor", more_is_better, [3.0, 4.0, 5.0]), row("go", more_is_better, [1.0, 2.0, 8.0])];
            let lines = lines(&rows.iter().collect::<Vec<_>>());
            let [Line { bars, .. }] = &lines[..] else { panic!("one line") };
            assert_eq!(bars.len(), 1);
            assert_eq!((bars[0].factor, bars[0].least, bars[0].most), (factor, least, most));
        }
    }

    #[test]
    fn a_chart_is_written_for_a_group_with_peers() {
        let folder = std::env::temp_dir().join(format!("versus-plot-{}", std::process::id()));
        let rows = [row("tricolor", true, [3.0, 4.0, 5.0]), row("go", true, [1.0, 2.0, 8.0])];
        assert!(write(&rows[..1], &folder).unwrap().is_empty());
        let paths = write(&rows, &folder).unwrap();
        assert_eq!(paths, [folder.join("versus-net.svg"), folder.join("versus-net.png")]);
        assert!(std::fs::read(&paths[1]).unwrap().starts_with(b"\x89PNG"));
        let svg = std::fs::read_to_string(&paths[0]).unwrap();
        assert!(svg.contains("echo: requests (4.00 1/s)") && svg.trim_end().ends_with("</svg>"), "{svg}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
