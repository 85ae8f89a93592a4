//! Charts: lines over time, and histograms of times. Each is drawn in several [`Look`]s: a page shows the one that suits its
//! reader's screen and the hour of the day.

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::error::Error;
use std::sync::Once;

/// What went wrong while drawing.
pub type Wrong = Box<dyn Error>;

/// Colours and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// On a dark ground.
    pub dark: bool,
    /// For the width of a phone.
    pub narrow: bool,
}

impl Look {
    /// For paper, and for files.
    pub const PAPER: Look = Look { dark: false, narrow: false };
    /// All that a page needs.
    pub const ALL: [Look; 4] = [
        Look::PAPER,
        Look { dark: true, narrow: false },
        Look { dark: false, narrow: true },
        Look { dark: true, narrow: true },
    ];

    /// Its class in a page.
    pub fn class(self) -> &'static str {
        match (self.dark, self.narrow) {
            (false, false) => "light wide",
            (true, false) => "dark wide",
            (false, true) => "light narrow",
            (true, true) => "dark narrow",
        }
    }

    fn size(self) -> (u32, u32) {
        if self.narrow { (360, 250) } else { (960, 300) }
    }

    fn ground(self) -> RGBColor {
        if self.dark { RGBColor(0x16, 0x1a, 0x20) } else { WHITE }
    }

    fn ink(self) -> RGBColor {
        if self.dark { RGBColor(0xd8, 0xde, 0xe6) } else { RGBColor(0x24, 0x29, 0x30) }
    }

    fn grid(self) -> RGBColor {
        if self.dark { RGBColor(0x33, 0x3a, 0x44) } else { RGBColor(0xdf, 0xe3, 0xe8) }
    }

    /// The colour of the `i`th line.
    fn pen(self, i: usize) -> RGBColor {
        const LIGHT: [RGBColor; 5] = [
            RGBColor(0x1f, 0x5f, 0xbf),
            RGBColor(0xb8, 0x4a, 0x00),
            RGBColor(0x1a, 0x7f, 0x37),
            RGBColor(0x8a, 0x3f, 0xb0),
            RGBColor(0x8a, 0x6d, 0x00),
        ];
        const DARK: [RGBColor; 5] = [
            RGBColor(0x6c, 0xae, 0xff),
            RGBColor(0xff, 0xa6, 0x57),
            RGBColor(0x56, 0xd3, 0x64),
            RGBColor(0xd2, 0xa8, 0xff),
            RGBColor(0xe3, 0xc9, 0x4c),
        ];
        if self.dark { DARK[i % DARK.len()] } else { LIGHT[i % LIGHT.len()] }
    }

    /// What a page calls its colours: those that the charts have, too.
    pub fn variables(self) -> String {
        let hex = |RGBColor(r, g, b)| format!("#{r:02x}{g:02x}{b:02x}");
        format!("--ground: {}; --ink: {}; --rule: {};", hex(self.ground()), hex(self.ink()), hex(self.grid()))
    }

    fn font(self) -> TextStyle<'static> {
        ("sans-serif", if self.narrow { 11 } else { 13 }).into_font().color(&self.ink())
    }
}

/// Where bars of a histogram begin: below one.
const LEAST: f64 = 0.7;

/// Values over time.
pub struct Line {
    pub name: &'static str,
    /// Seconds, value.
    pub points: Vec<(f64, f64)>,
}

/// A picture.
pub enum Chart {
    /// Lines over the seconds of a run.
    Timeline { lines: Vec<Line>, unit: &'static str },
    /// How many times (in nanoseconds, the longest of each bucket) fell into which bucket. Both scales are logarithmic.
    Histogram { series: Vec<(String, Vec<(u64, u64)>)> },
}

impl Chart {
    /// As SVG, to stand in a page.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn svg(&self, look: Look) -> Result<String, Wrong> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, look.size()).into_drawing_area(), look)?;
        // The size is the reader's affair.
        let (width, height) = look.size();
        let fixed = format!("width=\"{width}\" height=\"{height}\"");
        Ok(text.replacen(&fixed, "role=\"img\"", 1))
    }

    /// As a PNG file, for paper.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn png(&self, path: &std::path::Path) -> Result<(), Wrong> {
        let drawn = self.draw(&BitMapBackend::new(path, Look::PAPER.size()).into_drawing_area(), Look::PAPER);
        // What the system says is clearer than what plotters makes of it.
        drawn.map_err(|why| std::fs::write(path, [0; 4096]).err().map_or(why, Wrong::from))
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, look: Look) -> Result<(), Wrong>
    where
        B::ErrorType: 'static,
    {
        static FONT: Once = Once::new();
        FONT.call_once(|| _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular()));
        area.fill(&look.ground())?;
        match self {
            Chart::Timeline { lines, unit } => timeline(area, look, lines, unit)?,
            Chart::Histogram { series } => histogram(area, look, series)?,
        }
        area.present()?;
        Ok(())
    }
}

