//! Intervals as centres and radii, and back: what lies before and behind the sums of an interval bound.

use crate::lanes::{Lanes, widest};
use crate::sums::LANES;

/// Floats that can be the ends of intervals.
pub trait End: Copy {
    /// The middles of intervals, and how far their ends are from these.
    ///
    /// # Panics
    /// If there are not as many of all, a multiple of [`LANES`].
    fn middles(lower: &[Self], upper: &[Self], centres: &mut [Self], radii: &mut [Self]);

    /// Ends in the places of centres, which lack a bias, and radii: `centre + bias - radius` and `centre + bias + radius`, or `least` where
    /// they are less. What is no number, or of an infinite centre, becomes an infinity.
    ///
    /// # Panics
    /// As `middles`.
    fn meet(centres: &mut [Self], radii: &mut [Self], bias: Self, least: Self);
}

macro_rules! end {
    ($e:ident) => {
        impl End for $e {
            fn middles(lower: &[Self], upper: &[Self], centres: &mut [Self], radii: &mut [Self]) {
                let sizes = [lower, upper, centres, radii].map(|numbers| numbers.len());
                assert!(sizes == [sizes[0]; 4] && sizes[0].is_multiple_of(LANES), "middles: {sizes:?} numbers");
                widest!($e, to_middles(lower: &[$e], upper: &[$e], centres: &mut [$e], radii: &mut [$e], half: $e = 0.5));
            }

            fn meet(centres: &mut [Self], radii: &mut [Self], bias: Self, least: Self) {
                let sizes = [centres.len(), radii.len()];
                assert!(sizes[0] == sizes[1] && sizes[0].is_multiple_of(LANES), "meet: {sizes:?} numbers");
                let all = [bias, least, $e::INFINITY];
                widest!($e, to_ends(centres: &mut [$e], radii: &mut [$e], all: [$e; 3]));
            }
        }
    };
}

end!(f32);
end!(f64);

#[inline(always)]
unsafe fn to_middles<V: Lanes>(lower: &[V::E], upper: &[V::E], centres: &mut [V::E], radii: &mut [V::E], half: V::E) {
    // SAFETY: as many of all, whole vectors.
    unsafe {
        let half = V::splat(half);
        for at in (0..lower.len()).step_by(V::N) {
            let [l, u] = [V::load(lower.as_ptr().add(at)), V::load(upper.as_ptr().add(at))];
            // Not half of the sum, which may overflow.
            let m = half.mul(l).add(half.mul(u));
            m.store(centres.as_mut_ptr().add(at));
            u.sub(m).max(m.sub(l)).store(radii.as_mut_ptr().add(at));
        }
    }
}

#[inline(always)]
unsafe fn to_ends<V: Lanes>(centres: &mut [V::E], radii: &mut [V::E], all: [V::E; 3]) {
    // SAFETY: as many of both, whole vectors.
    unsafe {
        let [bias, least, infinity] = [V::splat(all[0]), V::splat(all[1]), V::splat(all[2])];
        for at in (0..centres.len()).step_by(V::N) {
            let (m, r) = (centres.as_mut_ptr().add(at), radii.as_mut_ptr().add(at));
            let (middle, radius) = (V::load(m).add(bias), V::load(r));
            // 0, or no number where a sum has overflowed: then it may be anywhere.
            let known = middle.sub(middle);
            middle.sub(radius).add(known).max(least).store(m);
            middle.add(radius).add(known).min(infinity).max(least).store(r);
        }
    }
}
