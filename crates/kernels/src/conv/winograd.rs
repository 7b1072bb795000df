//! Winograd's minimal filtering of columns (Lavin and Gray 2016, arXiv 1509.09308), for 3 x 3 kernels with a stride of 1: four
//! rows of output take six products of rows instead of twelve.
//!
//! Six rows of input `d`, the three weights `w` of a column of the kernel and four rows of output `y` are evaluated at six
//! points, `y = A^T [(G w) * (B^T d)]`; so are the gradients, `dw = G^T [(A dy) * (B^T d)]`. What is left between the
//! transforms are six correlations with kernels of one row, which [`tile`](super::tile) makes. Filtering along columns only, and
//! not along rows too, keeps every transform a sum of whole rows.
//!
//! The points are 0, +-3/4, +-5/4 and infinity: with them all constants of A and B are exact, and between rows of one size the error
//! in f32 is that of the plain sum (`tests/conv.rs::winograd_is_as_exact_as_the_sum`). It is an error of the whole tile: beside a row
//! that is 10^5 times as large, what a row of output ought to be loses five digits, where a plain sum loses none unless it reads that
//! row. Training does not mind; bounds that are reported are made by plain sums ([`Sums::Plain`](super::Sums)).

use super::window::Geometry;
use crate::arch::{dispatch, has_avx2, has_avx512};
use crate::extent::{Ptr, PtrMut};
use crate::gemm::tile::Vector;
use crate::output::Slot;

/// Rows of output of a tile.
pub(crate) const TILE: usize = 4;
/// Points at which a tile is evaluated, and rows of input that it reads.
pub(crate) const POINTS: usize = 6;

/// The finite points are 0, +-P and +-Q; their squares.
const P: f32 = 0.75;
const Q: f32 = 1.25;
const PP: f32 = P * P;
const QQ: f32 = Q * Q;

/// G: the weights of a column of the kernel at every point.
const G: [[f64; 3]; POINTS] = {
    const fn of(point: f64, scale: f64) -> [f64; 3] {
        [scale, point * scale, point * point * scale]
    }
    let (p, q) = (P as f64, Q as f64);
    let (pp, qq) = (p * p, q * q);
    let (at_p, at_q) = (1.0 / (2.0 * pp * (pp - qq)), 1.0 / (2.0 * qq * (qq - pp)));
    [of(0.0, 1.0 / (pp * qq)), of(p, at_p), of(-p, at_p), of(q, at_q), of(-q, at_q), [0.0, 0.0, 1.0]]
};

/// True where a geometry can be made this way, and where that saves a fifth of the products or more.
pub(crate) fn is_worthwhile(geometry: &Geometry, outputs: usize) -> bool {
    let height = geometry.out[0];
    geometry.taps == [3, 3]
        && geometry.step == 1
        // With fewer the transforms take as long as what they save.
        && geometry.channels >= 16
        && outputs >= 16
        // The transforms work on whole vectors.
        && geometry.source[1] >= 8
        && geometry.out[1] >= 8
        && POINTS * height.div_ceil(TILE) * 5 <= 3 * height * 4
}

/// Tiles of a block, so that a block has 64 pixels at least and stays in the second-level cache where it can.
pub(crate) fn tiles(geometry: &Geometry, outputs: usize) -> usize {
    const NUMBERS: usize = 1 << 16;
    let (all, width) = (geometry.out[0].div_ceil(TILE), geometry.out[1]);
    let fit = NUMBERS / (POINTS * (geometry.channels * geometry.source[1] + outputs * width)).max(1);
    let blocks = all.div_ceil(fit.max(64_usize.div_ceil(width.max(1)))).max(1);
    all.div_ceil(blocks)
}

/// What is correlated at each point: one row of the kernel with a row for every tile.
pub(crate) fn geometry(whole: &Geometry, tiles: usize) -> Geometry {
    let (source, out) = ([tiles, whole.source[1]], [tiles, whole.out[1]]);
    Geometry { source, out, taps: [1, 3], pad: [0, whole.pad[1]], ..*whole }
}

/// A weight at a point, of the three weights of its column.
pub(crate) fn weight(point: usize, column: impl Fn(usize) -> f32) -> f32 {
    (0..3).map(|row| G[point][row] * f64::from(column(row))).sum::<f64>() as f32
}