fn timeline<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    look: Look,
    lines: &[Line],
    unit: &str,
) -> Result<(), Wrong>
where
    B::ErrorType: 'static,
{
    let points = || lines.iter().flat_map(|line| &line.points);
    let end = points().fold(0.1_f64, |end, (x, _)| end.max(*x));
    let top = points().fold(0.0_f64, |top, (_, y)| top.max(*y)).max(1e-3) * 1.1;
    let mut chart = framed(area, look).build_cartesian_2d(0.0..end, 0.0..top)?;
    axes(&mut chart, look, if look.narrow { 5 } else { 11 }, ("seconds", short), unit)?;
    for (i, line) in lines.iter().enumerate() {
        let pen = look.pen(i).stroke_width(2);
        let width = if look.narrow { 10 } else { 18 };
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), pen))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + width, y)], pen));
    }
    if lines.len() > 1 {
        legend(&mut chart, look)?;
    }
    Ok(())
}

fn histogram<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    look: Look,
    series: &[(String, Vec<(u64, u64)>)],
) -> Result<(), Wrong>
where
    B::ErrorType: 'static,
{
    let series: Vec<_> = series.iter().map(|(name, buckets)| (name, widen(buckets))).collect();
    let all = || series.iter().flat_map(|(_, bars)| bars);
    let first = all().map(|bar| bar.from).fold(f64::INFINITY, f64::min).min(1e3);
    let last = all().map(|bar| bar.to).fold(1e6, f64::max);
    // Room for the names above the bars.
    let room = if series.len() > 2 { 2.0 + 3.0 * series.len() as f64 } else { 8.0_f64.log2() };
    let top = all().map(|bar| bar.count).fold(10.0, f64::max) * room.exp2();
    let mut chart = framed(area, look).build_cartesian_2d((first..last).log_scale(), (LEAST..top).log_scale())?;
    axes(&mut chart, look, if look.narrow { 5 } else { 10 }, ("time", time), "how many")?;
    for (i, (name, bars)) in series.iter().enumerate() {
        let pen = look.pen(i);
        let width = if look.narrow { 10 } else { 18 };
        chart.draw_series(
            bars.iter().map(|bar| Rectangle::new([(bar.from, LEAST), (bar.to, bar.count)], pen.mix(0.25).filled())),
        )?;
        chart
            .draw_series(bars.iter().map(|bar| Rectangle::new([(bar.from, LEAST), (bar.to, bar.count)], pen)))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + width, y)], pen.stroke_width(2)));
    }
    if series.len() > 1 {
        legend(&mut chart, look)?;
    }
    Ok(())
}

/// A chart that leaves room for what stands at its axes.
fn framed<'a, B: DrawingBackend>(area: &'a DrawingArea<B, Shift>, look: Look) -> ChartBuilder<'a, 'a, B> {
    let mut chart = ChartBuilder::on(area);
    chart
        .margin(8)
        .margin_right(16)
        .set_label_area_size(LabelAreaPosition::Left, if look.narrow { 46 } else { 64 })
        .set_label_area_size(LabelAreaPosition::Bottom, 36);
    chart
}

/// Draws the axes and the grid: so many labels from left to right, what is counted there and how it is written, and what is
/// counted upwards.
fn axes<B: DrawingBackend, X, Y>(
    chart: &mut ChartContext<'_, B, Cartesian2d<X, Y>>,
    look: Look,
    labels: usize,
    (x, written): (&str, fn(f64) -> String),
    y: &str,
) -> Result<(), Wrong>
where
    B::ErrorType: 'static,
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .axis_style(look.grid())
        .bold_line_style(look.grid())
        .light_line_style(TRANSPARENT)
        .label_style(look.font())
        .x_labels(labels)
        .y_labels(5)
        .x_desc(x)
        .y_desc(y)
        .axis_desc_style(look.font())
        .x_label_formatter(&|x| written(*x))
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    Ok(())
}

fn legend<'a, B: DrawingBackend + 'a, C>(chart: &mut ChartContext<'a, B, C>, look: Look) -> Result<(), Wrong>
where
    B::ErrorType: 'static,
    C: CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(6)
        .legend_area_size(if look.narrow { 14 } else { 24 })
        .background_style(look.ground().mix(0.85))
        .border_style(look.grid())
        .label_font(look.font())
        .draw()?;
    Ok(())
}

/// A bar of a histogram.
struct Bar {
    from: f64,
    to: f64,
    count: f64,
}

