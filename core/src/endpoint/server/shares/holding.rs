//! What somebody has of what is shared.

/// What somebody has of everything, over all streams.
#[derive(Debug, Default)]
pub(in crate::endpoint::server) struct Holding {
    /// Streams that have a place among all streams.
    pub(in crate::endpoint::server) streams: usize,
    /// Handlers at work, and those that were told to stop.
    pub(in crate::endpoint::server) requests: usize,
    pub(in crate::endpoint::server) raws: usize,
    /// Calls that are open, or about to be.
    pub(in crate::endpoint::server) calls: usize,
    pub(in crate::endpoint::server) memory: usize,
}

/// What is shared, each with a number of places.
#[derive(Copy, Clone, Debug)]
pub(in crate::endpoint::server) enum Kind {
    Stream,
    Request,
    Raw,
    Call,
}

impl Holding {
    pub(in crate::endpoint::server) const fn of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Stream => self.streams,
            Kind::Request => self.requests,
            Kind::Raw => self.raws,
            Kind::Call => self.calls,
        }
    }

    pub(in crate::endpoint::server) const fn of_mut(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Stream => &mut self.streams,
            Kind::Request => &mut self.requests,
            Kind::Raw => &mut self.raws,
            Kind::Call => &mut self.calls,
        }
    }
}