/// `G^T`: the gradients of the three rows of a kernel, `[3, count]`, of those at the points, each `apart` from the next.
pub(crate) fn weight_gradient(from: &[f32], apart: usize, to: &mut [f32], count: usize) {
    for (row, to) in to.chunks_exact_mut(count).enumerate() {
        for (i, to) in to.iter_mut().enumerate() {
            *to = (0..POINTS).map(|point| G[point][row] * f64::from(from[point * apart + i])).sum::<f64>() as f32;
        }
    }
}

/// Rows of planes that tiles are made of or lie in: tile t has the rows from `first + TILE t` on.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// Planes.
    pub planes: usize,
    /// Height and width of a plane.
    pub size: [usize; 2],
    /// The first row of tile 0; rows outside of the plane are zero.
    pub first: isize,
    /// Tiles.
    pub tiles: usize,
    /// Tiles that a plane of the transformed rows has room for.
    pub room: usize,
}

impl Rows {
    /// Those of a block from `tile` on, with `room` tiles at most; tile 0 of the image begins at row `first`.
    pub fn of(geometry: &Geometry, planes: usize, size: [usize; 2], tile: usize, room: usize, first: isize) -> Self {
        let tiles = room.min(geometry.out[0].div_ceil(TILE) - tile);
        Self { planes, size, first: first + (tile * TILE) as isize, tiles, room }
    }

    /// From a point to the next among the transformed rows, `[point, plane, tile, column]`.
    pub fn point_stride(&self) -> usize {
        self.planes * self.room * self.size[1]
    }
}

/// `B^T d` of every tile.
pub(crate) fn input(source: &[f32], to: &mut [f32], rows: Rows) {
    transform(&Input, source, to, rows);
}

/// `A dy` of every tile.
pub(crate) fn gradient(source: &[f32], to: &mut [f32], rows: Rows) {
    transform(&Gradient, source, to, rows);
}

/// What becomes of N rows, vector by vector.
trait Transform<const N: usize, const M: usize> {
    /// # Safety
    /// The processor must have the vectors.
    unsafe fn at<V: Vector>(&self, from: [V; N]) -> [V; M];
}

struct Input;
struct Gradient;
/// With the bias.
struct Output(f32);

impl Transform<POINTS, POINTS> for Input {
    #[inline(always)]
    unsafe fn at<V: Vector>(&self, d: [V; POINTS]) -> [V; POINTS] {
        // SAFETY: the caller's promise.
        unsafe {
            let of = |x: f32| V::splat(x);
            let (even_p, odd_p) = (d[2].fma(of(-QQ), d[4]), d[1].fma(of(-QQ), d[3]).mul(of(P)));
            let (even_q, odd_q) = (d[2].fma(of(-PP), d[4]), d[1].fma(of(-PP), d[3]).mul(of(Q)));
            let end = |a: V, b: V, c: V| a.fma(of(PP * QQ), b.fma(of(-(PP + QQ)), c));
            let (p, q) = (both(even_p, odd_p), both(even_q, odd_q));
            [end(d[0], d[2], d[4]), p[0], p[1], q[0], q[1], end(d[1], d[3], d[5])]
        }
    }
}

impl Transform<TILE, POINTS> for Gradient {
    #[inline(always)]
    unsafe fn at<V: Vector>(&self, g: [V; TILE]) -> [V; POINTS] {
        // SAFETY: the caller's promise.
        unsafe {
            let at = |p: f32| both(g[2].fma(V::splat(p * p), g[0]), g[3].fma(V::splat(p * p), g[1]).mul(V::splat(p)));
            let (p, q) = (at(P), at(Q));
            [g[0], p[0], p[1], q[0], q[1], g[3]]
        }
    }
}

impl Transform<POINTS, TILE> for Output {
    #[inline(always)]
    unsafe fn at<V: Vector>(&self, m: [V; POINTS]) -> [V; TILE] {
        // SAFETY: the caller's promise.
        unsafe {
            let of = |x: f32| V::splat(x);
            let ([even_p, odd_p], [even_q, odd_q]) = (both(m[1], m[2]), both(m[3], m[4]));
            let (bias, one) = (of(self.0), of(1.0));
            [
                even_p.fma(one, even_q.fma(one, m[0].fma(one, bias))),
                odd_p.fma(of(P), odd_q.fma(of(Q), bias)),
                even_p.fma(of(PP), even_q.fma(of(QQ), bias)),
                odd_p.fma(of(PP * P), odd_q.fma(of(QQ * Q), m[5].fma(one, bias))),
            ]
        }
    }
}

