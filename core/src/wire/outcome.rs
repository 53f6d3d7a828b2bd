//! Outcomes on the wire: a response frame's fields to a [`Status`] and back. `WIRE.md` section 2.4.

use core::time::Duration;

use alloc::string::{String, ToString};

use super::compress::Payload;
use crate::error::{Delivery, Status, StatusCode};
use crate::wire::{Flags, Frame, FrameError, HeadReader, Kind, Metadata, Outbox, tag};

/// The longest message that travels with a status.
const MAX_MESSAGE: usize = 1024;

/// A response, or the failure that the server answered with and whether the request was surely
/// not processed.
pub type Answer = Result<Payload, (Status, Delivery)>;

/// Adds an answer that failed, with the server's load in thousandths if that is to be told.
pub(crate) fn encode(
    outbox: &mut Outbox,
    id: u64,
    status: &Status,
    delivery: Delivery,
    load: Option<u16>,
) {
    encode_with(outbox, id, status, delivery, load, &Metadata::new());
}

/// The same with metadata.
pub(crate) fn encode_with(
    outbox: &mut Outbox,
    id: u64,
    status: &Status,
    delivery: Delivery,
    load: Option<u16>,
    metadata: &Metadata,
) {
    let flags = match delivery {
        Delivery::NotProcessed => Flags::UNPROCESSED,
        Delivery::Unknown | Delivery::Processed => Flags::default(),
    };
    let detail = status.detail.clone();
    outbox.native(Kind::Response, flags, id, detail, |head| {
        head.u8(tag::STATUS, status.code.to_byte());
        if let StatusCode::Application(code) = status.code {
            head.u32(tag::APP_CODE, code);
        }
        if !status.message.is_empty() {
            head.bytes(tag::MESSAGE, truncate(&status.message).as_bytes());
        }
        if let Some(after) = status.retry_after {
            head.u32(tag::RETRY_AFTER, millis(after));
        }
        if let Some(load) = load {
            head.u16(tag::LOAD, load);
        }
        metadata.write(head);
    });
}

/// A time as the wire carries it: milliseconds, rounded up, so that a caller who still waits never
/// looks as if he did not.
pub(crate) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// Cuts a message to [`MAX_MESSAGE`] bytes at a character's end.
fn truncate(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// The answer in a response frame, and the server's load in thousandths of its limit if it told.
pub(crate) fn parse(frame: Frame) -> Result<(Answer, Option<u16>), FrameError> {
    let flags = frame.header.flags;
    if flags.unsupported() {
        return Err(FrameError::Unexpected("an answer with flags that were not agreed on"));
    }
    let (mut code, mut app_code, mut original) = (None, 0, None);
    let (mut message, mut retry_after, mut load) = (String::new(), None, None);
    let mut beside = false;
    for field in HeadReader::new(&frame.head) {
        let field = field?;
        match field.tag {
            tag::STATUS => code = Some(field.u8()?),
            tag::APP_CODE => app_code = field.u32()?,
            tag::MESSAGE => message = String::from_utf8_lossy(field.value).to_string(),
            tag::RETRY_AFTER => {
                retry_after = Some(Duration::from_millis(u64::from(field.u32()?)));
            }
            tag::SIZE => original = Some(field.u32()?),
            tag::LOAD => load = Some(field.u16()?),
            tag::META => beside = true,
            _ if field.ignorable() => {}
            _ => return Err(FrameError::Field { tag: field.tag }),
        }
    }
    if flags.contains(Flags::COMPRESSED) != original.is_some() {
        return Err(FrameError::Field { tag: tag::SIZE });
    }
    let Some(code) = code.filter(|code| *code != 0) else {
        let payload = Payload::new(frame.body, original);
        let payload = match beside {
            true => payload.with_headers(Metadata::read(&frame.head).into()),
            false => payload,
        };
        return Ok((Ok(payload), load));
    };
    let code = StatusCode::from_byte(code, app_code);
    let delivery = match code {
        _ if flags.contains(Flags::UNPROCESSED) => Delivery::NotProcessed,
        // These only a handler brings about.
        StatusCode::Application(_)
        | StatusCode::Internal
        | StatusCode::ResponseTooLarge
        | StatusCode::Unauthenticated
        | StatusCode::PermissionDenied
        | StatusCode::NoSuchResource => Delivery::Processed,
        _ => Delivery::Unknown,
    };
    let status = Status { code, message, detail: frame.body, retry_after };
    Ok((Err((status, delivery)), load))
}
