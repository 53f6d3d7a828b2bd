//! The screen of a terminal, and its keys.

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, channel, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::feed::Feed;
use super::state::{Key, State};
use super::view::draw;
use crate::error::Failure;
use crate::node::activity::Snapshot;

/// The screen, which is as it was before when this is dropped.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> Result<Self, Failure> {
        ratatui::try_init().map(Self).map_err(|error| {
            Failure::local(format_args!("the terminal cannot be drawn on: {error}"))
                .next("--once and --json need no terminal")
        })
    }

    fn draw(&mut self, state: &State) -> Result<(), Failure> {
        let drawn = self.0.draw(|frame| draw(frame, state));
        drawn.map(|_| ()).map_err(|error| Failure::output(&error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What a terminal tells.
enum Told {
    Key(Key),
    /// Its size is another one.
    Resized,
}

/// Shows a node until it is told to end.
pub(super) async fn run(feed: Feed, mut state: State, interval: Duration) -> Result<(), Failure> {
    let mut screen = Screen::open()?;
    let mut keys = keys();
    let mut looks = looks(feed, interval);
    loop {
        screen.draw(&state)?;
        tokio::select! {
            told = keys.recv() => match told {
                Some(Told::Key(key)) if state.press(key) => {}
                Some(Told::Resized) => {}
                // Nobody is there any more, or wants to be.
                Some(Told::Key(_)) | None => return Ok(()),
            },
            heard = looks.recv() => match heard {
                Some(Ok(snapshot)) => state.heard(snapshot),
                Some(Err(failure)) => state.lost(failure.lines().0),
                None => return Ok(()),
            },
        }
    }
}

/// Asks the node again and again, while somebody wants to know.
fn looks(mut feed: Feed, interval: Duration) -> Receiver<Result<Snapshot, Failure>> {
    let (heard, looks) = channel(1);
    tokio::spawn(async move {
        let mut next = Instant::now();
        while !heard.is_closed() {
            // After a long silence, the looks that were left out are not made up for.
            next = (next + interval).max(Instant::now());
            sleep_until(next).await;
            if heard.send(feed.next().await).await.is_err() {
                return;
            }
        }
    });
    looks
}

/// Reads keys on a thread of its own, which ends with the process.
fn keys() -> UnboundedReceiver<Told> {
    let (tell, keys) = unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let told = match event {
                Event::Key(key) => key_of(key).map(Told::Key),
                Event::Resize(..) => Some(Told::Resized),
                _ => None,
            };
            if told.is_some_and(|told| tell.send(told).is_err()) {
                return;
            }
        }
    });
    keys
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        // A terminal that is drawn on does not make a signal of it.
        KeyCode::Char('c' | 'd') if control => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('s') => Some(Key::Sort),
        KeyCode::Char('p' | ' ') => Some(Key::Pause),
        KeyCode::Char('j') | KeyCode::Down => Some(Key::Down),
        KeyCode::Char('k') | KeyCode::Up => Some(Key::Up),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_last_line_says() {
        let plain = |code| key_of(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('s')), Some(Key::Sort));
        assert_eq!(plain(KeyCode::Char('p')), Some(Key::Pause));
        assert_eq!(plain(KeyCode::Up), Some(Key::Up));
        assert_eq!(plain(KeyCode::Down), Some(Key::Down));
        assert_eq!(plain(KeyCode::Char('c')), None);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(key_of(control), Some(Key::Quit));
    }
}
