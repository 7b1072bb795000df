//! Bounds of one box: intervals intersected with linear bounds pushed backwards, all intermediate ones recomputed. With every sum its
//! rounding is charged, so that in the arithmetics that ask for it a bound holds whatever was rounded.

use temper_kernels::arch::{Isa, dispatch};

use super::net::{Compact, DOUBLE, LANES, Step, gamma, pad, padded};

/// What underflow can take from a sum.
const TINY: f64 = 1e-280;

/// Rows of coefficients of the output and the constants that are added, padded.
#[derive(Debug)]
pub(super) struct Rows {
    pub coefficients: Vec<f64>,
    pub constants: Vec<f64>,
}

/// A linear function of the input below a row's value, and its minimum over the box.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub slope: Vec<f64>,
    pub constant: f64,
    pub bound: f64,
}

/// What is known of a box.
#[derive(Debug)]
pub(super) struct Bounded {
    pub lines: Vec<Line>,
    /// Of every input, how much splitting it promises to tighten relaxations, per row.
    pub promise: Vec<Vec<f64>>,
}

/// Both ends of a value, and what is charged for its coefficients.
#[derive(Debug, Default, Clone)]
struct Ends {
    lower: Vec<f64>,
    upper: Vec<f64>,
    charge: Vec<f64>,
}

/// The lines of a ReLU: `low x` below, `slope x + shift` above.
#[derive(Debug, Default, Clone)]
struct Relaxed {
    low: Vec<f64>,
    slope: Vec<f64>,
    shift: Vec<f64>,
    /// Unstable neurons, and of each the slope of its lower line in the input.
    unstable: Vec<usize>,
    lines: Vec<f64>,
    /// Neurons that are not always 0.
    live: Vec<usize>,
}

/// Rows on their way back.
struct Pushed {
    slopes: Vec<f64>,
    constants: Vec<f64>,
    bounds: Vec<f64>,
    /// Coefficients at the outputs of ReLUs, where asked for.
    at_relus: Vec<(usize, Vec<f64>)>,
}

impl Compact {
    /// The output for a point, in double precision.
    pub fn evaluate(&self, point: &[f64]) -> Vec<f64> {
        dispatch(
            #[inline(always)]
            |isa| self.evaluate_with(isa, point),
        )
    }

    #[inline(always)]
    fn evaluate_with(&self, isa: Isa, point: &[f64]) -> Vec<f64> {
        let mut values = vec![pad(point)];
        for (layer, size) in self.layers.iter().zip(&self.sizes[1..]) {
            let x = &values[layer.inputs[0]];
            let mut y = vec![0.0; padded(*size)];
            match &layer.step {
                Step::Dense { transposed, bias, .. } => {
                    y.copy_from_slice(bias);
                    for (x, row) in x.iter().zip(transposed.chunks(y.len())).filter(|(x, _)| **x != 0.0) {
                        y.iter_mut().zip(row).for_each(|(y, w)| *y = isa.fma_double(*w, *x, *y));
                    }
                }
                Step::Scale { weight, bias, .. } => {
                    y.iter_mut().enumerate().for_each(|(i, y)| *y = weight[i] * x[i] + bias[i]);
                }
                Step::Relu => y.iter_mut().zip(x).for_each(|(y, x)| *y = x.max(0.0)),
                Step::Add => {
                    for input in &layer.inputs {
                        y.iter_mut().zip(&values[*input]).for_each(|(y, x)| *y += x);
                    }
                }
                Step::Gather { from, fill } => {
                    for (i, (from, fill)) in from.iter().zip(fill).enumerate() {
                        y[i] = from.map_or(*fill, |at| x[at as usize]);
                    }
                }
            }
            values.push(y);
        }
        let mut output = values.pop().expect("the input");
        output.truncate(self.sizes[self.layers.len()]);
        output
    }
}

fn up(x: f64) -> f64 {
    x.next_up()
}

impl Compact {
    /// Bounds the rows over a box; `None` if numbers leave the range of doubles.
    pub fn bound(&self, lower: &[f64], upper: &[f64], rows: &Rows, lines: bool) -> Option<Bounded> {
        dispatch(
            #[inline(always)]
            |isa| self.bound_with(isa, lower, upper, rows, lines),
        )
    }

