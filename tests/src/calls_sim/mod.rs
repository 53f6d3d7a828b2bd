//! The simulator of calls: the two ends of a stream, each a
//! [`Calls`](pointsub_core::connection::Calls), with applications that write, read, wait, cancel and
//! end, over pipes that delay and fill up. After a while all applications read; then every call has
//! to end.
//!
//! Beside that, one call is opened again and again (`resume`).
//!
//! Equal seeds give equal lives.

mod app;
mod check;
mod plan;
mod resume;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use check::Ledger;
use world::World;

/// A mistake that is made on purpose, to see that it is found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A message is not counted as taken.
    TakenNever,
    /// A message counts as taken twice.
    TakenTwice,
    /// A message, or a part of one, is lost.
    DataLost,
    /// One comes twice.
    DataTwice,
    /// Two change places.
    DataSwapped,
    /// The end of messages is lost.
    FinishLost,
    /// Credit is lost.
    CreditLost,
    /// An answer overtakes the last message.
    AnswerFirst,
    /// An answer comes twice.
    AnswerTwice,
    /// A cancellation is lost.
    CancelLost,
    /// A cancellation waits until there is nothing else to write.
    CancelBehindData,
    /// A handler that has stopped does not say so.
    StopUnsaid,
    /// A call is opened again one message before its cursor.
    ResumedStale,
    /// A call is opened again one message behind its cursor.
    ResumedAhead,
    /// While a call moves, messages of the one before are taken.
    MovedUnread,
    /// A call that has moved is not cancelled where it was.
    LeftBehind,
    /// A call is opened again although it was given up.
    TriedForever,
    /// A call that lacks nothing but its result is not opened again.
    ResultForgotten,
    /// What comes again behind the end of messages is handed out.
    ToldBehindEnd,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::TakenNever,
        Self::TakenTwice,
        Self::DataLost,
        Self::DataTwice,
        Self::DataSwapped,
        Self::FinishLost,
        Self::CreditLost,
        Self::AnswerFirst,
        Self::AnswerTwice,
        Self::CancelLost,
        Self::CancelBehindData,
        Self::StopUnsaid,
        Self::ResumedStale,
        Self::ResumedAhead,
        Self::MovedUnread,
        Self::LeftBehind,
        Self::TriedForever,
        Self::ResultForgotten,
        Self::ToldBehindEnd,
    ];
}

/// What a life came to.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Calls that ended with a result, with a failure of the handler, and for another reason.
    pub ok: u64,
    /// Calls that ended with a failure.
    pub failed: u64,
    /// Calls that were cancelled after a handler had them.
    pub cancelled: u64,
    /// Messages that were taken.
    pub messages: u64,
    /// Messages of several parts among them.
    pub long: u64,
    /// Times that a message waited for credit.
    pub waited: u64,
    /// Calls whose deadline, or patience, was over.
    pub expired: u64,
    /// Messages that were refused because they were too long.
    pub refused: u64,
    /// Messages that were taken by readers that had stopped for a minute.
    pub late: u64,
    /// Times that a call was accepted again.
    pub resumed: u64,
    /// Times that a call was accepted elsewhere while it was open.
    pub moved: u64,
    /// Results that came when the call was opened again for them.
    pub results: u64,
    /// Calls that were not tried any further.
    pub gave_up: u64,
}

impl Met {
    /// The sums of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
            messages: self.messages + other.messages,
            long: self.long + other.long,
            waited: self.waited + other.waited,
            expired: self.expired + other.expired,
            refused: self.refused + other.refused,
            late: self.late + other.late,
            resumed: self.resumed + other.resumed,
            moved: self.moved + other.moved,
            results: self.results + other.results,
            gave_up: self.gave_up + other.gave_up,
        }
    }
}

/// Lives the life of a seed, perhaps with a planted fault.
///
/// # Errors
/// What did not hold.
pub fn live(seed: u64, planted: Option<Planted>) -> Result<Met, String> {
    let (mut world, mut resumed) = (World::new(seed, planted), resume::World::new(seed, planted));
    catch_unwind(AssertUnwindSafe(|| Ok(world.live()?.and(resumed.live()?))))
        .unwrap_or_else(|_| Err("a machine panics".to_owned()))
}
