//! How many answers go out together.

/// Of the answers to what came together, so many go out in the first write, and in each further one
/// twice as many as in the one before.
const FIRST_ANSWERS: usize = 4;
/// How many answers wait to be written together.
const MOST_ANSWERS: usize = 64;

/// Counts the answers of one stream that wait for one write.
///
/// Requests arrive in batches, and are answered at once as a rule. If all answers of a batch went
/// out together, the peer would have nothing to do while they are made, and this end nothing while
/// the peer works on them. So the first few leave at once, and from then on both ends are busy;
/// the batches grow because each costs a write at both.
#[derive(Debug)]
pub(super) struct BatchSize {
    answers: usize,
    most: usize,
}

impl BatchSize {
    pub(super) const fn new() -> Self {
        Self { answers: 0, most: FIRST_ANSWERS }
    }

    /// Whether it is time to write.
    pub(super) const fn is_full(&self) -> bool {
        self.answers >= self.most
    }

    /// One more answer waits.
    pub(super) fn add(&mut self) {
        self.answers += 1;
    }

    /// All answers that waited are on their way.
    pub(super) fn written(&mut self) {
        if self.is_full() {
            self.most = MOST_ANSWERS.min(2 * self.most);
        }
        self.answers = 0;
    }

    /// Nothing is left to answer: what comes next is another batch.
    pub(super) fn end_batch(&mut self) {
        self.most = FIRST_ANSWERS;
    }
}
