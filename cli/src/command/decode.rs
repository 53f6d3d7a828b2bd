//! `pointsub decode`: the frames in a hex dump or in bytes.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pointsub_core::Format;
use serde_json::json;

use crate::context::Context;
use crate::decode::{decode, undump};
use crate::error::{Exit, Failure};

/// No more is read.
const MOST: u64 = 256 * 1024 * 1024;

/// Arguments of `decode`.
#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// The file with one direction of one stream; - or nothing for the standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// In which format the frames are. Default: the native one if the bytes begin like that
    #[arg(long, value_enum)]
    format: Option<FormatArg>,

    /// The file has the bytes themselves, also if it looks like a hex dump
    #[arg(long)]
    raw: bool,

    /// Show whole bodies
    #[arg(long)]
    whole: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    /// A length and a body: WIRE.md, section 1
    Plain,
    /// Frames with headers and fields: WIRE.md, section 2
    Native,
}

pub(crate) fn run(args: &DecodeArgs, context: &Context) -> Result<(), Failure> {
    let input = read(args)?;
    let bytes = if args.raw { None } else { undump(&input) };
    let bytes = bytes.unwrap_or(input).into();
    let format = args.format.map(|format| match format {
        FormatArg::Plain => Format::Plain,
        FormatArg::Native => Format::Native,
    });
    let decoded = decode(&bytes, format);
    match context.output.json {
        true => decoded.values().iter().try_for_each(|value| context.output.value(value))?,
        false => {
            decoded.lines(args.whole).iter().try_for_each(|line| context.output.line(line))?;
        }
    }
    match decoded.error {
        None => Ok(()),
        Some((at, error)) => {
            let failure = Failure::new(Exit::Malformed, format_args!("at byte {at}: {error}"));
            Err(failure.with_detail(json!({ "offset": at })).next(
                "is it one direction of one stream, from its beginning, and behind the negotiation?",
            ))
        }
    }
}

fn read(args: &DecodeArgs) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let named = args.file.as_ref().filter(|path| path.as_os_str() != "-");
    let read = match named {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| Failure::file(path, &error))?;
            file.take(MOST + 1).read_to_end(&mut bytes)
        }
        None => std::io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes),
    };
    read.map_err(|error| Failure::local(format_args!("cannot read the input: {error}")))?;
    match bytes.len() as u64 > MOST {
        true => Err(Failure::usage(format_args!("the input has more than {MOST} bytes"))),
        false => Ok(bytes),
    }
}
