//! Room for what a kernel hands back, which is written once and not cleared first: clearing would take as long as a simple
//! kernel.
//!
//! A kernel gets the room as [`Slot`]s, which can be written and not read. It returns them as numbers, and [`make_output`] takes
//! nothing else for a proof that they were written. Every such step from slots to numbers is a line of `unsafe` that says
//! which loop wrote all of them. That the loops do is checked in debug builds and under [`poison_outputs`]: slots then begin
//! as a NaN that no arithmetic makes, and a kernel that leaves one of them panics.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// A number that may not have been written yet.
pub(crate) type Slot = MaybeUninit<f32>;

/// Whether outputs are poisoned: see [`poison_outputs`].
static POISON: AtomicBool = AtomicBool::new(false);

/// A signalling NaN: arithmetic makes only quiet ones.
const UNWRITTEN: u32 = 0x7fa5_5a5a;

/// Only for tests: from now on temporary memory begins as NaN in the whole process, and a kernel panics that does not write
/// every number of its output.
#[doc(hidden)]
pub fn poison_outputs() {
    POISON.store(true, Ordering::Relaxed);
}

/// Whether [`poison_outputs`] was called.
pub(crate) fn poisoned() -> bool {
    POISON.load(Ordering::Relaxed)
}

/// `len` numbers, all of them written by `fill`, which returns the slots that it was given.
pub(crate) fn make_output(len: usize, fill: impl FnOnce(&mut [Slot]) -> &mut [f32]) -> Vec<f32> {
    let [numbers] = make_all([len], |[slots]| [fill(slots)]);
    numbers
}

/// [`make_output`] for several outputs at once.
pub(crate) fn make_all<const N: usize>(
    lengths: [usize; N],
    fill: impl for<'a> FnOnce([&'a mut [Slot]; N]) -> [&'a mut [f32]; N],
) -> [Vec<f32>; N] {
    let checked = cfg!(debug_assertions) || poisoned();
    let mut rooms = lengths.map(Vec::with_capacity);
    let mut slots = rooms.each_mut().map(Vec::spare_capacity_mut);
    for (slots, length) in slots.iter_mut().zip(lengths) {
        *slots = &mut std::mem::take(slots)[..length];
        if checked {
            slots.fill(Slot::new(f32::from_bits(UNWRITTEN)));
        }
    }
    let starts = slots.each_ref().map(|slots| slots.as_ptr());
    let written = fill(slots);
    for ((numbers, start), length) in written.iter().zip(starts).zip(lengths) {
        assert!(numbers.as_ptr() == start.cast() && numbers.len() == length, "a kernel returned other numbers");
        if checked {
            let left = numbers.iter().position(|v| v.to_bits() == UNWRITTEN);
            assert!(left.is_none(), "a kernel did not write number {left:?} of {length}");
        }
    }
    for (room, length) in rooms.iter_mut().zip(lengths) {
        // SAFETY: `fill` returned a slice of numbers at this place and of this length, so they are initialised.
        unsafe { room.set_len(length) };
    }
    rooms
}

/// Numbers to be overwritten by what else fills slots.
///
/// # Safety
/// Only numbers may be written: through this reference, a slot could become unwritten again.
pub(crate) unsafe fn slots(numbers: &mut [f32]) -> &mut [Slot] {
    // SAFETY: the same layout, and the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}

/// Writes the same number into every slot.
pub(crate) fn fill(slots: &mut [Slot], value: f32) -> &mut [f32] {
    slots.fill(Slot::new(value));
    // SAFETY: written in the line above.
    unsafe { slots.assume_init_mut() }
}
