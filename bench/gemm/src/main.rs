//! Times matrix products of Temper's kernels, the `gemm` crate and `faer`, in turn.
//!
//! `temper-bench-gemm THREADS REPEATS PRODUCT...`, a product as `M,N,K,NT`: C `[M, N]` = A `[M, K]` B `[K, N]`, each operand
//! stored as it is (`N`) or transposed (`T`), all row-major. Prints `PRODUCT LIBRARY SECONDS` a line, the median of the
//! repeats.

use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use temper_kernels::gemm::Layout;

/// A product and its operands.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    /// Whether A and B are stored transposed.
    transposed: [bool; 2],
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Product {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(',');
        let mut size = || parts.next().and_then(|part| part.parse().ok()).expect("M,N,K,NT");
        let (m, n, k): (usize, usize, usize) = (size(), size(), size());
        let layout = parts.next().expect("M,N,K,NT").as_bytes();
        let transposed = [layout[0] == b'T', layout[1] == b'T'];
        let values = |len: usize| (0..len).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
        Self { m, n, k, transposed, a: values(m * k), b: values(k * n), c: vec![0.0; m * n] }
    }

    fn temper(&mut self) {
        let layout = |transposed| if transposed { Layout::Transposed } else { Layout::Normal };
        let [ta, tb] = self.transposed.map(layout);
        temper_kernels::gemm::gemm(self.m, self.n, self.k, 1.0, &self.a, ta, &self.b, tb, &mut self.c, false);
    }

    fn faer(&mut self, threads: usize) {
        let view = |values, rows, columns, transposed| match transposed {
            false => MatRef::from_row_major_slice(values, rows, columns),
            true => MatRef::from_row_major_slice(values, columns, rows).transpose(),
        };
        let a = view(&self.a, self.m, self.k, self.transposed[0]);
        let b = view(&self.b, self.k, self.n, self.transposed[1]);
        let c = MatMut::from_row_major_slice_mut(&mut self.c, self.m, self.n);
        matmul(c, Accum::Replace, a, b, 1.0, Par::rayon(threads));
    }

    fn gemm(&mut self, threads: usize) {
        // Steps to the next column and to the next row.
        let steps = |rows: usize, columns: usize, transposed| match transposed {
            false => (1, columns as isize),
            true => (rows as isize, 1),
        };
        let (a_column, a_row) = steps(self.m, self.k, self.transposed[0]);
        let (b_column, b_row) = steps(self.k, self.n, self.transposed[1]);
        let (c, a, b) = (self.c.as_mut_ptr(), self.a.as_ptr(), self.b.as_ptr());
        let (m, n, k) = (self.m, self.n, self.k);
        let parallelism = gemm::Parallelism::Rayon(threads);
        // SAFETY: the operands are as long as their sizes and steps say, and C overlaps neither.
        unsafe {
            gemm::gemm(
                m, n, k, c, 1, n as isize, false, a, a_column, a_row, b, b_column, b_row, 0.0f32, 1.0f32, false, false,
                false, parallelism,
            );
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [threads, repeats] = [0, 1].map(|i| arguments[i].parse::<usize>().expect("THREADS REPEATS PRODUCT..."));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("nothing uses the pool yet");
    for text in &arguments[2..] {
        let mut product = Product::parse(text);
        let mut seconds = [(); 3].map(|()| Vec::new());
        let mut results = Vec::new();
        for repeat in 0..=repeats {
            for (library, seconds) in seconds.iter_mut().enumerate() {
                let clock = Instant::now();
                match library {
                    0 => product.temper(),
                    1 => product.gemm(threads),
                    _ => product.faer(threads),
                }
                // The first round warms up, and shows that all compute the same.
                match repeat {
                    0 => results.push(product.c.clone()),
                    _ => seconds.push(clock.elapsed().as_secs_f64()),
                }
            }
        }
        let bound = 1e-5 * product.k as f32;
        for other in &results[1..] {
            let agree = results[0].iter().zip(other).all(|(x, y)| (x - y).abs() <= bound);
            assert!(agree, "{text}: the libraries disagree");
        }
        for (name, seconds) in ["temper", "gemm", "faer"].iter().zip(&mut seconds) {
            seconds.sort_by(f64::total_cmp);
            println!("{text} {name} {}", seconds[repeats / 2]);
        }
    }
}
