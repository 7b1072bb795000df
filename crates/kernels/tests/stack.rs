//! The operations on stacks that are not convolutions against `f64`.
mod common;
use common::*;
use temper_kernels::channel_affine::{self, Dims};
use temper_kernels::linear::Dims as Linear;
use temper_kernels::{channel_moments, dense, interval_moments, margins, relu};

/// Centres anywhere and radii of at least zero.
fn stack(seed: u64, slabs: usize, slab: usize) -> Vec<f32> {
    let mut x = numbers(seed, slabs * slab);
    x.iter_mut().skip(2 * slab).for_each(|r| *r = 0.4 * r.abs());
    x
}

fn sign(w: f64) -> f64 {
    if w == 0.0 { 0.0 } else { w.signum() }
}

const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [3, 2, 35], [2, 17, 16], [40, 33, 1], [7, 3, 1000], [3, 5, 9000]];

#[test]
fn dense_and_its_gradients() {
    for (slabs, rows, inputs, outputs) in [(1, 1, 1, 1), (3, 1, 3, 2), (3, 65, 40, 17), (3, 9, 700, 300), (1, 33, 5, 8)]
    {
        let d = Linear { rows, inputs, outputs };
        let what = format!("dense {slabs} {d:?}");
        let (x, b, g) = (stack(1, slabs, rows * inputs), numbers(3, outputs), numbers(4, slabs * rows * outputs));
        let mut w = numbers(2, outputs * inputs);
        w[0] = 0.0;
        let (y, dx) = (dense::forward(&x, &w, &b, slabs, d), dense::backward_input(&g, &w, slabs, d));
        let (dw, db) = (dense::backward_weight(&x, &g, &w, slabs, d), dense::backward_bias(&g, slabs, d));
        let (x64, w64, g64) = (wide(&x), wide(&w), wide(&g));
        let (mut ey, mut edx) = (vec![0.0; y.len()], vec![0.0; dx.len()]);
        let (mut edw, mut edb) = (vec![0.0; w.len()], vec![0.0; outputs]);
        for row in 0..slabs * rows {
            for o in 0..outputs {
                let (radius, g) = (row >= 2 * rows, g64[row * outputs + o]);
                if !radius {
                    ey[row * outputs + o] += f64::from(b[o]);
                    edb[o] += g;
                }
                for i in 0..inputs {
                    let (x, w) = (x64[row * inputs + i], w64[o * inputs + i]);
                    let (used, slope) = if radius { (w.abs(), sign(w)) } else { (w, 1.0) };
                    ey[row * outputs + o] += used * x;
                    edx[row * inputs + i] += used * g;
                    edw[o * inputs + i] += slope * x * g;
                }
            }
        }
        close(&format!("{what} y"), &y, &ey, 2e-6);
        close(&format!("{what} dx"), &dx, &edx, 2e-6);
        close(&format!("{what} dw"), &dw, &edw, 2e-6);
        close(&format!("{what} db"), &db, &edb, 2e-6);
    }
}

#[test]
fn moments_of_channels_with_a_large_mean() {
    for [n, c, plane] in SHAPES {
        let x: Vec<f32> = numbers(1, n * c * plane).iter().map(|v| 0.01 * v + 20.0).collect();
        let g = numbers(2, 2 * c);
        let dims = Dims { slabs: 1, channels: c, plane };
        let moments = channel_moments::forward(&x, dims);
        let dx = channel_moments::backward(&x, &moments, &g, dims);
        let count = (n * plane) as f64;
        let (mut expected, mut edx) = (vec![0.0; 2 * c], vec![0.0; x.len()]);
        for channel in 0..c {
            let places: Vec<usize> = (0..n * plane).map(|i| (i / plane * c + channel) * plane + i % plane).collect();
            let mean = places.iter().map(|&i| f64::from(x[i])).sum::<f64>() / count;
            let variance = places.iter().map(|&i| (f64::from(x[i]) - mean).powi(2)).sum::<f64>() / count;
            (expected[channel], expected[c + channel]) = (mean, variance);
            for i in places {
                edx[i] = (f64::from(g[channel]) + 2.0 * f64::from(g[c + channel]) * (f64::from(x[i]) - mean)) / count;
            }
        }
        close(&format!("{n}x{c}x{plane} mean"), &moments[..c], &expected[..c], 1e-7);
        for (got, expected) in moments[c..].iter().zip(&expected[c..]) {
            assert!((f64::from(*got) - expected).abs() <= 1e-6 * expected + 1e-12, "{got} {expected}");
        }
        close(&format!("{n}x{c}x{plane} dx"), &dx, &edx, 2e-6);
    }
}

