//! The headers of Yamux frames, as they pass by.

/// Bytes of a header.
const LEN: usize = 12;
/// What kinds of frames there are.
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const GO_AWAY: u8 = 3;
/// Flags of a frame.
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;

/// A frame that says what `header` does, but breaks the stream off instead of finishing it; `None` if
/// it does not finish a stream that `breaks`.
pub(super) fn reset_instead(header: &[u8], breaks: impl FnOnce(u32) -> bool) -> Option<[u8; LEN]> {
    let mut header: [u8; LEN] = header.try_into().ok()?;
    let [_, kind, f, g, a, b, c, d, length @ ..] = header;
    let flags = u16::from_be_bytes([f, g]);
    let finishes = kind == DATA && length == [0; 4] && flags & FIN != 0;
    if !finishes || !breaks(u32::from_be_bytes([a, b, c, d])) {
        return None;
    }
    header[2..4].copy_from_slice(&(flags & !FIN | RST).to_be_bytes());
    Some(header)
}

/// What a frame says about its stream, or about the connection. A frame can say several things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The peer opens the stream.
    Opened(u32),
    /// The peer has taken a stream that we opened.
    Accepted(u32),
    /// The peer sends no more on the stream.
    Finished(u32),
    /// The peer has broken the stream off.
    Reset(u32),
    /// A frame with so many bytes of the stream begins.
    Begins { stream: u32, first: bool, bytes: usize },
    /// So many bytes of the stream have come.
    Sent(u32, usize),
    /// So many more bytes of the stream may be sent.
    Credited(u32, u32),
    /// The peer closes the connection in good order.
    GoneAway,
}

/// Follows the frames that are read from a connection. Yamux itself does not tell a stream that was
/// finished from one that was broken off.
#[derive(Debug, Default)]
pub(super) struct Headers {
    header: [u8; LEN],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the body that are to come.
    body: usize,
}

impl Headers {
    /// Whether the next byte begins a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.have == 0 && self.body == 0
    }

    /// Takes in what was read next, and says what frames that are there as a whole mean.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut say: impl FnMut(Said)) {
        while !bytes.is_empty() {
            let taken = (LEN - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if taken > 0 && self.have == LEN && self.kind() == DATA {
                self.body = self.length() as usize;
                self.begin(&mut say);
            }
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            if self.have == LEN && self.body == 0 {
                self.have = 0;
                self.complete(&mut say);
            }
        }
    }

    fn kind(&self) -> u8 {
        self.header[1]
    }

    fn length(&self) -> u32 {
        let [.., w, x, y, z] = self.header;
        u32::from_be_bytes([w, x, y, z])
    }

    fn flags_and_stream(&self) -> (u16, u32) {
        let [_, _, f, g, a, b, c, d, ..] = self.header;
        (u16::from_be_bytes([f, g]), u32::from_be_bytes([a, b, c, d]))
    }

    fn begin(&self, say: &mut impl FnMut(Said)) {
        let (flags, stream) = self.flags_and_stream();
        if self.body > 0 {
            say(Said::Begins { stream, first: flags & (SYN | ACK) != 0, bytes: self.body });
        }
    }

    fn complete(&self, say: &mut impl FnMut(Said)) {
        let (flags, stream) = self.flags_and_stream();
        // Any number but 0 is an error.
        if self.kind() == GO_AWAY && self.length() == 0 {
            say(Said::GoneAway);
        }
        // Pings have no stream.
        if stream == 0 {
            return;
        }
        let sent = if self.kind() == DATA { self.length() as usize } else { 0 };
        if flags == 0 {
            if sent > 0 {
                say(Said::Sent(stream, sent));
            } else if self.kind() == WINDOW_UPDATE && self.length() > 0 {
                say(Said::Credited(stream, self.length()));
            }
            return;
        }
        let meanings = [
            (SYN, Said::Opened(stream)),
            (ACK, Said::Accepted(stream)),
            (FIN, Said::Finished(stream)),
            (RST, Said::Reset(stream)),
        ];
        meanings.into_iter().filter(|(flag, _)| flags & flag != 0).for_each(|(_, said)| say(said));
        if sent > 0 {
            say(Said::Sent(stream, sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u16, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, kind];
        frame.extend(flags.to_be_bytes());
        frame.extend(stream.to_be_bytes());
        frame.extend(length.to_be_bytes());
        frame.extend(body);
        frame
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let frames = [
            frame(DATA, SYN, 1, 30, &[0xff; 30]),
            frame(1, ACK, 2, 5, &[]),
            frame(WINDOW_UPDATE, 0, 2, 70_000, &[]),
            frame(DATA, 0, 1, 3, &[8; 3]),
            frame(2, SYN, 0, 7, &[]),
            frame(DATA, FIN | ACK, 3, 0, &[]),
            frame(DATA, RST, 4, 0, &[]),
            frame(3, 0, 0, 1, &[]),
            frame(3, 0, 0, 0, &[]),
        ]
        .concat();
        let expected = [
            Said::Begins { stream: 1, first: true, bytes: 30 },
            Said::Opened(1),
            Said::Sent(1, 30),
            Said::Accepted(2),
            Said::Credited(2, 70_000),
            Said::Begins { stream: 1, first: false, bytes: 3 },
            Said::Sent(1, 3),
            Said::Accepted(3),
            Said::Finished(3),
            Said::Reset(4),
            Said::GoneAway,
        ];
        let mut headers = Headers::default();
        let (last, whole) = (&mut 0, frame(DATA, FIN, 5, 2, &[0; 2]));
        headers.read(&whole[..LEN + 1], |_| *last += 1);
        assert_eq!(*last, 1, "it begins, and its body is not there yet");
        headers.read(&whole[LEN + 1..], |_| *last += 1);
        assert_eq!(*last, 3);
        for cut in 1..frames.len() {
            let (mut headers, mut said) = (Headers::default(), Vec::new());
            frames.chunks(cut).for_each(|chunk| headers.read(chunk, |s| said.push(s)));
            assert_eq!(said, expected, "{cut} bytes at a time");
        }
    }
}
