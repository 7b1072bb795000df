//! Branch and bound: which of two splits is taken.

use temper_verify::branch::score::worth;

#[test]
fn a_split_that_closes_a_half_is_taken_before_one_that_raises_both() {
    assert!(worth([0.5, -1.0]) > worth([-0.4, -0.4]));
    // Of those that close one, the better by the half that stays; how far the other is closed does not count.
    assert!(worth([0.1, -0.8]) > worth([9.0, -1.0]));
    // Sides do not matter, and nothing does more than a half that is nearly closed.
    assert_eq!(worth([-2.0, -0.1]), worth([-0.1, -2.0]));
    assert!(worth([-0.1, -2.0]) > worth([-0.5, -0.5]));
}