    #[inline(always)]
    fn bound_with(&self, isa: Isa, lower: &[f64], upper: &[f64], rows: &Rows, lines: bool) -> Option<Bounded> {
        let mut ends: Vec<Ends> = Vec::with_capacity(self.sizes.len());
        let mut relaxed: Vec<Relaxed> = vec![Relaxed::default(); self.sizes.len()];
        let mut input = Ends { lower: pad(lower), upper: pad(upper), charge: Vec::new() };
        input.charge =
            (0..input.lower.len()).map(|i| self.carried * input.lower[i].abs().max(input.upper[i].abs())).collect();
        ends.push(input);
        for value in 1..self.sizes.len() {
            if matches!(self.layers[value - 1].step, Step::Relu) {
                relaxed[value] = self.refine(isa, value, &mut ends, &relaxed, lines)?;
            }
            let next = self.interval(isa, value, &ends);
            ends.push(next);
        }
        let output = self.sizes.len() - 1;
        let start = Start::Rows(&rows.coefficients, &rows.constants);
        let pushed = self.push(isa, output, start, &ends, &relaxed, lines);
        let width = padded(self.sizes[0]);
        let line = |r: usize| Line {
            slope: pushed.slopes[r * width..r * width + self.sizes[0]].to_vec(),
            constant: pushed.constants[r],
            bound: pushed.bounds[r],
        };
        let found: Vec<Line> = (0..rows.constants.len()).map(line).collect();
        let promise =
            if lines { self.promise(lower, upper, &pushed, &ends, &relaxed, found.len()) } else { Vec::new() };
        found.iter().all(|line| line.bound.is_finite()).then_some(Bounded { lines: found, promise })
    }

    /// Tightens what the ReLU `value` reads, and gives its lines.
    #[inline(always)]
    fn refine(&self, isa: Isa, value: usize, ends: &mut [Ends], relaxed: &[Relaxed], lines: bool) -> Option<Relaxed> {
        let (before, size, width) = (self.layers[value - 1].inputs[0], self.sizes[value], padded(self.sizes[0]));
        let mut unstable = unstable_of(&ends[before], size);
        let mut slopes = Vec::new();
        let known = before == 0 || self.layers[before - 1].exact;
        if !unstable.is_empty() && (!known || lines) {
            let pushed = self.push(isa, before, Start::Units(&unstable), ends, relaxed, false);
            let count = unstable.len();
            let end = &mut ends[before];
            for (k, &j) in unstable.iter().enumerate() {
                let (l, u) = (pushed.bounds[k].max(end.lower[j]), (-pushed.bounds[count + k]).min(end.upper[j]));
                // Without charges rounding may cross them: then the interval stays.
                if l <= u {
                    (end.lower[j], end.upper[j]) = (l, u);
                }
            }
            let kept: Vec<usize> =
                (0..count).filter(|k| end.lower[unstable[*k]] < 0.0 && end.upper[unstable[*k]] > 0.0).collect();
            slopes = kept.iter().flat_map(|k| pushed.slopes[k * width..(k + 1) * width].iter().copied()).collect();
            unstable = kept.iter().map(|k| unstable[*k]).collect();
        }
        let finite = ends[before].lower.iter().chain(&ends[before].upper).all(|x| x.is_finite());
        finite.then(|| relax(&ends[before], size, unstable, slopes))
    }

    /// Of every row and input, how much relaxation hangs on the input's width.
    fn promise(
        &self,
        lower: &[f64],
        upper: &[f64],
        pushed: &Pushed,
        ends: &[Ends],
        relaxed: &[Relaxed],
        rows: usize,
    ) -> Vec<Vec<f64>> {
        let (inputs, width) = (self.sizes[0], padded(self.sizes[0]));
        let mut promise = vec![vec![0.0; inputs]; rows];
        for (value, coefficients) in &pushed.at_relus {
            let (relaxed, before) = (&relaxed[*value], &ends[self.layers[*value - 1].inputs[0]]);
            let size = padded(self.sizes[*value]);
            for (k, &j) in relaxed.unstable.iter().enumerate() {
                let (l, u) = (before.lower[j], before.upper[j]);
                let line = &relaxed.lines[k * width..][..inputs];
                for (r, promise) in promise.iter_mut().enumerate() {
                    let coefficient = coefficients[r * size + j];
                    let gap = if coefficient >= 0.0 { u.min(-l) } else { relaxed.shift[j] };
                    let loss = coefficient.abs() * gap / (u - l);
                    for (promise, slope) in promise.iter_mut().zip(line) {
                        *promise += loss * slope.abs();
                    }
                }
            }
        }
        for promise in &mut promise {
            promise.iter_mut().zip(upper.iter().zip(lower)).for_each(|(promise, (u, l))| *promise *= u - l);
        }
        promise
    }