#[test]
fn affine_maps_of_channels() {
    for slabs in [1, 3] {
        for [n, channels, plane] in SHAPES {
            let dims = Dims { slabs, channels, plane };
            let x = stack(1, slabs, n * channels * plane);
            let (scale, shift, g) = (numbers(2, channels), numbers(3, channels), numbers(4, x.len()));
            let (y, mut dx) = (channel_affine::forward(&x, &scale, &shift, dims), g.clone());
            let [dscale, dshift] = channel_affine::backward(&x, &scale, &mut dx, dims);
            let (mut ey, mut edx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let (mut es, mut et) = (vec![0.0; channels], vec![0.0; channels]);
            for i in 0..x.len() {
                let (c, radius) = (i / plane % channels, i >= 2 * n * channels * plane);
                let (x, g, s, t) = (f64::from(x[i]), f64::from(g[i]), f64::from(scale[c]), f64::from(shift[c]));
                ey[i] = if radius { s.abs() * x } else { s * x + t };
                edx[i] = g * if radius { s.abs() } else { s };
                es[c] += g * x * if radius { sign(s) } else { 1.0 };
                et[c] += if radius { 0.0 } else { g };
            }
            let what = format!("{dims:?} of {n}");
            close(&format!("{what} y"), &y, &ey, 2e-7);
            close(&format!("{what} dx"), &dx, &edx, 2e-7);
            close(&format!("{what} dscale"), &dscale, &es, 2e-6);
            close(&format!("{what} dshift"), &dshift, &et, 2e-6);
        }
    }
}

#[test]
fn relu_of_stacks() {
    for slabs in [1, 3] {
        for slab in [1, 7, 9000] {
            let (mut x, g) = (stack(1, slabs, slab), numbers(2, slabs * slab));
            x[0] = 0.0;
            let (y, mut dx) = (relu::forward(&x, slabs), g.clone());
            relu::backward(&x, &mut dx, slabs);
            let (mut ey, mut edx) = (wide(&y), wide(&dx));
            let step = |v: f64| f64::from(u8::from(v > 0.0));
            for i in 0..slab {
                (ey[i], edx[i]) = (f64::from(x[i].max(0.0)), step(x[i].into()) * f64::from(g[i]));
                if slabs == 3 {
                    let [c, r] = [slab + i, 2 * slab + i].map(|i| f64::from(x[i]));
                    let [gc, gr] = [slab + i, 2 * slab + i].map(|i| f64::from(g[i]));
                    let (u, l) = (c + r, c - r);
                    (ey[slab + i], ey[2 * slab + i]) =
                        ((u.max(0.0) + l.max(0.0)) / 2.0, (u.max(0.0) - l.max(0.0)) / 2.0);
                    let (gu, gl) = (step(u) * (gc + gr) / 2.0, step(l) * (gc - gr) / 2.0);
                    (edx[slab + i], edx[2 * slab + i]) = (gu + gl, gu - gl);
                }
            }
            close("relu", &y, &ey, 2e-7);
            close("relu gradient", &dx, &edx, 2e-7);
        }
    }
}

#[test]
fn moments_of_intervals() {
    for n in [1, 7, 100, 20_001] {
        let x = stack(1, 3, n);
        let (c, r, g) = (&x[n..2 * n], &x[2 * n..], numbers(2, 7));
        let (c64, r64, g64) = (wide(c), wide(r), wide(&g));
        let sums = interval_moments::forward(&x);
        let dx = interval_moments::backward(&x, &sums, &g);
        let count = n as f64;
        let mean = c64.iter().sum::<f64>() / count;
        let mask = |f: fn(f64, f64) -> bool| -> Vec<f64> {
            c64.iter().zip(&r64).map(|(&c, &r)| f64::from(u8::from(f(c, r)))).collect()
        };
        let (active, inactive) = (mask(|c, r| c - r > 0.0), mask(|c, r| c + r < 0.0));
        let over = |mask: &[f64], f: &dyn Fn(f64) -> f64| mask.iter().zip(&c64).map(|(m, &c)| m * f(c)).sum::<f64>();
        let spread = |c: f64| (c - mean).powi(2);
        let expected = [
            r64.iter().sum::<f64>() / count,
            over(&active, &|c| c) / count,
            -over(&inactive, &|c| c) / count,
            over(&active, &spread),
            over(&inactive, &spread),
            active.iter().sum(),
            inactive.iter().sum(),
        ];
        let squares = c64.iter().map(|c| c * c).sum::<f64>();
        for (got, expected) in sums.moments().iter().zip(expected) {
            // Squares and sums of pieces are rounded to f32, and the spread is a difference of such sums.
            let rounding = 1e-6 * expected.abs() + 1e-7 * squares;
            assert!((f64::from(*got) - expected).abs() <= rounding, "{n}: {got} {expected}");
        }
        let pull = |mask: &[f64]| -2.0 / count * over(mask, &|c| c - mean);
        let edc: Vec<f64> = (0..n)
            .map(|i| {
                let linear = (g64[1] * active[i] - g64[2] * inactive[i]) / count;
                let square = 2.0 * (c64[i] - mean) * (g64[3] * active[i] + g64[4] * inactive[i]);
                linear + square + g64[3] * pull(&active) + g64[4] * pull(&inactive)
            })
            .collect();
        close("clean", &dx[..n], &vec![0.0; n], 0.0);
        close("dc", &dx[n..2 * n], &edc, 2e-6);
        close("dr", &dx[2 * n..], &vec![g64[0] / count; n], 2e-7);
    }
}

#[test]
fn margins_and_their_gradients() {
    for (n, width, classes) in [(1, 1, 1), (3, 7, 2), (9, 70, 10), (33, 129, 7)] {
        let (x, w, b) = (stack(1, 3, n * width), numbers(2, classes * width), numbers(3, classes));
        let (c, r) = (&x[n * width..2 * n * width], &x[2 * n * width..]);
        let (labels, g) = (indices(5, n, classes), numbers(4, n * classes));
        let y = margins::forward(&x, &w, &b, &labels);
        let dx = margins::backward_input(&g, &w, &labels, classes);
        let (clean, intervals) = dx.split_at(n * width);
        assert!(clean.iter().all(|v| *v == 0.0));
        let (dc, dr) = intervals.split_at(n * width);
        let [dw, db] = margins::backward_weight(&x, &g, &w, &labels, classes);
        let (c, r, w, b, g) = (wide(c), wide(r), wide(&w), wide(&b), wide(&g));
        let (mut ey, mut edc, mut edr) = (vec![0.0; g.len()], vec![0.0; c.len()], vec![0.0; c.len()]);
        let (mut edw, mut edb) = (vec![0.0; w.len()], vec![0.0; classes]);
        for i in 0..n {
            let own = labels[i] as usize;
            for j in 0..classes {
                let g = g[i * classes + j];
                ey[i * classes + j] = b[own] - b[j];
                edb[own] += g;
                edb[j] -= g;
                for d in 0..width {
                    let (row, at) = (w[own * width + d] - w[j * width + d], i * width + d);
                    ey[i * classes + j] += row * c[at] - row.abs() * r[at];
                    edc[at] += g * row;
                    edr[at] -= g * row.abs();
                    let slope = g * (c[at] - sign(row) * r[at]);
                    edw[own * width + d] += slope;
                    edw[j * width + d] -= slope;
                }
            }
            assert_eq!(y[i * classes + own], 0.0);
        }
        for (what, got, expected) in
            [("y", &y[..], &ey), ("dc", dc, &edc), ("dr", dr, &edr), ("dw", &dw, &edw), ("db", &db, &edb)]
        {
            close(&format!("margins {n} {width} {classes} {what}"), got, expected, 2e-6);
        }
    }
}

/// Every kernel on one stack.
fn everything(x: &[f32], [n, channels, plane]: [usize; 3]) -> Vec<Vec<f32>> {
    let slab = n * channels * plane;
    let (dims, width) = (Dims { slabs: 3, channels, plane }, channels * plane);
    let d = Linear { rows: n, inputs: width, outputs: 5 };
    let (scale, w, g) = (numbers(2, channels), numbers(3, 5 * width), numbers(4, 3 * slab));
    let labels = indices(5, n, 5);
    let moments = channel_moments::forward(x, dims);
    let dm = channel_moments::backward(x, &moments, &g[..2 * channels], dims);
    let (affine, mut da) = (channel_affine::forward(x, &scale, &scale, dims), g.clone());
    let [ds, dt] = channel_affine::backward(x, &scale, &mut da, dims);
    let (active, mut dr) = (relu::forward(x, 3), g.clone());
    relu::backward(x, &mut dr, 3);
    let sums = interval_moments::forward(x);
    let di = interval_moments::backward(x, &sums, &scale.repeat(7)[..7]);
    let up = numbers(6, 15 * n);
    let bounds = margins::forward(x, &w, &w[..5.min(w.len())].repeat(5)[..5], &labels);
    let dm_of_x = margins::backward_input(&up[..5 * n], &w, &labels, 5);
    let [mw, mb] = margins::backward_weight(x, &up[..5 * n], &w, &labels, 5);
    let (y, dx) = (dense::forward(x, &w, &[0.5; 5], 3, d), dense::backward_input(&up, &w, 3, d));
    let dw = dense::backward_weight(x, &up, &w, 3, d);
    let numbers = sums.moments().to_vec();
    vec![moments, dm, affine, da, ds, dt, active, dr, numbers, di, bounds, dm_of_x, mw, mb, y, dx, dw]
}

#[test]
fn threads_do_not_matter() {
    for shape in SHAPES {
        let x = stack(1, 3, shape.iter().product());
        same_for_all_pools(&format!("{shape:?}"), || everything(&x, shape));
    }
}

#[test]
fn a_nan_comes_out() {
    let shape = [3, 2, 35];
    // Moments of channels, affine, ReLU, moments of intervals, margins, dense: their places in `everything`.
    for (slab, expected) in [(0, vec![0, 2, 6, 14]), (1, vec![2, 6, 8, 10, 14]), (2, vec![2, 6, 8, 10, 14])] {
        let mut x = stack(1, 3, 210);
        x[slab * 210 + 100] = f32::NAN;
        let results = everything(&x, shape);
        for i in expected {
            assert!(results[i].iter().any(|v| v.is_nan()), "result {i} for a NaN in slab {slab}");
        }
    }
}
