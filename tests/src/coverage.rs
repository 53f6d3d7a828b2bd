//! Situations with names: a sweep that never comes into one of them proves nothing about it.

macro_rules! situations {
    ($( $situation:ident = $name:literal, )*) => {
        /// A situation that lives should come into.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum Situation { $( $situation, )* }

        impl Situation {
            /// All of them.
            pub const ALL: &[Self] = &[ $( Self::$situation, )* ];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$situation => $name, )* }
            }
        }
    };
}

situations! {
    AnsweredNative = "answered by a native peer",
    AnsweredPlain = "answered by a plain peer",
    AnsweredSingleShot = "answered by a single-shot server",
    AnsweredBulk = "a large body was answered",
    AnsweredClosest = "answered by the closest node",
    Compressed = "a compressed body reached a handler",
    Reuse = "a pooled stream was used again",
    SeenTwice = "retried after a handler had seen it",
    AnsweredLater = "answered by a handler that had seen it before",
    BudgetExhausted = "the retry budget was used up",
    Failover = "a call went on to the next node",
    HedgeSent = "a hedge was sent",
    HedgeWon = "a hedge won",
    SecondRound = "a call asked a node again in another round",
    CancelledWaiting = "cancelled before a handler saw it",
    CancelledInFlight = "cancelled while a handler was at work",
    DeadlineWaiting = "a deadline passed while waiting for a stream",
    DeadlineWorking = "a deadline passed while a handler was at work",
    ReadTimeout = "no answer within the read timeout",
    WriteTimeout = "no progress within the write timeout",
    ConnectTimeout = "no stream within the connect timeout",
    Unreachable = "a peer could not be reached",
    Unsupported = "a peer did not know the protocol or format",
    FormatForgotten = "a peer came back with another format",
    Lost = "failed with its stream",
    RemoteClosed = "the peer closed without an answer",
    NotProcessed = "failed, and was surely not processed",
    Unknown = "failed, and may have been processed",
    HandlerFailed = "a handler failed",
    Busy = "a server was at its limit",
    NoMemory = "a server had no memory",
    TooLarge = "a body was too large for the server",
    ResponseTooLarge = "an answer was too large",
    NotFound = "a protocol was not registered any more",
    Draining = "a server was about to stop",
    DrainInFlight = "a server stopped with handlers at work",
    DrainCutOff = "a stopping server cut handlers off",
    ClientDrained = "the client stopped with requests under way",
    ClientClosed = "the client gave everything up",
    Overloaded = "refused because too many wait",
    NoNodes = "refused because there was no node",
    RefusedClosed = "refused because the client was stopping",
    CrashAtWork = "a server crashed with handlers at work",
    SilentCrash = "a server crashed and nobody said so",
    PartitionHealed = "answered by a peer after a partition",
    Stalled = "a stream stood still",
    ResetInside = "a stream broke after some bytes",
    HalfClosed = "one direction of a stream ended",
    ClockStalledClient = "the client's clock stood still",
    ClockStalledServer = "a server's clock stood still",
    Paused = "a server did not want to read",
    Filled = "bytes were read into the machine's own space",
    Retired = "streams retired",
    ServerIdle = "a server closed an idle stream",
    FirstByteLate = "no first request came in time",
    MessageLate = "a message did not end in time",
    WriteLate = "a peer did not take an answer in time",
    RawOpened = "a raw stream was opened",
    RawRefused = "a raw stream was not opened",
    ByzantineViolated = "a byzantine server broke the format",
    ByzantineAnswered = "a byzantine server answered",
    IntruderViolated = "a stranger broke the format",
    IntruderCutOff = "a stranger was cut off",
    Abandoned = "a handler was told to stop",
    AnsweredAbandoned = "a handler answered although told to stop",
    LimitMoved = "a server's limit has moved",
    BothFormats = "many streams to one peer",
    PlaceRenewed = "a request began on the place of another one",
    PlacesTogether = "requests that came together got places together",
    RenewalsUsedUp = "a place was used as often as it may be between two verdicts",
    ClosedWhileAsking = "a stream ended while messages of its were under way",
    StopWhileAsking = "a stream of a stopping server ended while messages of its were under way",
    HandlersStopped = "handlers were stopped together with their stream",
    ConnectionCut = "a connection broke",
    CutWhileAsking = "a connection broke while messages of its streams were under way",
    OpenedRetired = "a stream came up on a connection that was retired",
    Resumed = "a retired connection was used again",
    MadeRoom = "an idle stream made room for another one",
    NoRoom = "a stream was refused because its connection has too many",
    ResetTold = "a stream was reset, and that could be told",
    NotAccepted = "a connection broke before the peer took a stream",
    HandledInPlace = "a handler ran in the task of its connection",
    AnswerCompressed = "an answer was compressed",
    AnswersTogether = "several answers were written together",
    BatchLeftBehind = "requests waited until others on their stream were written",
    Coalesced = "a request waited a moment for others to leave with it",
    OffersOne = "a stream was offered in the format that worked before",
}

/// How often each situation was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Coverage {
    /// A situation was met.
    pub fn hit(&mut self, situation: Situation) {
        self.0.resize(Situation::ALL.len(), 0);
        self.0[situation as usize] += 1;
    }

    /// How often a situation was met.
    #[must_use]
    pub fn count(&self, situation: Situation) -> u64 {
        self.0.get(situation as usize).copied().unwrap_or(0)
    }

    /// Counts in how many lives each situation was met, if `other` is one life.
    pub fn add_life(&mut self, other: &Self) {
        self.0.resize(Situation::ALL.len(), 0);
        for (sum, hits) in self.0.iter_mut().zip(&other.0) {
            *sum += u64::from(*hits > 0);
        }
    }

    /// Adds sums of lives.
    pub fn merge(&mut self, other: &Self) {
        self.0.resize(Situation::ALL.len(), 0);
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }

    /// Situations that were never met.
    #[must_use]
    pub fn missing(&self) -> Vec<Situation> {
        let all = Situation::ALL.iter().copied();
        all.filter(|situation| self.count(*situation) == 0).collect()
    }
}