    /// The ends of a value by those before it, and its charge.
    #[inline(always)]
    fn interval(&self, isa: Isa, value: usize, ends: &[Ends]) -> Ends {
        let layer = &self.layers[value - 1];
        let x = &ends[layer.inputs[0]];
        let length = padded(self.sizes[value]);
        let (mut lower, mut upper) = (vec![0.0; length], vec![0.0; length]);
        match &layer.step {
            Step::Dense { transposed, bias, .. } => {
                lower.copy_from_slice(bias);
                upper.iter_mut().for_each(|r| *r = 0.0);
                for i in 0..self.sizes[layer.inputs[0]] {
                    let m = 0.5 * x.lower[i] + 0.5 * x.upper[i];
                    let r = up((x.upper[i] - m).max(m - x.lower[i]));
                    let row = &transposed[i * length..(i + 1) * length];
                    for ((c, d), w) in lower.iter_mut().zip(upper.iter_mut()).zip(row) {
                        *c = isa.fma_double(*w, m, *c);
                        *d = isa.fma_double(w.abs(), r, *d);
                    }
                }
                for (l, u) in lower.iter_mut().zip(upper.iter_mut()) {
                    (*l, *u) = (*l - *u, *l + *u);
                }
            }
            Step::Scale { weight, bias, .. } => {
                for i in 0..length {
                    let (a, b) = (weight[i] * x.lower[i], weight[i] * x.upper[i]);
                    (lower[i], upper[i]) = (a.min(b) + bias[i], a.max(b) + bias[i]);
                }
            }
            Step::Relu => {
                lower.iter_mut().zip(&x.lower).for_each(|(y, x)| *y = x.max(0.0));
                upper.iter_mut().zip(&x.upper).for_each(|(y, x)| *y = x.max(0.0));
            }
            Step::Add => {
                for input in &layer.inputs {
                    lower.iter_mut().zip(&ends[*input].lower).for_each(|(y, x)| *y += x);
                    upper.iter_mut().zip(&ends[*input].upper).for_each(|(y, x)| *y += x);
                }
            }
            Step::Gather { from, fill } => {
                for (i, (from, fill)) in from.iter().zip(fill).enumerate() {
                    let ends = from.map(|at| [x.lower[at as usize], x.upper[at as usize]]);
                    [lower[i], upper[i]] = ends.unwrap_or([*fill, *fill]);
                }
            }
        }
        let error = self.error(isa, value, ends);
        if let Some(error) = &error {
            lower.iter_mut().zip(error).for_each(|(l, e)| *l = (*l - e).next_down());
            upper.iter_mut().zip(error).for_each(|(u, e)| *u = (*u + e).next_up());
        }
        let mut found = Ends { lower, upper, charge: Vec::new() };
        found.charge = self.charged(value, &found, error);
        found
    }

    /// What an affine value may be off by rounding.
    #[inline(always)]
    fn error(&self, isa: Isa, value: usize, ends: &[Ends]) -> Option<Vec<f64>> {
        let layer = &self.layers[value - 1];
        if layer.factor == 0.0 {
            return None;
        }
        let height = |x: &Ends, i: usize| x.lower[i].abs().max(x.upper[i].abs());
        let x = &ends[layer.inputs[0]];
        let length = padded(self.sizes[value]);
        let mut error = vec![0.0; length];
        match &layer.step {
            Step::Dense { transposed, magnitude, .. } => {
                error.copy_from_slice(magnitude);
                for i in 0..self.sizes[layer.inputs[0]] {
                    let h = height(x, i);
                    let row = &transposed[i * length..(i + 1) * length];
                    error.iter_mut().zip(row).for_each(|(e, w)| *e = isa.fma_double(w.abs(), h, *e));
                }
            }
            Step::Scale { weight, magnitude, .. } => {
                (0..length).for_each(|i| error[i] = weight[i].abs() * height(x, i) + magnitude[i]);
            }
            Step::Add => {
                for input in &layer.inputs {
                    error.iter_mut().enumerate().for_each(|(i, e)| *e += height(&ends[*input], i));
                }
            }
            Step::Relu | Step::Gather { .. } => {}
        }
        // What single precision loses to underflow, or what flushes subnormal numbers to 0, is far below 1e-30.
        let tiny = if layer.factor > 1e-8 { 1e-30 } else { TINY };
        error.iter_mut().for_each(|e| *e = *e * layer.factor + tiny);
        Some(error)
    }

