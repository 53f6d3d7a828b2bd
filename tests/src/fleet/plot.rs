//! What happened over time, as an SVG.

use std::fmt::Write;

use super::{Report, Second};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 300.0;
type Value = fn(&Second) -> u64;

const LINES: [(&str, &str, Value); 3] = [
    ("calls", "#888", |second| second.calls),
    ("answered in time", "#080", |second| second.good),
    ("requests at servers", "#c00", |second| second.arrivals),
];

/// Calls, good answers and requests at servers, second by second.
#[must_use]
pub fn svg(title: &str, report: &Report) -> String {
    let seconds = report.seconds.len().max(2) as f64 - 1.0;
    let values = LINES.iter().flat_map(|(.., of)| report.seconds.iter().map(of));
    let most = values.max().unwrap_or(1).max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -40 {WIDTH} {}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<text x=\"4\" y=\"-26\">{title}; the highest \
         value is {most} a second</text>\n",
        HEIGHT + 50.0
    );
    for (nth, (name, color, of)) in LINES.iter().enumerate() {
        let points = report.seconds.iter().enumerate().map(|(index, second)| {
            let x = index as f64 / seconds * WIDTH;
            format!("{x:.1},{:.1}", HEIGHT - of(second) as f64 / most * HEIGHT)
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let x = 4 + 160 * nth;
        _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{color}\" points=\"{points}\"/>\n\
             <text x=\"{x}\" y=\"-8\" fill=\"{color}\">{name}</text>"
        );
    }
    svg + "</svg>\n"
}
