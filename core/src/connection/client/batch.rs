//! Which requests share a stream, and how many go out together.

/// Bodies above this size travel on a stream that carries nothing else meanwhile, so that small
/// requests never wait behind them.
pub const BULK: usize = 64 * 1024;

/// With fewer, or as many as the last, it pays to write all at once.
const FEW: usize = 8;
const MANY: usize = 64;
/// With so many the first ones leave by twos.
const PAIRS: usize = 16;
/// With so many under way the peer has work until the rest arrives.
const ENOUGH_WORK: usize = 12;

/// How many of the requests that wait for a stream are written next, where so many are under way on
/// it: at least one, if any waits.
///
/// Callers are woken together, by answers that came together, and so ask together again. If all of
/// it went out at once, the peer would have nothing to do meanwhile, and this end nothing while the
/// peer works on it. So the first ones leave by themselves, and the rest when the peer has work. The
/// server does likewise with answers. With 64 and more, nothing was won by it when it was measured.
#[must_use]
pub const fn batch_size(waiting: usize, in_flight: usize) -> usize {
    let all = waiting.saturating_add(in_flight);
    let early = if all < PAIRS { all / 4 * 3 } else { ENOUGH_WORK };
    let batch = if all < PAIRS { 1 } else { 2 };
    if all < FEW || all >= MANY || in_flight >= early || waiting < batch {
        return waiting;
    }
    batch
}