    /// The charge of a value's coefficients.
    fn charged(&self, value: usize, ends: &Ends, error: Option<Vec<f64>>) -> Vec<f64> {
        let carried = self.layers[value - 1].carried;
        let mut charge = error.unwrap_or_else(|| vec![0.0; ends.lower.len()]);
        for (charge, (l, u)) in charge.iter_mut().zip(ends.lower.iter().zip(&ends.upper)) {
            *charge += carried * l.abs().max(u.abs());
        }
        charge
    }

    /// Pushes rows of a value back to the input.
    #[inline(always)]
    fn push(&self, isa: Isa, value: usize, start: Start, ends: &[Ends], relaxed: &[Relaxed], keep: bool) -> Pushed {
        let count = match start {
            Start::Units(neurons) => 2 * neurons.len(),
            Start::Rows(_, constants) => constants.len(),
        };
        let (mut constants, mut charges, mut sizes) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
        let mut at: Vec<Option<Vec<f64>>> = vec![None; value + 1];
        let mut first = value;
        match start {
            Start::Rows(rows, given) => {
                at[value] = Some(rows.to_vec());
                constants.copy_from_slice(given);
                sizes.iter_mut().zip(given).for_each(|(size, b)| *size = b.abs());
            }
            Start::Units(neurons) => {
                let length = padded(self.sizes[value]);
                let layer = value.checked_sub(1).map(|node| &self.layers[node]);
                match layer.map(|layer| (&layer.step, layer.inputs[0])) {
                    // The rows of a dense layer are those of its weight.
                    Some((Step::Dense { weight, bias, .. }, input)) => {
                        let from = padded(self.sizes[input]);
                        let mut rows = Vec::with_capacity(count * from);
                        for sign in [1.0, -1.0] {
                            for &j in neurons {
                                rows.extend(weight[j * from..(j + 1) * from].iter().map(|w| sign * w));
                            }
                        }
                        for (r, &j) in neurons.iter().chain(neurons).enumerate() {
                            constants[r] = if r < neurons.len() { bias[j] } else { -bias[j] };
                            (charges[r], sizes[r]) = (ends[value].charge[j], bias[j].abs());
                        }
                        at[input] = Some(rows);
                        first = value - 1;
                    }
                    _ => {
                        let mut rows = vec![0.0; count * length];
                        for (r, &j) in neurons.iter().chain(neurons).enumerate() {
                            rows[r * length + j] = if r < neurons.len() { 1.0 } else { -1.0 };
                        }
                        at[value] = Some(rows);
                    }
                }
            }
        }
        let mut at_relus = Vec::new();
        for value in (1..=first).rev() {
            let Some(mut rows) = at[value].take() else { continue };
            let layer = &self.layers[value - 1];
            let length = padded(self.sizes[value]);
            let input = layer.inputs[0];
            let charge = &ends[value].charge;
            if self.sound {
                for (r, row) in rows.chunks(length).enumerate() {
                    charges[r] += dot_magnitude(isa, row, charge);
                }
            }
            let back = match &layer.step {
                Step::Dense { weight, bias, .. } => {
                    for (r, row) in rows.chunks(length).enumerate() {
                        constants[r] += dot(isa, row, bias);
                        sizes[r] += constants[r].abs();
                    }
                    let from = padded(self.sizes[input]);
                    let mut back = vec![0.0; count * from];
                    // Where a ReLU was passed, neurons that are always 0 have no coefficients.
                    let all: Vec<usize>;
                    let live = match layer.bent.filter(|relu| *relu <= first) {
                        Some(relu) => &relaxed[relu].live,
                        None => {
                            all = (0..self.sizes[value]).collect();
                            &all
                        }
                    };
                    product(isa, &rows, length, live, weight, from, &mut back);
                    back
                }
                Step::Scale { weight, bias, .. } => {
                    for (r, row) in rows.chunks_mut(length).enumerate() {
                        constants[r] += dot(isa, row, bias);
                        sizes[r] += constants[r].abs();
                        row.iter_mut().zip(weight).for_each(|(x, w)| *x *= w);
                    }
                    rows
                }
                Step::Relu => {
                    let lines = &relaxed[value];
                    if keep {
                        at_relus.push((value, rows.clone()));
                    }
                    let long = 2.0 * gamma(length, DOUBLE);
                    for (r, row) in rows.chunks_mut(length).enumerate() {
                        let shift = bend(isa, row, lines);
                        constants[r] += shift;
                        sizes[r] += constants[r].abs();
                        charges[r] += long * shift.abs();
                    }
                    rows
                }
                Step::Add => {
                    for other in &layer.inputs[1..] {
                        add(&mut at[*other], rows.clone());
                    }
                    rows
                }
                Step::Gather { from, fill } => {
                    let width = padded(self.sizes[input]);
                    let mut back = vec![0.0; count * width];
                    for (r, row) in rows.chunks(length).enumerate() {
                        let mut constant = 0.0;
                        for (i, (from, fill)) in from.iter().zip(fill).enumerate() {
                            match from {
                                Some(at) => back[r * width + *at as usize] += row[i],
                                None => constant += row[i] * fill,
                            }
                        }
                        constants[r] += constant;
                        sizes[r] += constants[r].abs();
                    }
                    back
                }
            };
            add(&mut at[input], back);
        }
        let width = padded(self.sizes[0]);
        let slopes = at[0].take().unwrap_or_else(|| vec![0.0; count * width]);
        let input = &ends[0];
        let mut bounds = vec![0.0; count];
        for (r, row) in slopes.chunks(width).enumerate() {
            if self.sound {
                let charge = charges[r] + dot_magnitude(isa, row, &input.charge);
                constants[r] = (constants[r] - (charge + 8.0 * DOUBLE * sizes[r] + TINY)).next_down();
            }
            bounds[r] = minimum(row, constants[r], &input.lower, &input.upper, self.sound);
        }
        Pushed { slopes, constants, bounds, at_relus }
    }
}