/// Bars of a fixed width on the logarithmic scale: four to a power of two.
fn widen(buckets: &[(u64, u64)]) -> Vec<Bar> {
    let edge = |k: i32| 2_f64.powf(f64::from(k) / 4.0);
    let mut bars: std::collections::BTreeMap<i32, u64> = std::collections::BTreeMap::new();
    for (ns, n) in buckets {
        *bars.entry((((*ns).max(1) as f64).log2() * 4.0).floor() as i32).or_default() += n;
    }
    bars.into_iter().map(|(k, n)| Bar { from: edge(k), to: edge(k + 1), count: n as f64 }).collect()
}

/// Nanoseconds, on an axis.
fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{} ns", short(ns)),
        ..1e6 => format!("{} us", short(ns / 1e3)),
        ..1e9 => format!("{} ms", short(ns / 1e6)),
        _ => format!("{} s", short(ns / 1e9)),
    }
}

/// A number, on an axis.
fn short(n: f64) -> String {
    match n.abs() {
        0.0..0.995 => format!("{}", (n * 100.0).round() / 100.0),
        ..9.95 => format!("{}", (n * 10.0).round() / 10.0),
        ..9_999.5 => format!("{n:.0}"),
        ..999_500.0 => format!("{:.0}k", n / 1e3),
        _ => format!("{:.0}M", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an attribute of the elements that have `mark` in them says, as a number.
    fn numbers(svg: &str, mark: &str, attribute: &str) -> Vec<f64> {
        let elements = svg.split('<').filter(|element| element.contains(mark));
        let value = |e: &str| e.split(&format!(" {attribute}=\"")).nth(1)?.split('"').next()?.parse().ok();
        elements.filter_map(value).collect()
    }

    fn hex(RGBColor(r, g, b): RGBColor) -> String {
        format!("#{r:02X}{g:02X}{b:02X}")
    }

    #[test]
    fn a_histogram_has_a_bar_for_each_bucket_and_a_name_for_each_series() {
        // Two that fall into one bar, one far to the right and higher.
        let first = vec![(1_000, 2), (1_001, 3), (8_000_000, 900)];
        let series = vec![("first".to_owned(), first), ("second".to_owned(), vec![(70_000, 5)])];
        for look in Look::ALL {
            let svg = Chart::Histogram { series: series.clone() }.svg(look).expect("it can be drawn");
            let bar = |i: usize| format!("stroke=\"{}\"", hex(look.pen(i)));
            let of = |i: usize, attribute| numbers(&svg, &bar(i), attribute);
            let (x, height) = (of(0, "x"), of(0, "height"));
            // And the line in the legend, which is none.
            assert_eq!((x.len(), of(1, "x").len()), (2, 1), "{svg}");
            assert!(x[0] < of(1, "x")[0] && of(1, "x")[0] < x[1], "{svg}");
            assert!(height[1] > 2.0 * height[0] && height[0] > 0.0, "{svg}");
            let (wide, high) = look.size();
            assert!(x[1] + of(0, "width")[1] < f64::from(wide) && height[1] < f64::from(high), "{svg}");
            for text in ["first", "second", "time", "how many", "1 ms"] {
                assert!(svg.lines().any(|line| line == text), "{text}: {svg}");
            }
            let (svg, _) = svg.split_once('>').expect("an element");
            assert!(svg.contains("viewBox") && !svg.contains("width"), "it takes the width that there is: {svg}");
        }
    }

    #[test]
    fn a_timeline_has_a_line_for_each_and_room_for_all_points() {
        let line =
            |name, top: f64| Line { name, points: (0..=20).map(|i| (f64::from(i), top * f64::from(i))).collect() };
        for look in Look::ALL {
            let chart = Chart::Timeline { lines: vec![line("low", 1.0), line("high", 4.0)], unit: "MiB" };
            let svg = chart.svg(look).expect("it can be drawn");
            let points = |i: usize| {
                let lines =
                    svg.lines().filter(|line| line.starts_with("<polyline") && line.contains(&hex(look.pen(i))));
                let points = lines.map(|line| line.split("points=\"").nth(1).expect("points"));
                // The other one is in the legend.
                let of =
                    points.map(|text| text.split([' ', '"']).filter_map(|p| p.split_once(',')).collect::<Vec<_>>());
                let longest = of.max_by_key(Vec::len).expect("a line");
                longest.iter().map(|(x, y)| [x, y].map(|n| n.parse::<f64>().expect("a number"))).collect::<Vec<_>>()
            };
            let (low, high) = (points(0), points(1));
            assert_eq!((low.len(), high.len()), (21, 21), "{svg}");
            assert!(low.is_sorted_by_key(|p| p[0]) && high.iter().all(|p| p[1] > 0.0), "{svg}");
            // The ordinate counts from the top.
            assert!(high[20][1] < low[20][1] && low[20][1] < low[0][1], "{svg}");
            for text in ["low", "high", "seconds", "MiB"] {
                assert!(svg.lines().any(|line| line == text), "{text}: {svg}");
            }
        }
    }
}
