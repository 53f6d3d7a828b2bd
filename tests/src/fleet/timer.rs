//! When a machine wants to be called, and when that is planned.

/// A machine moves its deadline with each request; an event that is planned stays where it is.
#[derive(Debug, Default)]
pub(super) struct Timer {
    due: Option<u64>,
    planned: Option<u64>,
}

impl Timer {
    /// The machine wants to be called at `due`. Returns when an event is to be planned.
    pub(super) fn set(&mut self, due: Option<u64>) -> Option<u64> {
        self.due = due;
        let due = due?;
        if self.planned.is_some_and(|planned| planned <= due) {
            return None;
        }
        self.planned = Some(due);
        Some(due)
    }

    /// An event has come. `Ok` if the machine is to be called, `Err` with the time for which
    /// another event is to be planned.
    pub(super) fn rings(&mut self, now: u64) -> Result<bool, u64> {
        if self.planned != Some(now) {
            return Ok(false);
        }
        self.planned = None;
        match self.due {
            Some(due) if due > now => {
                self.planned = Some(due);
                Err(due)
            }
            due => Ok(due.is_some()),
        }
    }
}
