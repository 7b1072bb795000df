//! The gradient of the input: correlations of the output's gradient with the mirrored kernel, one for each phase of the
//! input.

use super::correlate::{Part, Pass, Whole, correlate};
use super::shape::{Phase, Shape, Sums};
use crate::arch::dispatch;
use crate::extent::{PtrMut, Shared};
use crate::output::{self, Slot, make_output};
use crate::scratch;
use rayon::prelude::*;

/// The gradient of the input, `[slabs, images, inputs, H, W]`, for the gradient `g` of the output. With a stride the sums are
/// made product by product whatever `sums` says.
///
/// # Panics
/// As [`forward`](super::forward).
pub fn backward_input(g: &[f32], w: &[f32], shape: Shape, sums: Sums) -> Vec<f32> {
    shape.check(shape.input_len(), w.len(), g.len());
    if shape.input_len() == 0 {
        return Vec::new();
    }
    let inputs = shape.inputs / shape.groups;
    let phases = || (0..shape.stride * shape.stride).filter_map(|i| shape.phase([i / shape.stride, i % shape.stride]));
    make_output(shape.input_len(), |dx| {
        if shape.stride == 1 {
            let phase = phases().next().expect("a stride of 1 has one phase");
            let value = |radius, g, c, tap| mirrored(&shape, &phase, w, radius, [g, c], tap);
            correlate(&Whole::new(&shape, phase.geometry, inputs, sums, value), g, None, dx, &shape)
        } else {
            let passes = phases().map(|phase| {
                let value = |radius, g, c, tap| mirrored(&shape, &phase, w, radius, [g, c], tap);
                (phase, Pass::new(&shape, phase.geometry, inputs, value))
            });
            strided(&passes.collect::<Vec<_>>(), g, dx, &shape)
        }
    })
}

/// The weight (or its magnitude) that leads from input channel c and tap (output channel o, u, v) of the mirrored kernel of a
/// phase, in group g.
fn mirrored(shape: &Shape, phase: &Phase, w: &[f32], radius: bool, [g, c]: [usize; 2], [o, u, v]: [usize; 3]) -> f32 {
    let (k, outputs) = (shape.kernel, shape.outputs / shape.groups);
    let at = |d: usize, tap: usize| phase.phase[d] + shape.stride * (phase.geometry.taps[d] - 1 - tap);
    let w = w[(g * outputs + o) * shape.taps() + (c * k + at(0, u)) * k + at(1, v)];
    if radius { w.abs() } else { w }
}

/// The gradient of the input of a convolution with a stride: each phase by itself, then put in its place.
fn strided<'a>(phases: &[(Phase, Pass)], g: &[f32], dx: &'a mut [Slot], shape: &Shape) -> &'a mut [f32] {
    let (inputs, outputs) = (shape.inputs / shape.groups, shape.outputs / shape.groups);
    // Pixels that no output saw.
    let partial = shape.stride > shape.kernel;
    let output: usize = shape.output().iter().product();
    let plane = shape.size[0] * shape.size[1];
    let buffers = phases.iter().map(|(_, pass)| pass.buffer()).max().unwrap_or(0);
    let made = |phase: &Phase| inputs * phase.geometry.out[0] * phase.geometry.out[1];
    let largest = phases.iter().map(|(phase, _)| made(phase)).max().unwrap_or(0);
    // The common stride with a kernel that leaves no phase out: two phases are the even and the odd columns of the same rows.
    let together = if shape.stride == 2 && phases.len() == 4 { 2 } else { 1 };
    let shared = Shared::new(&mut *dx);
    (0..shape.slabs * shape.images).into_par_iter().for_each(|image| {
        let radius = image >= 2 * shape.images;
        let mut buffer = scratch::take(buffers);
        let mut planes = [0; 2].map(|_| scratch::take(largest));
        for group in 0..shape.groups {
            let g = &g[(image * shape.outputs + group * outputs) * output..][..outputs * output];
            // SAFETY: every image and group has its own part of the gradient.
            let dx = unsafe { shared.part((image * shape.inputs + group * inputs) * plane, inputs * plane) };
            if partial {
                output::fill(dx, 0.0);
            }
            for phases in phases.chunks(together) {
                for ((phase, pass), to) in phases.iter().zip(&mut planes) {
                    let [height, width] = phase.geometry.out;
                    let part = Part { group, radius, bias: None, source: g };
                    // SAFETY: the parts were cut to what the geometry addresses.
                    unsafe { pass.rows(part, height, (PtrMut::of(to), height * width), &mut buffer) };
                }
                match phases {
                    [(phase, _)] => spread(&planes[0][..made(phase)], dx, phase, shape),
                    [(a, _), (b, _)] => weave([(&planes[0], a), (&planes[1], b)], dx, shape),
                    _ => unreachable!("one or two together"),
                }
            }
        }
    });
    // SAFETY: every pixel belongs to one phase. Only where the stride is larger than the kernel is a phase left out, and then
    // zeros were written first.
    unsafe { dx.assume_init_mut() }
}

/// Puts a phase, `[channels, rows, columns]`, where it belongs in the input.
fn spread(made: &[f32], dx: &mut [Slot], phase: &Phase, shape: &Shape) {
    let (s, [height, whole]) = (shape.stride, shape.size);
    let [rows, width] = phase.geometry.out;
    for (channel, from) in made.chunks_exact(rows * width).enumerate() {
        for (y, from) in from.chunks_exact(width).enumerate() {
            let to = (channel * height + y * s + phase.first[0]) * whole + phase.first[1];
            for (to, from) in dx[to..].iter_mut().step_by(s).zip(from) {
                to.write(*from);
            }
        }
    }
}

/// Puts two phases of a stride of 2, which have the same rows and between them all columns, where they belong in the input.
fn weave(phases: [(&[f32], &Phase); 2], dx: &mut [Slot], shape: &Shape) {
    let [a, b] = phases;
    // Which one has column 0.
    let [even, odd] = if a.1.first[1] == 0 { [a, b] } else { [b, a] };
    let [height, whole] = shape.size;
    let (rows, first) = (even.1.geometry.out[0], even.1.first[0]);
    let [evens, odds] = [even.1.geometry.out[1], odd.1.geometry.out[1]];
    dispatch(
        #[inline(always)]
        |_| {
            for line in 0..dx.len() / (height * whole) * rows {
                let y = line / rows * height + line % rows * 2 + first;
                let (to, last) = dx[y * whole..][..whole].as_chunks_mut::<2>();
                let (even, odd) = (&even.0[line * evens..][..evens], &odd.0[line * odds..][..odds]);
                for ((to, even), odd) in to.iter_mut().zip(even).zip(odd) {
                    *to = [Slot::new(*even), Slot::new(*odd)];
                }
                if let ([last], Some(even)) = (last, even.last()) {
                    last.write(*even);
                }
            }
        },
    );
}
