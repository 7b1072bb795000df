//! Convolution of stacks and its gradients against loops in `f64`.
mod common;
use common::*;
use temper_kernels::conv::{self, Shape, Sums};

/// Slabs, images, inputs, outputs, groups, height, width, kernel, stride, padding.
const SHAPES: [[usize; 10]; 29] = [
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
    [3, 2, 1, 8, 1, 9, 11, 3, 1, 1],
    [3, 3, 3, 16, 1, 32, 32, 3, 1, 1],
    [1, 2, 3, 7, 1, 13, 6, 3, 2, 1],
    [3, 2, 5, 9, 1, 7, 7, 3, 1, 1],
    [3, 1, 8, 17, 1, 14, 14, 3, 2, 1],
    [3, 2, 16, 33, 1, 28, 28, 3, 2, 1],
    [1, 2, 16, 5, 1, 16, 16, 4, 2, 1],
    [3, 2, 6, 8, 2, 10, 9, 3, 1, 1],
    [3, 2, 12, 18, 3, 8, 8, 1, 1, 0],
    [1, 3, 10, 40, 1, 17, 15, 1, 1, 0],
    [3, 2, 7, 12, 1, 11, 13, 1, 2, 0],
    [1, 2, 4, 6, 1, 9, 10, 1, 3, 1],
    [3, 1, 2, 3, 1, 5, 4, 4, 1, 2],
    [1, 1, 3, 2, 1, 4, 4, 4, 1, 0],
    [3, 2, 3, 5, 1, 12, 10, 5, 3, 2],
    [1, 2, 2, 4, 1, 6, 7, 2, 2, 0],
    [1, 2, 2, 4, 1, 3, 3, 3, 1, 4],
    [3, 3, 64, 32, 1, 8, 8, 3, 1, 1],
    [1, 1, 130, 70, 1, 16, 16, 3, 1, 1],
    [1, 35, 4, 8, 1, 4, 4, 3, 2, 1],
    [3, 1, 24, 65, 1, 20, 40, 3, 1, 1],
    [1, 1, 2, 3, 1, 40, 1, 3, 1, 1],
    [1, 1, 260, 200, 1, 6, 6, 3, 1, 1],
    // At Winograd's points: rows that are no whole tile, groups, little and much padding, more than one block of tiles.
    [3, 2, 16, 16, 1, 13, 14, 3, 1, 1],
    [3, 2, 32, 48, 2, 9, 10, 3, 1, 1],
    [1, 2, 20, 16, 1, 11, 12, 3, 1, 0],
    [3, 1, 16, 18, 1, 7, 8, 3, 1, 2],
    [1, 1, 70, 64, 1, 30, 33, 3, 1, 1],
];

fn shape([slabs, images, inputs, outputs, groups, h, w, kernel, stride, padding]: [usize; 10]) -> Shape {
    Shape { slabs, images, inputs, outputs, groups, size: [h, w], kernel, stride, padding }
}

struct Data {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    g: Vec<f32>,
}

fn data(s: Shape) -> Data {
    let mut w = numbers(2, s.weight_len());
    // The magnitude has a kink at zero, where its gradient is zero.
    w[0] = 0.0;
    Data { x: numbers(1, s.input_len()), w, b: numbers(3, s.outputs), g: numbers(4, s.output_len()) }
}

/// Calls `f(radius, input, weight, output)` with the places of every multiply-add.
fn each(s: Shape, mut f: impl FnMut(bool, usize, usize, usize)) {
    let ([h, w], [oh, ow]) = (s.size, s.output());
    let (inputs, outputs) = (s.inputs / s.groups, s.outputs / s.groups);
    for image in 0..s.slabs * s.images {
        for o in 0..s.outputs {
            for c in 0..inputs {
                for (ky, kx) in (0..s.kernel * s.kernel).map(|i| (i / s.kernel, i % s.kernel)) {
                    for (y, x) in (0..oh * ow).map(|i| (i / ow, i % ow)) {
                        let (iy, ix) = (y * s.stride + ky, x * s.stride + kx);
                        if iy < s.padding || ix < s.padding || iy - s.padding >= h || ix - s.padding >= w {
                            continue;
                        }
                        let channel = image * s.inputs + o / outputs * inputs + c;
                        let input = (channel * h + iy - s.padding) * w + ix - s.padding;
                        let weight = ((o * inputs + c) * s.kernel + ky) * s.kernel + kx;
                        f(image >= 2 * s.images, input, weight, ((image * s.outputs + o) * oh + y) * ow + x);
                    }
                }
            }
        }
    }
}

