//! The picture: bars of ratios.

use std::fmt::Write;

use crate::contender::Contender;
use crate::report::BASELINE;
use crate::sample::{RATE, Samples};
use crate::size::Cell;

const KIB: usize = 1024;

/// What is shown, two panels in a row.
const PANELS: [(Cell, &str); 4] = [
    (Cell::new(512, 1), "512 bytes, 1 caller"),
    (Cell::new(512, 64), "512 bytes, 64 callers"),
    (Cell::new(64 * KIB, 64), "64 KiB, 64 callers"),
    (Cell::new(1024 * KIB, 8), "1 MiB, 8 callers"),
];

const WIDTH: usize = 860;
const PANEL: usize = 420;
const NAMES: usize = 136;
const BARS: usize = 220;
const ROW: usize = 18;
const HEAD: usize = 40;
const TOP: usize = 36;
const FOOT: usize = 28;

/// What the scale begins with.
const LEAST: f64 = 0.25;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.title{font-weight:600;font-size:13px}\
.faint{fill:#59636e}\
.ours{fill:#0969da}.theirs{fill:#8c959f}.open{fill:#d4a72c}\
.one{stroke:#59636e;stroke-dasharray:3 3}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}\
.ours{fill:#4493f8}.theirs{fill:#6e7681}.open{fill:#bb8009}.one{stroke:#9198a1}}";

/// The picture, if there is what it shows.
pub(crate) fn picture(samples: &Samples) -> Option<String> {
    let panels: Vec<Panel> =
        PANELS.iter().filter_map(|(cell, title)| Panel::new(samples, *cell, title)).collect();
    let ratios = panels.iter().flat_map(|panel| panel.bars.iter().map(|(_, ratio)| *ratio));
    let most = ratios.reduce(f64::max)?.max(1.0);
    let rows = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or_default();
    let panel_height = HEAD + rows * ROW;
    let height = TOP + panels.len().div_ceil(2) * panel_height + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"Requests per second as multiples of libp2p-request-response\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"8\" y=\"20\">Requests per second, as multiples of \
         libp2p-request-response (logarithmic)</text>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let (x, y) = (8 + number % 2 * PANEL, TOP + number / 2 * panel_height);
        panel.draw(&mut svg, x, y, most);
    }
    let y = height - 10;
    let legend =
        [("ours", "PointSub"), ("theirs", "others, encrypted"), ("open", "others, not encrypted")];
    for (number, (class, name)) in legend.into_iter().enumerate() {
        let x = 8 + number * 160;
        draw(
            &mut svg,
            format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/>\
                 <text class=\"faint\" x=\"{}\" y=\"{y}\">{name}</text>",
                y - 9,
                x + 16
            ),
        );
    }
    Some(svg + "</svg>\n")
}

fn draw(svg: &mut String, shape: std::fmt::Arguments<'_>) {
    writeln!(svg, "{shape}").expect("a string takes everything");
}

struct Panel {
    title: String,
    bars: Vec<(Contender, f64)>,
}

impl Panel {
    fn new(samples: &Samples, cell: Cell, title: &str) -> Option<Self> {
        let ratio = |contender: &Contender| {
            let ratio = samples.ratio((*contender, cell), (BASELINE, cell), RATE)?;
            Some((*contender, ratio.median))
        };
        let others = Contender::ALL.iter().filter(|contender| **contender != BASELINE);
        let bars: Vec<_> = others.filter_map(ratio).collect();
        (!bars.is_empty()).then(|| Self { title: title.to_owned(), bars })
    }

    fn draw(&self, svg: &mut String, x: usize, y: usize, most: f64) {
        let at = |ratio: f64| {
            let share = (ratio.max(LEAST) / LEAST).ln() / (most / LEAST).ln();
            share * BARS as f64
        };
        draw(svg, format_args!("<text x=\"{x}\" y=\"{}\">{}</text>", y + 16, self.title));
        let (left, top) = (x + NAMES, y + 24);
        for (number, (contender, ratio)) in self.bars.iter().enumerate() {
            let (row, length) = (top + number * ROW, at(*ratio));
            let class = match contender {
                Contender::Tonic | Contender::Tarpc => "open",
                Contender::TonicTls | Contender::RawStream | Contender::RequestResponse => "theirs",
                _ => "ours",
            };
            draw(
                svg,
                format_args!(
                    "<text class=\"faint\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{contender}</text>\
                     <rect class=\"{class}\" x=\"{left}\" y=\"{row}\" width=\"{length:.1}\" \
                     height=\"13\" rx=\"2\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{ratio:.1}</text>",
                    left - 6,
                    row + 11,
                    left as f64 + length + 4.0,
                    row + 11
                ),
            );
        }
        let one = left as f64 + at(1.0);
        let bottom = top + self.bars.len() * ROW - 3;
        draw(
            svg,
            format_args!(
                "<line class=\"one\" x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{}\" y2=\"{bottom}\"/>",
                top - 3
            ),
        );
    }
}
