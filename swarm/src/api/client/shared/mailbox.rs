//! The commands that wait for one stream's driver.

use std::task::{Context, Waker};

use libp2p_swarm::ConnectionId;
use pointsub_core::RequestId;
use pointsub_core::connection::{StreamCommand, batch_size};

/// The commands that wait for one stream's driver, in order.
#[derive(Debug)]
pub(super) struct Mailbox {
    commands: Vec<StreamCommand>,
    driver: Option<Waker>,
    /// On which connection the stream is.
    connection: Option<ConnectionId>,
}

impl Mailbox {
    pub(super) fn new(connection: Option<ConnectionId>) -> Self {
        Self { commands: Vec::new(), driver: None, connection }
    }

    pub(super) fn is_on(&self, connection: ConnectionId) -> bool {
        self.connection == Some(connection)
    }

    /// Whether a request still waits here, so that nothing of it was sent.
    pub(super) fn has(&self, waiting: RequestId) -> bool {
        self.commands.iter().any(|command| command.starts(waiting))
    }

    /// Adds a command. Returns the driver if it is to be woken: it takes all commands at once, so
    /// only the first has to wake it.
    pub(super) fn push(&mut self, command: StreamCommand) -> Option<Waker> {
        let first = self.commands.is_empty();
        self.commands.push(command);
        if first { self.driver.clone() } else { None }
    }

    /// Takes as many commands as travel together, where so many requests are under way, and
    /// remembers how to wake the driver for more. Whether something is left.
    pub(super) fn take_batch(
        &mut self,
        in_flight: usize,
        commands: &mut Vec<StreamCommand>,
        cx: &Context<'_>,
    ) -> bool {
        match &mut self.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            driver => *driver = Some(cx.waker().clone()),
        }
        let batch = batch_size(self.commands.len(), in_flight);
        if batch < self.commands.len() {
            commands.extend(self.commands.drain(..batch));
            return true;
        }
        self.take_all(commands);
        false
    }

    /// Exchanges what waits for `commands`, which is empty.
    pub(super) fn take_all(&mut self, commands: &mut Vec<StreamCommand>) {
        std::mem::swap(&mut self.commands, commands);
    }
}
