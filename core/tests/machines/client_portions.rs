//! The client: requests leave in portions, so that the peer has work while the next ones are written.

use pointsub_core::connection::portion;

/// What is written, one portion after the other, if so many wait and nothing is answered meanwhile.
fn portions(mut waiting: usize) -> Vec<usize> {
    let (mut written, mut portions) = (0, Vec::new());
    while waiting > 0 {
        let next = portion(waiting, written);
        waiting -= next;
        written += next;
        portions.push(next);
    }
    portions
}

#[test]
fn the_first_of_a_crowd_leave_by_themselves() {
    assert_eq!(portions(8), [1, 1, 1, 1, 1, 1, 2]);
    assert_eq!(portions(12), [1, 1, 1, 1, 1, 1, 1, 1, 1, 3]);
    assert_eq!(portions(16), [2, 2, 2, 2, 2, 2, 4]);
    assert_eq!(portions(63), [2, 2, 2, 2, 2, 2, 51]);
}

#[test]
fn a_few_or_very_many_leave_together() {
    for all in [1, 2, 7, 64, 1000] {
        assert_eq!(portions(all), [all]);
    }
    assert_eq!(portion(20, 12), 20, "the peer has work");
    assert_eq!((portion(0, 0), portion(0, 10), portion(1, 20)), (0, 0, 1));
}

/// A portion of nothing would leave requests where they are for ever.
#[test]
fn something_leaves_if_something_waits() {
    for (waiting, in_flight) in (1..100).flat_map(|w| (0..100).map(move |f| (w, f))) {
        assert!((1..=waiting).contains(&portion(waiting, in_flight)), "{waiting} {in_flight}");
    }
    assert_eq!(portion(usize::MAX, usize::MAX), usize::MAX);
}
