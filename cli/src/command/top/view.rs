//! How a node is, drawn on a screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table};

use super::state::{Point, State};
use super::text::{PEERS, PROTOCOLS, figures_of, protocols, summary, uptime};
use crate::output::size;

/// Lines of a curve with its frame.
const CURVE: u16 = 6;
/// How many protocols are shown while there are peers to be shown too.
const FEW: usize = 8;
/// From this width on Peer IDs are shown whole.
const WIDE: u16 = 150;
/// The width of a column of figures.
const FIGURE: u16 = 9;

/// What a curve shows of a point.
type Value = fn(&Point) -> u64;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let few = state.shown.protocols.len().min(FEW);
    let has_rows = !state.load_alone;
    let [title, figures, curves, of_protocols, of_peers, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Length(CURVE),
        Constraint::Length(if has_rows { few as u16 + 2 } else { 0 }),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head(state), title);
    let lines = summary(state).into_iter().map(|(label, text)| {
        Line::from_iter([Span::from(format!("{label:<9} ")).bold(), Span::from(text)])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), figures);
    draw_curves(frame, state, curves);
    if has_rows {
        draw_protocols(frame, state, of_protocols);
        draw_peers(frame, state, of_peers);
    } else {
        let text = "The node shows its load alone: this is no operator of it (--operator).";
        frame.render_widget(Line::from(text).dim(), of_peers);
    }
    frame.render_widget(foot(state), keys);
}

fn head(state: &State) -> Line<'_> {
    let mut head = Line::from_iter([
        Span::from("pointsub top  ").bold(),
        Span::from(&*state.peer).fg(Color::Cyan),
    ]);
    if !state.load_alone {
        head.push_span(format!("  up {}", uptime(state.shown.now.uptime_ms)));
    }
    if state.paused {
        head.push_span(Span::from("  paused").fg(Color::Yellow).bold());
    }
    if let Some(why) = &state.lost {
        head.push_span(Span::from(format!("  not heard: {why}")).fg(Color::Red).bold());
    }
    head
}

fn foot(state: &State) -> Line<'_> {
    let keys = format!("q quit   s sort: {}   p pause   ↑ ↓ peers", state.sort.name());
    Line::from(keys).dim()
}

fn draw_curves(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let areas: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).areas(area);
    let load = &state.shown.now.load;
    // Tenths of a request are seen too.
    let tenths: Value = |point| (point.started * 10.0) as u64;
    let curves: [(String, Color, Value); 3] = [
        (format!("requests/s {:.1}", state.shown.started), Color::Green, tenths),
        (format!("at work {}", load.in_flight), Color::Cyan, |point| point.in_flight),
        (format!("memory {}", size(load.memory)), Color::Magenta, |point| point.memory),
    ];
    for ((title, colour, value), area) in curves.into_iter().zip(areas) {
        let block = Block::bordered().title(title).border_style(Style::new().dim());
        let width = usize::from(block.inner(area).width);
        let from = state.points.len().saturating_sub(width);
        let values: Vec<u64> = state.points.range(from..).map(value).collect();
        frame.render_widget(Sparkline::default().data(values).fg(colour).block(block), area);
    }
}

fn draw_protocols(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows = protocols(state).map(|mut figures| {
        // Names are on the left.
        figures.rotate_right(1);
        Row::new(figures)
    });
    let mut names = vec!["protocol"];
    names.extend(PROTOCOLS);
    frame.render_widget(table(rows, &names, &[]), area);
}

fn draw_peers(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let is_wide = area.width >= WIDE;
    let rows = state.shown.now.peers.iter().skip(state.scroll).map(|peer| {
        let name = if is_wide { peer.peer.clone() } else { short(&peer.peer) };
        let figures = figures_of(peer).into_iter();
        Row::new(std::iter::once(name).chain(figures).chain([peer.address.clone()]))
    });
    let mut names = vec!["peer"];
    names.extend(PEERS);
    names.push("address");
    frame.render_widget(table(rows, &names, &[Constraint::Fill(2)]), area);
}

/// A table whose first column is a name, and the others figures.
fn table<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    names: &[&'a str],
    more: &[Constraint],
) -> Table<'a> {
    let figures = names.len() - 1 - more.len();
    let mut widths = vec![Constraint::Fill(1)];
    widths.extend(std::iter::repeat_n(Constraint::Length(FIGURE), figures));
    widths.extend(more);
    let header = Row::new(names.iter().copied()).style(Style::new().bold());
    let block = Block::new().borders(Borders::TOP).border_style(Style::new().dim());
    Table::new(rows, widths).header(header).block(block)
}

