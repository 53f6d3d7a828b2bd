//! `pointsub ticket`: what is in a ticket, and a ticket of what one knows.

use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::Failure;
use crate::qr;
use crate::target::TargetArgs;
use crate::ticket::Ticket;

/// Arguments of `ticket`.
#[derive(Debug, Args)]
pub(crate) struct TicketArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Print it as a QR code
    #[arg(long)]
    qr: bool,
}

pub(crate) fn run(args: &TicketArgs, context: &Context) -> Result<(), Failure> {
    let target = args.target.resolve(&context.config)?;
    let ticket = Ticket::new(target.peer, target.addresses);
    let output = context.output;
    if output.json {
        return output.value(&json!({
            "peer": ticket.peer().to_string(),
            "addresses": ticket.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ticket": ticket.to_string(),
        }));
    }
    if args.qr {
        return output.line(qr::code(&ticket)?);
    }
    output.field("Peer ID", ticket.peer())?;
    for (at, address) in ticket.addresses().iter().enumerate() {
        output.field(if at == 0 { "Address" } else { "" }, address)?;
    }
    output.field("Ticket", &ticket)
}