/// The least value of a linear function over a box, rounded down if `sound`.
#[inline(always)]
pub(super) fn minimum(slope: &[f64], constant: f64, lower: &[f64], upper: &[f64], sound: bool) -> f64 {
    let (mut sum, mut size) = (0.0, 0.0);
    for (a, (l, u)) in slope.iter().zip(lower.iter().zip(upper)) {
        sum += if *a >= 0.0 { a * l } else { a * u };
        size += a.abs() * l.abs().max(u.abs());
    }
    let rounding = 2.0 * gamma(slope.len() + 4, DOUBLE) * size + 4.0 * DOUBLE * constant.abs() + TINY;
    if sound { (constant + sum - rounding).next_down() } else { constant + sum }
}

/// Where rows begin.
#[derive(Clone, Copy)]
enum Start<'a> {
    /// Each of these neurons, then their negatives.
    Units(&'a [usize]),
    /// Rows of coefficients and constants.
    Rows(&'a [f64], &'a [f64]),
}

fn unstable_of(ends: &Ends, size: usize) -> Vec<usize> {
    (0..size).filter(|j| ends.lower[*j] < 0.0 && ends.upper[*j] > 0.0).collect()
}

/// The lines of a ReLU with inputs between these ends.
fn relax(ends: &Ends, size: usize, unstable: Vec<usize>, lines: Vec<f64>) -> Relaxed {
    let length = ends.lower.len();
    let (mut low, mut slope, mut shift) = (vec![0.0; length], vec![0.0; length], vec![0.0; length]);
    let mut live = Vec::with_capacity(size);
    for j in 0..size {
        let (l, u) = (ends.lower[j], ends.upper[j]);
        if l >= 0.0 {
            (low[j], slope[j]) = (1.0, 1.0);
        } else if u > 0.0 {
            // Any slope in [0, 1] is valid with this shift, so that its own rounding does not matter.
            let s = (u / (u - l)).min(1.0);
            slope[j] = s;
            shift[j] = up(-s * l).max(up(up(1.0 - s) * u));
            // Not at the tie, which symmetric boxes have: rounding would decide there.
            low[j] = if s > 0.500_001 { 1.0 } else { 0.0 };
        } else {
            continue;
        }
        live.push(j);
    }
    Relaxed { low, slope, shift, unstable, lines, live }
}