/// A Peer ID as people tell them apart: the end differs.
fn short(peer: &str) -> String {
    let end = peer.char_indices().rev().nth(7).map_or(0, |(at, _)| at);
    if end == 0 { peer.to_owned() } else { format!("…{}", &peer[end..]) }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::command::top::sample::Sort;
    use crate::command::top::state::Key;
    use crate::node::activity::{PeerActivity, ProtocolActivity, Snapshot};

    const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn drawn(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal");
        terminal.draw(|frame| draw(frame, state)).expect("it is drawn");
        terminal.backend().to_string()
    }

    fn snapshot(seconds: u64) -> Snapshot {
        let mut now = Snapshot { uptime_ms: seconds * 1000, ..Snapshot::default() };
        now.load.started = seconds * 20;
        (now.load.in_flight, now.load.limit, now.load.memory) = (3, 64, 2048);
        (now.memory_limit, now.connected) = (Some(1 << 20), Some(2));
        now.refusals.insert("no place".to_owned(), 5);
        let protocol = |name: &str, ended| ProtocolActivity {
            name: name.to_owned(),
            ended,
            worked_us: ended * 1500,
            ..ProtocolActivity::default()
        };
        now.protocols = vec![protocol("/a/1", seconds), protocol("/b/1", seconds * 19)];
        let peer = |end: &str, rtt_us| PeerActivity {
            peer: format!("{}{end}", &PEER[..PEER.len() - end.len()]),
            path: "direct".to_owned(),
            address: "/ip4/192.0.2.7/tcp/4001".to_owned(),
            rtt_us,
            ..PeerActivity::default()
        };
        now.peers = vec![peer("firstone", Some(412)), peer("otherone", Some(41_200))];
        now
    }

    fn state() -> State {
        let mut state = State::new(PEER.to_owned(), Sort::Busy);
        (1..=4).for_each(|seconds| state.heard(snapshot(seconds)));
        state
    }

    fn line_of(screen: &str, text: &str) -> usize {
        screen.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{screen}"))
    }

    #[test]
    fn all_of_a_node_is_on_the_screen() {
        let screen = drawn(&state(), 110, 30);
        for text in [
            PEER,
            "up 4 s",
            "20.0/s started",
            "3 of 64 requests",
            "2 peers connected",
            "2.0 KiB of 1.0 MiB",
            "5 no place",
            "requests/s 20.0",
            "█",
            "…firstone",
            "412 µs",
            "41.2 ms",
            "/ip4/192.0.2.7/tcp/4001",
            "1.50 ms",
            "q quit",
        ] {
            assert!(screen.contains(text), "{text}\n{screen}");
        }
        assert!(line_of(&screen, "/b/1") < line_of(&screen, "/a/1"), "the busy one comes first");
        let wide = drawn(&state(), 200, 30);
        assert!(wide.contains(&PEER[..PEER.len() - 8]), "{wide}");
    }

    #[test]
    fn keys_are_seen() {
        let mut state = state();
        state.press(Key::Sort);
        state.press(Key::Sort);
        state.press(Key::Pause);
        let screen = drawn(&state, 110, 30);
        assert!(screen.contains("sort: time") && screen.contains("paused"), "{screen}");
        assert!(line_of(&screen, "otherone") < line_of(&screen, "firstone"), "the slow one first");
        state.press(Key::Down);
        let screen = drawn(&state, 110, 30);
        assert!(!screen.contains("otherone") && screen.contains("firstone"), "{screen}");
    }

    #[test]
    fn a_node_that_is_not_heard_or_tells_little_is_shown_as_such() {
        let mut state = State::new(PEER.to_owned(), Sort::Busy);
        let mut little = Snapshot { uptime_ms: 1, ..Snapshot::default() };
        little.load.limit = 7;
        state.heard(little);
        state.load_alone = true;
        state.lost("gone");
        let screen = drawn(&state, 110, 30);
        for text in ["0 of 7 requests", "no operator", "not heard: gone"] {
            assert!(screen.contains(text), "{text}\n{screen}");
        }
        assert!(!screen.contains("up 0 s"), "{screen}");
    }

    #[test]
    fn any_size_can_be_drawn() {
        let state = state();
        for (width, height) in [(1, 1), (5, 3), (20, 10), (80, 5), (300, 100)] {
            drawn(&state, width, height);
        }
    }
}