#[test]
fn forward_equals_double_precision() {
    for s in SHAPES.map(shape) {
        let t = data(s);
        let (x, w) = (wide(&t.x), wide(&t.w));
        for (bias, sums) in [false, true].into_iter().flat_map(|bias| [(bias, Sums::Fast), (bias, Sums::Plain)]) {
            let y = conv::forward(&t.x, &t.w, bias.then_some(&t.b), s, sums);
            let mut expected = vec![0.0; y.len()];
            let plane = s.output_len() / (s.slabs * s.images * s.outputs);
            if bias {
                for (i, e) in expected.iter_mut().enumerate() {
                    let (image, o) = (i / plane / s.outputs, i / plane % s.outputs);
                    *e = if image < 2 * s.images { f64::from(t.b[o]) } else { 0.0 };
                }
            }
            each(s, |radius, i, k, o| expected[o] += x[i] * if radius { w[k].abs() } else { w[k] });
            close(&format!("{s:?} bias {bias} {sums:?}"), &y, &expected, 4e-6);
        }
    }
}

#[test]
fn gradients_equal_double_precision() {
    for s in SHAPES.map(shape) {
        let t = data(s);
        let (x, w, g) = (wide(&t.x), wide(&t.w), wide(&t.g));
        let mut expected = vec![0.0; x.len()];
        each(s, |radius, i, k, o| expected[i] += g[o] * if radius { w[k].abs() } else { w[k] });
        for sums in [Sums::Fast, Sums::Plain] {
            let dx = conv::backward_input(&t.g, &t.w, s, sums);
            close(&format!("{s:?} dx {sums:?}"), &dx, &expected, 2e-6);
        }

        let [dw, db] = conv::backward_weight(&t.x, &t.g, &t.w, s);
        let sign = |w: f64| if w == 0.0 { 0.0 } else { w.signum() };
        let mut expected = vec![0.0; dw.len()];
        each(s, |radius, i, k, o| expected[k] += g[o] * x[i] * if radius { sign(w[k]) } else { 1.0 });
        close(&format!("{s:?} dw"), &dw, &expected, 2e-6);

        let plane = s.output_len() / (s.slabs * s.images * s.outputs);
        let mut expected = vec![0.0; s.outputs];
        for (i, g) in g.iter().enumerate().take(s.images * s.outputs * plane * s.slabs.min(2)) {
            expected[i / plane % s.outputs] += g;
        }
        close(&format!("{s:?} db"), &db, &expected, 2e-6);
    }
}

#[test]
fn threads_do_not_matter() {
    for s in SHAPES.map(shape) {
        let t = data(s);
        same_for_all_pools(&format!("{s:?}"), || {
            let mut made = conv::backward_weight(&t.x, &t.g, &t.w, s).to_vec();
            for sums in [Sums::Fast, Sums::Plain] {
                made.push(conv::forward(&t.x, &t.w, Some(&t.b), s, sums));
                made.push(conv::backward_input(&t.g, &t.w, s, sums));
            }
            made
        });
    }
}

/// At Winograd's points the error of a batch, relative to its largest number, is that of a plain sum in f32, for signed numbers, and
/// for radii, where nothing is negative. (Of rows of one size: the next test has others.)
#[test]
fn winograd_is_as_exact_as_the_sum() {
    let s = shape([3, 1, 64, 64, 1, 32, 32, 3, 1, 1]);
    let mut t = data(s);
    let radii = 2 * s.input_len() / 3;
    t.x[radii..].iter_mut().for_each(|x| *x = x.abs());
    let (x, w) = (wide(&t.x), wide(&t.w));
    let y = conv::forward(&t.x, &t.w, None, s, Sums::Fast);
    let (mut plain, mut expected) = (vec![0.0_f32; y.len()], vec![0.0; y.len()]);
    each(s, |radius, i, k, o| {
        plain[o] = t.x[i].mul_add(if radius { t.w[k].abs() } else { t.w[k] }, plain[o]);
        expected[o] += x[i] * if radius { w[k].abs() } else { w[k] };
    });
    let error = |y: &[f32], expected: &[f64]| {
        let off = y.iter().zip(expected).map(|(y, e)| (f64::from(*y) - e).abs()).fold(0.0, f64::max);
        off / expected.iter().fold(0.0_f64, |m, e| m.max(e.abs()))
    };
    for (what, part) in [("signed", 0..y.len() / 3 * 2), ("radii", y.len() / 3 * 2..y.len())] {
        let [ours, sum] = [&y, &plain].map(|y| error(&y[part.clone()], &expected[part.clone()]));
        println!("{what}: {ours:.1e} of the largest, the plain sum {sum:.1e}");
        assert!(ours < 2.0 * sum, "{what}: {ours:.1e} against {sum:.1e}");
    }
}