/// Sum and difference.
#[inline(always)]
unsafe fn both<V: Vector>(a: V, b: V) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [b.fma(V::splat(1.0), a), b.fma(V::splat(-1.0), a)] }
}

/// Calls `$body` with `$V` as the widest vector of the processor that a row of `$width` fills.
macro_rules! with_vectors {
    ($width:expr, $V:ident => $body:expr) => {
        match () {
            #[cfg(target_arch = "x86_64")]
            () if has_avx512() && $width >= 16 => dispatch(
                #[inline(always)]
                |_| {
                    type $V = std::arch::x86_64::__m512;
                    $body
                },
            ),
            #[cfg(target_arch = "x86_64")]
            () if has_avx2() => dispatch(
                #[inline(always)]
                |_| {
                    type $V = std::arch::x86_64::__m256;
                    $body
                },
            ),
            () => {
                type $V = [f32; 8];
                $body
            }
        }
    };
}

/// All vectors of rows of one length, of which the last may overlap the one before.
///
/// # Safety
/// Every row has `width` numbers, at least a vector; the processor has the vectors.
#[inline(always)]
unsafe fn along<V: Vector, const N: usize, const M: usize>(
    transform: &impl Transform<N, M>,
    from: [Ptr; N],
    to: [PtrMut; M],
    width: usize,
) {
    let mut x = 0;
    while x < width {
        let at = x.min(width - V::LANES);
        // SAFETY: the caller's promise.
        unsafe {
            let mut vectors = [V::splat(0.0); N];
            for (vector, row) in vectors.iter_mut().zip(from) {
                *vector = V::load(row.add(at));
            }
            for (vector, row) in transform.at(vectors).into_iter().zip(to) {
                vector.store(row.add(at));
            }
        }
        x += V::LANES;
    }
}

fn transform<const N: usize>(of: &impl Transform<N, POINTS>, source: &[f32], to: &mut [f32], rows: Rows) {
    let Rows { planes, size: [height, width], first, tiles, room } = rows;
    let (zeros, apart) = (crate::scratch::zeros(width), rows.point_stride());
    assert!(source.len() >= planes * height * width && to.len() >= POINTS * apart && tiles <= room);
    let (source, to, zeros) = (Ptr::new(source), PtrMut::of(to), Ptr::new(&zeros));
    with_vectors!(width, V => {
        for plane in 0..planes {
            for tile in 0..tiles {
                // SAFETY: rows of the plane, of the zeros and of the tile's points.
                unsafe {
                    let from: [Ptr; N] = std::array::from_fn(|i| {
                        let row = first + (tile * TILE + i) as isize;
                        if (0..height as isize).contains(&row) {
                            source.add((plane * height + row as usize) * width)
                        } else {
                            zeros
                        }
                    });
                    let at = to.add((plane * room + tile) * width);
                    along::<V, N, POINTS>(of, from, std::array::from_fn(|point| at.add(point * apart)), width);
                }
            }
        }
    });
}

/// `A^T m` of every tile, and the bias of its plane; rows outside of the planes of `to` are dropped.
pub(crate) fn output(made: &[f32], bias: Option<&[f32]>, to: &mut [Slot], rows: Rows) {
    let Rows { planes, size: [height, width], first, tiles, room } = rows;
    let (mut spare, apart) = (crate::scratch::take(width), rows.point_stride());
    assert!(to.len() >= planes * height * width && made.len() >= POINTS * apart && tiles <= room);
    let (made, to, spare) = (Ptr::new(made), PtrMut::new(to), PtrMut::of(&mut spare));
    with_vectors!(width, V => {
        for plane in 0..planes {
            let output = Output(bias.map_or(0.0, |bias| bias[plane]));
            for tile in 0..tiles {
                // SAFETY: the tile's points, and rows of the plane or the spare one.
                unsafe {
                    let at = made.add((plane * room + tile) * width);
                    let to: [PtrMut; TILE] = std::array::from_fn(|i| {
                        let row = first.unsigned_abs() + tile * TILE + i;
                        if row < height { to.add((plane * height + row) * width) } else { spare }
                    });
                    along::<V, POINTS, TILE>(&output, std::array::from_fn(|point| at.add(point * apart)), to, width);
                }
            }
        }
    });
}
