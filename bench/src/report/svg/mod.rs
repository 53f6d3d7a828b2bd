//! The pictures.

pub(crate) mod curves;
pub(crate) mod ratios;

use std::fmt::{Arguments, Write};

/// For light and for dark surroundings.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.title{font-weight:600;font-size:13px}\
.faint{fill:#59636e}\
.ours{fill:#0969da}.theirs{fill:#8c959f}.open{fill:#d4a72c}\
.one{stroke:#59636e;stroke-dasharray:3 3}\
.grid{stroke:#d1d9e0}\
.blue{fill:#0969da;stroke:#0969da}.green{fill:#1a7f37;stroke:#1a7f37}\
.red{fill:#cf222e;stroke:#cf222e}.violet{fill:#8250df;stroke:#8250df}\
.amber{fill:#9a6700;stroke:#9a6700}\
polyline.line{fill:none;stroke-width:2}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}\
.ours{fill:#4493f8}.theirs{fill:#6e7681}.open{fill:#bb8009}.one{stroke:#9198a1}\
.grid{stroke:#3d444d}\
.blue{fill:#4493f8;stroke:#4493f8}.green{fill:#3fb950;stroke:#3fb950}\
.red{fill:#f85149;stroke:#f85149}.violet{fill:#ab7df8;stroke:#ab7df8}\
.amber{fill:#d29922;stroke:#d29922}}";

/// A picture that is being drawn.
struct Picture(String);

impl Picture {
    /// An empty one with its title.
    fn new(width: usize, height: usize, title: &str) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
             <style>{STYLE}</style>\n\
             <text class=\"title\" x=\"8\" y=\"20\">{title}</text>\n"
        ))
    }

    fn draw(&mut self, shape: Arguments<'_>) {
        writeln!(self.0, "{shape}").expect("a string takes everything");
    }

    /// Says what a colour means.
    fn key(&mut self, x: usize, y: usize, class: &str, name: &str) {
        self.draw(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/>\
             <text class=\"faint\" x=\"{}\" y=\"{y}\">{name}</text>",
            y - 9,
            x + 16
        ));
    }

    fn end(self) -> String {
        self.0 + "</svg>\n"
    }
}