/// One row is 10^5 times as large as the others. Outputs that do not see it are as exact as if it were not there: signed numbers
/// and radii, forwards, and backwards as linear bounds go.
#[test]
fn plain_sums_beside_a_large_row() {
    let s = shape([3, 1, 16, 16, 1, 16, 16, 3, 1, 1]);
    let mut t = data(s);
    const LARGE: usize = 5;
    let scale = |values: &mut [f32]| {
        values.iter_mut().enumerate().filter(|(i, _)| i / 16 % 16 == LARGE).for_each(|(_, value)| *value *= 1e5);
    };
    scale(&mut t.x);
    scale(&mut t.g);
    let radii = 2 * s.input_len() / 3;
    t.x[radii..].iter_mut().for_each(|x| *x = x.abs());
    let (x, w, g) = (wide(&t.x), wide(&t.w), wide(&t.g));
    let y = conv::forward(&t.x, &t.w, None, s, Sums::Plain);
    let dx = conv::backward_input(&t.g, &t.w, s, Sums::Plain);
    let (mut of_y, mut of_dx) = (vec![0.0; y.len()], vec![0.0; dx.len()]);
    each(s, |radius, i, k, o| {
        let w = if radius { w[k].abs() } else { w[k] };
        of_y[o] += x[i] * w;
        of_dx[i] += g[o] * w;
    });
    for (what, found, expected) in [("forward", &y, &of_y), ("backward", &dx, &of_dx)] {
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            if (i / 16 % 16).abs_diff(LARGE) > 1 {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-4,
                    "{what} {i}: {found}, {expected} in double precision"
                );
            }
        }
    }
}

/// At Winograd's points it also reaches its neighbours in the tile, but no other image.
#[test]
fn a_nan_comes_out_of_tiles() {
    let s = shape([3, 2, 16, 16, 1, 12, 9, 3, 1, 1]);
    let mut t = data(s);
    t.x[(2 * 16 + 3) * 108 + 6 * 9 + 4] = f32::NAN;
    let y = conv::forward(&t.x, &t.w, None, s, Sums::Fast);
    for (i, v) in y.iter().enumerate() {
        let (image, row, column) = (i / 108 / 16, i % 108 / 9, i % 9);
        let seen = image == 2 && (5..8).contains(&row) && (3..6).contains(&column);
        assert!(if seen { v.is_nan() } else { image == 2 || !v.is_nan() }, "image {image}, row {row}, column {column}");
    }
}

#[test]
fn a_nan_comes_out() {
    let s = shape([3, 1, 2, 3, 1, 9, 9, 3, 1, 1]);
    for place in 0..s.input_len() / 81 {
        let mut t = data(s);
        t.x[place * 81 + 40] = f32::NAN;
        let y = conv::forward(&t.x, &t.w, None, s, Sums::Fast);
        // All outputs of its slab that see the pixel, and no other.
        assert_eq!(y.iter().filter(|v| v.is_nan()).count(), 27, "NaN in plane {place}");
        assert!(y[place / 2 * 243..][..243].iter().filter(|v| v.is_nan()).count() == 27, "NaN in plane {place}");
    }
}

#[test]
fn no_images_give_zero_weight_gradients() {
    let s = shape([3, 0, 2, 3, 1, 9, 9, 3, 1, 1]);
    let w = numbers(1, s.weight_len());
    assert!(conv::forward(&[], &w, None, s, Sums::Fast).is_empty());
    assert!(conv::backward_input(&[], &w, s, Sums::Fast).is_empty());
    assert_eq!(conv::backward_weight(&[], &[], &w, s), [vec![0.0; s.weight_len()], vec![0.0; 3]]);
}
