//! `pointsub completions` and `pointsub man`: what shells and readers need.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::error::Failure;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder for the pages, which is made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Prints the script for a shell.
pub(crate) fn completions(args: &CompletionsArgs, context: &Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pointsub", &mut script);
    context.output.bytes(&script)
}

/// Writes a page for the program and for each of its commands.
pub(crate) fn man(args: &ManArgs, context: &Context) -> Result<(), Failure> {
    let folder = &args.folder;
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error: io::Error| Failure::file(folder, &error))?;
    match context.output.json {
        true => {
            context.output.value(&serde_json::json!({ "folder": folder.display().to_string() }))
        }
        false => context.output.line(format_args!("man -l {}/pointsub.1", folder.display())),
    }
}