fn add(to: &mut Option<Vec<f64>>, rows: Vec<f64>) {
    match to {
        Some(sum) => sum.iter_mut().zip(rows).for_each(|(sum, x)| *sum += x),
        None => *to = Some(rows),
    }
}

#[inline(always)]
fn lanes(numbers: &[f64]) -> &[[f64; LANES]] {
    numbers.as_chunks().0
}

#[inline(always)]
fn dot(isa: Isa, a: &[f64], b: &[f64]) -> f64 {
    let mut sum = [0.0; LANES];
    for (a, b) in lanes(a).iter().zip(lanes(b)) {
        (0..LANES).for_each(|i| sum[i] = isa.fma_double(a[i], b[i], sum[i]));
    }
    sum.iter().sum()
}

#[inline(always)]
fn dot_magnitude(isa: Isa, a: &[f64], b: &[f64]) -> f64 {
    let mut sum = [0.0; LANES];
    for (a, b) in lanes(a).iter().zip(lanes(b)) {
        (0..LANES).for_each(|i| sum[i] = isa.fma_double(a[i].abs(), b[i], sum[i]));
    }
    sum.iter().sum()
}

/// Takes a row through a ReLU; returns what is added to its constant.
#[inline(always)]
fn bend(isa: Isa, row: &mut [f64], lines: &Relaxed) -> f64 {
    let mut sum = [0.0; LANES];
    let rows = row.as_chunks_mut::<LANES>().0;
    let lines = lanes(&lines.low).iter().zip(lanes(&lines.slope)).zip(lanes(&lines.shift));
    for (x, ((low, slope), shift)) in rows.iter_mut().zip(lines) {
        for i in 0..LANES {
            let (above, below) = (if x[i] > 0.0 { x[i] } else { 0.0 }, if x[i] < 0.0 { x[i] } else { 0.0 });
            x[i] = above * low[i] + below * slope[i];
            sum[i] = isa.fma_double(below, shift[i], sum[i]);
        }
    }
    sum.iter().sum()
}

/// `back[r] = sum over the live j of rows[r][j] weight[j]`, four rows and two vectors at a time.
#[inline(always)]
fn product(isa: Isa, rows: &[f64], length: usize, live: &[usize], weight: &[f64], width: usize, back: &mut [f64]) {
    const ROWS: usize = 4;
    let count = rows.len() / length;
    let vectors = width / LANES;
    let weight = lanes(weight);
    let back = back.as_chunks_mut::<LANES>().0;
    for r in (0..count).step_by(ROWS) {
        let height = ROWS.min(count - r);
        let row: [&[f64]; ROWS] = std::array::from_fn(|k| {
            let at = (r + k.min(height - 1)) * length;
            &rows[at..at + length]
        });
        let mut v = 0;
        while v < vectors {
            let two = v + 1 < vectors;
            let mut sums = [[[0.0; LANES]; 2]; ROWS];
            if two {
                for &j in live {
                    let (a, b) = (&weight[j * vectors + v], &weight[j * vectors + v + 1]);
                    for k in 0..ROWS {
                        let x = row[k][j];
                        for i in 0..LANES {
                            sums[k][0][i] = isa.fma_double(x, a[i], sums[k][0][i]);
                            sums[k][1][i] = isa.fma_double(x, b[i], sums[k][1][i]);
                        }
                    }
                }
            } else {
                for &j in live {
                    let a = &weight[j * vectors + v];
                    for k in 0..ROWS {
                        let x = row[k][j];
                        (0..LANES).for_each(|i| sums[k][0][i] = isa.fma_double(x, a[i], sums[k][0][i]));
                    }
                }
            }
            for k in 0..height {
                back[(r + k) * vectors + v] = sums[k][0];
                if two {
                    back[(r + k) * vectors + v + 1] = sums[k][1];
                }
            }
            v += 2;
        }
    }
}
