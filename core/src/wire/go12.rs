//! Messages of Go `PointSub` 1.2, as its message transporter lays them on a stream: `WIRE.md`
//! section 5.

use alloc::vec::Vec;

use thiserror::Error;

/// The length of a header of a message below [`LONG`], and what must have come to tell the two apart.
const SHORT_LEN: usize = 4;
const LONG_LEN: usize = 12;
/// Messages from this length on have the longer header.
const LONG: usize = 1 << 16;
/// The flag that only short headers have. In a long one its place is taken by a bit of the length.
const SHORT: u8 = 0x40;
/// The body is compressed with gzip, which Go does only when told to.
const COMPRESSED: u32 = 0x04;

/// What comes before a message of Go `PointSub` 1.2: its length, a checksum and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Go12Header {
    len: u32,
    checksum: u32,
    flags: u32,
    short: bool,
}

/// Why a message of Go `PointSub` 1.2 cannot be sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Go12Error {
    /// Go takes the header of such a length for that of another message.
    #[error("Go PointSub 1.2 misreads a message of {len} bytes: send some bytes more or less")]
    Misread {
        /// The length of the message.
        len: usize,
    },
    /// The message is longer than the receiver or the format allows.
    #[error("a message of {len} bytes, the limit is {limit}: split it or raise the limit")]
    TooLarge {
        /// The length of the message.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are not those that were sent, or never were a message.
    #[error("the checksum of the message does not fit: close the stream")]
    Checksum,
    /// The sender was told to compress.
    #[error("the message is compressed: let the Go peer send without compression")]
    Compressed,
}

impl Go12Header {
    /// The header of a whole message.
    ///
    /// # Errors
    /// [`Go12Error::Misread`] or [`Go12Error::TooLarge`] if there is none for such a length.
    pub fn of(body: &[u8]) -> Result<Self, Go12Error> {
        let (len, limit) = (body.len(), u32::MAX as usize);
        let short = len < LONG;
        let in_header = u32::try_from(len).map_err(|_| Go12Error::TooLarge { len, limit })?;
        if !short && in_header.to_be_bytes()[3] & SHORT != 0 {
            return Err(Go12Error::Misread { len });
        }
        let flags = if short { u32::from(SHORT) } else { 0 };
        Ok(Self { len: in_header, checksum: Self::checksum(short, body), flags, short })
    }

    /// What a header says of the body.
    fn checksum(short: bool, body: &[u8]) -> u32 {
        let whole = crc32(body);
        if short { whole & 0xff } else { whole }
    }

    /// The header as it lies on the stream.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let (len, checksum) = (self.len.to_be_bytes(), self.checksum.to_be_bytes());
        let flags = self.flags.to_be_bytes();
        if self.short {
            return [len[2], len[3], checksum[3], flags[3]].to_vec();
        }
        [len, checksum, flags].concat()
    }

    /// Reads the header at the start of `bytes`: `None` until it has come whole. How long it is on
    /// the stream says [`wire_len`](Self::wire_len).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *bytes.first_chunk::<SHORT_LEN>()?;
        if d & SHORT != 0 {
            let len = u32::from_be_bytes([0, 0, a, b]);
            return Some(Self { len, checksum: c.into(), flags: d.into(), short: true });
        }
        let bytes = bytes.first_chunk::<LONG_LEN>()?;
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Self { len: number(0), checksum: number(4), flags: number(8), short: false })
    }

    /// How many bytes of the stream the header takes.
    #[must_use]
    pub fn wire_len(self) -> usize {
        if self.short { SHORT_LEN } else { LONG_LEN }
    }

    /// How many bytes of body follow.
    #[must_use]
    pub fn body_len(self) -> usize {
        self.len as usize
    }

    /// Whether this is the body that was sent. A checksum of 0 is not checked, as in Go.
    ///
    /// # Errors
    /// [`Go12Error::Checksum`] or [`Go12Error::Compressed`] if it is not.
    pub fn check(self, body: &[u8]) -> Result<(), Go12Error> {
        if self.checksum != 0 && self.checksum != Self::checksum(self.short, body) {
            return Err(Go12Error::Checksum);
        }
        if self.flags & COMPRESSED != 0 {
            return Err(Go12Error::Compressed);
        }
        Ok(())
    }
}

/// Whether a plain message that announced `announced` bytes, of which `arrived` have come, looks like
/// a whole message of Go 1.2 with nothing after it. Empty ones are not recognised: a peer that writes
/// a length of 64 and then its message looks the same in between.
pub(super) fn looks_whole(announced: usize, arrived: &[u8]) -> bool {
    let header = u32::try_from(announced).ok().map(u32::to_be_bytes);
    let Some(header) = header.as_ref().and_then(|bytes| Go12Header::parse(bytes)) else {
        return false;
    };
    let whole = header.body_len() == arrived.len() && !arrived.is_empty();
    whole
        && header.flags == u32::from(SHORT)
        && header.checksum == Go12Header::checksum(true, arrived)
}

/// The CRC of IEEE 802.3, as in gzip.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    let next = |crc: u32, byte: &u8| TABLE[((crc as u8) ^ byte) as usize] ^ (crc >> 8);
    !bytes.iter().fold(u32::MAX, next)
}
