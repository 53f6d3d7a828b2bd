//! Bars of ratios.

use crate::contender::Contender;
use crate::report::BASELINE;
use crate::report::svg::Picture;
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

/// The picture, if there is what it shows.
pub(crate) fn picture(samples: &Samples) -> Option<String> {
    let panels: Vec<Panel> =
        PANELS.iter().filter_map(|(cell, title)| Panel::new(samples, *cell, title)).collect();
    let ratios = panels.iter().flat_map(|panel| panel.bars.iter().map(|(_, ratio)| *ratio));
    let most = ratios.reduce(f64::max)?.max(1.0);
    let rows = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or_default();
    let panel_height = HEAD + rows * ROW;
    let height = TOP + panels.len().div_ceil(2) * panel_height + FOOT;
    let mut picture = Picture::new(
        WIDTH,
        height,
        "Requests per second, as multiples of libp2p-request-response (logarithmic)",
    );
    for (number, panel) in panels.iter().enumerate() {
        let (x, y) = (8 + number % 2 * PANEL, TOP + number / 2 * panel_height);
        panel.draw(&mut picture, x, y, most);
    }
    let legend =
        [("ours", "PointSub"), ("theirs", "others, encrypted"), ("open", "others, not encrypted")];
    for (number, (class, name)) in legend.into_iter().enumerate() {
        picture.key(8 + number * 160, height - 10, class, name);
    }
    Some(picture.end())
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

    fn draw(&self, picture: &mut Picture, x: usize, y: usize, most: f64) {
        let at = |ratio: f64| {
            let share = (ratio.max(LEAST) / LEAST).ln() / (most / LEAST).ln();
            share * BARS as f64
        };
        picture.draw(format_args!("<text x=\"{x}\" y=\"{}\">{}</text>", y + 16, self.title));
        let (left, top) = (x + NAMES, y + 24);
        for (number, (contender, ratio)) in self.bars.iter().enumerate() {
            let (row, length) = (top + number * ROW, at(*ratio));
            let class = match contender {
                Contender::Tonic | Contender::Tarpc => "open",
                Contender::TonicTls | Contender::RawStream | Contender::RequestResponse => "theirs",
                _ => "ours",
            };
            picture.draw(format_args!(
                "<text class=\"faint\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{contender}</text>\
                     <rect class=\"{class}\" x=\"{left}\" y=\"{row}\" width=\"{length:.1}\" \
                     height=\"13\" rx=\"2\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{ratio:.1}</text>",
                left - 6,
                row + 11,
                left as f64 + length + 4.0,
                row + 11
            ));
        }
        let one = left as f64 + at(1.0);
        let bottom = top + self.bars.len() * ROW - 3;
        picture.draw(format_args!(
            "<line class=\"one\" x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{}\" y2=\"{bottom}\"/>",
            top - 3
        ));
    }
}
