//! The client: requests leave in batches, so that the peer has work while the next ones are written.

use pointsub_core::connection::batch_size;

/// What is written, one batch after the other, if so many wait and nothing is answered meanwhile.
fn batches(mut waiting: usize) -> Vec<usize> {
    let (mut written, mut batches) = (0, Vec::new());
    while waiting > 0 {
        let next = batch_size(waiting, written);
        waiting -= next;
        written += next;
        batches.push(next);
    }
    batches
}

#[test]
fn the_first_of_a_crowd_leave_by_themselves() {
    assert_eq!(batches(8), [1, 1, 1, 1, 1, 1, 2]);
    assert_eq!(batches(12), [1, 1, 1, 1, 1, 1, 1, 1, 1, 3]);
    assert_eq!(batches(16), [2, 2, 2, 2, 2, 2, 4]);
    assert_eq!(batches(63), [2, 2, 2, 2, 2, 2, 51]);
}

#[test]
fn a_few_or_very_many_leave_together() {
    for all in [1, 2, 7, 64, 1000] {
        assert_eq!(batches(all), [all]);
    }
    assert_eq!(batch_size(20, 12), 20, "the peer has work");
    assert_eq!((batch_size(0, 0), batch_size(0, 10), batch_size(1, 20)), (0, 0, 1));
}

/// A batch of nothing would leave requests where they are for ever.
#[test]
fn something_leaves_if_something_waits() {
    for (waiting, in_flight) in (1..100).flat_map(|w| (0..100).map(move |f| (w, f))) {
        assert!((1..=waiting).contains(&batch_size(waiting, in_flight)), "{waiting} {in_flight}");
    }
    assert_eq!(batch_size(usize::MAX, usize::MAX), usize::MAX);
}
