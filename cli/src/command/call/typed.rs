//! Methods of typed services: JSON in, JSON out.

use std::fmt;

use pointsub_tokio::ProtocolName;
use pointsub_tokio::service::{CallError, Codec, Rejection, ServiceError, Streaming, Stub};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::CallArgs;
use super::callee::Callee;
use crate::context::Context;
use crate::error::{Exit, Failure};

/// The error of a service, whatever it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Refused(Value);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get("message").and_then(Value::as_str) {
            Some(message) => f.write_str(message),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl ServiceError for Refused {}

type Open = Streaming<Value, Value, Value, Refused>;

/// A method that is to be called.
pub(super) struct Typed<'a> {
    pub(super) args: &'a CallArgs,
    pub(super) context: &'a Context,
    pub(super) callee: Callee,
    pub(super) protocol: ProtocolName,
}

impl Typed<'_> {
    /// Calls it as a method without messages, and opens a call if it turns out to have some: until then,
    /// nothing has run.
    pub(super) async fn call(&self, method: &str, arguments: Value) -> Result<(), Failure> {
        let stub = Stub::through(self.callee.clone(), self.protocol.clone());
        let stub = stub.with_codec(Codec::Json);
        if !self.args.lines {
            let call = stub.call::<Value, Value, Refused>(method, arguments.clone());
            let mut call = call.timeout(self.context.timeout()).idempotent(!self.args.once);
            for (key, value) in &self.args.headers {
                call = call.metadata(key, value);
            }
            match call.await {
                Ok(result) => {
                    self.callee.tell(self.context.output);
                    return self.print_result(&result);
                }
                Err(CallError::Rejected { reason: Rejection::NotStreaming, .. }) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        let mut call = stub.open::<Value, Value, Value, Value, Refused>(method, arguments);
        // A subscription lasts as long as it lasts, unless a time is given.
        if let Some(timeout) = self.context.timeout {
            call = call.timeout(timeout);
        }
        for (key, value) in &self.args.headers {
            call = call.metadata(key, value);
        }
        let mut call = call.await.map_err(failure)?;
        self.context.output.detail(format_args!("{} has accepted the call", call.peer()));
        self.callee.tell(self.context.output);
        self.send(&mut call).await?;
        call.finish_sending();
        while let Some(message) = call.recv().await.map_err(failure)? {
            self.print_message(&message)?;
        }
        let result = call.finish().await.map_err(failure)?;
        match result.is_null() && !self.context.output.json {
            true => Ok(()),
            false => self.print_result(&result),
        }
    }

    /// Sends the lines of the standard input, and prints what comes meanwhile.
    async fn send(&self, call: &mut Open) -> Result<(), Failure> {
        if !self.args.lines {
            return Ok(());
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let (mut number, mut receiving) = (0u64, true);
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line,
                message = call.recv(), if receiving => {
                    match message.map_err(failure)? {
                        Some(message) => self.print_message(&message)?,
                        None => receiving = false,
                    }
                    continue;
                }
            };
            let line = line.map_err(|error| {
                Failure::local(format_args!("cannot read the standard input: {error}"))
            })?;
            let Some(line) = line else { return Ok(()) };
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            let message = serde_json::from_str(&line).map_err(|error| {
                Failure::usage(format_args!("line {number} of the input is no JSON: {error}"))
            })?;
            call.send(message).await.map_err(failure)?;
        }
    }

    fn print_message(&self, value: &Value) -> Result<(), Failure> {
        match self.context.output.json {
            true => self.context.output.value(&json!({ "event": "message", "value": value })),
            false => self.context.output.value(value),
        }
    }

    fn print_result(&self, value: &Value) -> Result<(), Failure> {
        if !self.context.output.json {
            return self.context.output.value(value);
        }
        let mut result = json!({ "event": "result", "value": value });
        if let Some(answered) = self.callee.answered() {
            [result["peer"], result["source"]] = answered.values();
        }
        self.context.output.value(&result)
    }
}

fn failure(error: CallError<Refused>) -> Failure {
    match error {
        CallError::Service { error: Refused(value), .. } => {
            let text = Refused(value.clone()).to_string();
            Failure::new(Exit::Refused, text).with_detail(value)
        }
        error => error.into(),
    }
}
