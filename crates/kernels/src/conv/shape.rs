//! The sizes of a convolution, and what its passes read and write.

use super::window::Geometry;

/// How the sums of products are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sums {
    /// At the points of Winograd where that saves products. A number beside much larger ones in its tile of four rows
    /// loses digits to them, so this is for training.
    #[default]
    Fast,
    /// Product by product: the rounding error of an output is that of its own products, so this is for bounds that are
    /// reported.
    Plain,
}

/// Sizes of a convolution of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 1: clean activations; 3: clean activations, centres and radii.
    pub slabs: usize,
    /// Images of a slab.
    pub images: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Groups of channels that do not see each other; divides both.
    pub groups: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros on every side of the input.
    pub padding: usize,
}

impl Shape {
    /// Height and width of the output.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input.
    pub fn output(&self) -> [usize; 2] {
        self.size.map(|size| {
            assert!(size + 2 * self.padding >= self.kernel, "conv: the kernel is larger than the padded input");
            (size + 2 * self.padding - self.kernel) / self.stride + 1
        })
    }

    /// Numbers of the input.
    pub fn input_len(&self) -> usize {
        self.slabs * self.images * self.inputs * self.size[0] * self.size[1]
    }

    /// Numbers of the output.
    pub fn output_len(&self) -> usize {
        let [height, width] = self.output();
        self.slabs * self.images * self.outputs * height * width
    }

    /// Numbers of the weight, `[outputs, inputs / groups, kernel, kernel]`.
    pub fn weight_len(&self) -> usize {
        self.outputs * self.taps()
    }

    /// Numbers that an output is a sum of.
    pub(super) fn taps(&self) -> usize {
        self.inputs / self.groups * self.kernel * self.kernel
    }

    /// Panics unless the numbers of input, weight and output are those of the shape.
    pub(super) fn check(&self, x: usize, w: usize, y: usize) {
        assert!(self.slabs == 1 || self.slabs == 3, "conv: {} slabs", self.slabs);
        assert!(self.kernel > 0 && self.stride > 0 && self.groups > 0, "conv: {self:?}");
        assert!(self.inputs.is_multiple_of(self.groups) && self.outputs.is_multiple_of(self.groups), "conv: {self:?}");
        assert_eq!(x, self.input_len(), "conv: input");
        assert_eq!(w, self.weight_len(), "conv: weight");
        assert_eq!(y, self.output_len(), "conv: output");
    }

    /// What the forward pass reads and writes, for one group of channels.
    pub(super) fn geometry(&self) -> Geometry {
        Geometry {
            channels: self.inputs / self.groups,
            source: self.size,
            out: self.output(),
            taps: [self.kernel; 2],
            step: self.stride,
            pad: [self.padding as isize; 2],
        }
    }

    /// What the gradient of input pixels `(s t + first)` reads and writes: `phase` is the remainder of row and column,
    /// counted in the padded input, by the stride. `None` if no output saw those pixels or there are none.
    pub(super) fn phase(&self, phase: [usize; 2]) -> Option<Phase> {
        let s = self.stride;
        let (mut taps, mut out, mut first, mut pad) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        for d in 0..2 {
            // Padded row s t + phase is input row s t + phase - padding; t begins where that is no longer negative.
            let start = self.padding.saturating_sub(phase[d]).div_ceil(s);
            first[d] = s * start + phase[d] - self.padding;
            taps[d] = self.kernel.saturating_sub(phase[d]).div_ceil(s);
            out[d] = self.size[d].saturating_sub(first[d]).div_ceil(s);
            // Tap u of the mirrored kernel reads output t - (taps - 1) + u.
            pad[d] = taps[d] as isize - 1 - start as isize;
        }
        let geometry =
            Geometry { channels: self.outputs / self.groups, source: self.output(), out, taps, step: 1, pad };
        (taps.iter().all(|&n| n > 0) && out.iter().all(|&n| n > 0)).then_some(Phase { phase, first, geometry })
    }
}

/// A part of the gradient of the input: every stride-th row and column.
#[derive(Clone, Copy)]
pub(super) struct Phase {
    /// The remainders of row and column.
    pub phase: [usize; 2],
    /// The first row and column of the input.
    pub first: [usize; 2],
    pub geometry: Geometry,
}
