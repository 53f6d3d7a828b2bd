//! Tickets for cameras.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::error::Failure;
use crate::ticket::Ticket;

/// A QR code of block characters. Capital letters and digits take the least room in one.
pub(crate) fn code(ticket: &Ticket) -> Result<String, Failure> {
    let text = ticket.to_string().to_ascii_uppercase();
    let code = QrCode::new(text.as_bytes()).map_err(|error| {
        Failure::usage(format_args!("no QR code is large enough for the ticket: {error}"))
            .next("choose fewer addresses with --listen")
    })?;
    // Dark on light, whatever the terminal's colours are: most scanners take it inverted as well.
    let mut code = code.render::<Dense1x2>();
    Ok(code.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}
