//! What is to be verified of a network: a set of inputs, and what its outputs may not be. The form is that of VNN-LIB: the property is
//! *violated* if an input of the set has outputs that meet all constraints of one of several groups.

use temper_base::{Problem, Result};

/// All inputs between two ends, numbered as the network reads them.
///
/// A file may give an end that is no double, as 0.1 is none. Then `lower` and `upper` are the doubles just outside, so that a proof
/// covers what was meant, and `within` has the doubles just inside: only a point between those is known to be an input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputBox {
    /// Least value of every input.
    pub lower: Vec<f64>,
    /// Largest value of every input.
    pub upper: Vec<f64>,
    /// `[lower, upper]` of the doubles that certainly belong to the set; `None` where the ends themselves do.
    pub within: Option<[Vec<f64>; 2]>,
}

impl InputBox {
    /// The box of ends that are meant as they are.
    pub fn exact(lower: Vec<f64>, upper: Vec<f64>) -> Self {
        Self { lower, upper, within: None }
    }

    /// The ends between which a counterexample has to lie. One of them may be empty: between two neighbouring doubles there is none.
    pub fn certain(&self) -> [&[f64]; 2] {
        match &self.within {
            Some([lower, upper]) => [lower, upper],
            None => [&self.lower, &self.upper],
        }
    }

    /// Whether this point certainly belongs to the set; a NaN does not.
    pub fn contains(&self, point: &[f64]) -> bool {
        let [lower, upper] = self.certain();
        point.len() == lower.len() && point.iter().zip(lower.iter().zip(upper)).all(|(x, (l, u))| l <= x && x <= u)
    }
}

/// All inputs at most so far from a point, in the Euclidean norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Ball {
    /// The point.
    pub centre: Vec<f64>,
    /// The distance: not below the one that was meant, so that a proof covers it.
    pub radius: f64,
    /// A distance not above it, within which an input certainly belongs to the ball.
    pub certain: f64,
}

impl Ball {
    /// Whether this point certainly belongs to it; a NaN does not.
    pub fn contains(&self, point: &[f64]) -> bool {
        let terms = point.len() as f64;
        let squares = point.iter().zip(&self.centre).map(|(x, c)| (x - c) * (x - c)).sum::<f64>();
        // The sum and the square are rounded, and squares may be too small for a normal number.
        let most = squares * (1.0 + (terms + 8.0) * f64::EPSILON) + terms * f64::MIN_POSITIVE;
        point == self.centre || (point.len() == self.centre.len() && most <= self.certain * self.certain)
    }
}

/// `sum of coefficient * output <= bound`, or `<`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearConstraint {
    /// Numbers of outputs with their coefficients, each output once.
    pub terms: Vec<(usize, f64)>,
    /// The bound; where the one that was meant is no double, the next one above, so that a proof covers it.
    pub bound: f64,
    /// The bound that outputs have to meet to count as a violation: `bound` or, where that was rounded, the double below.
    pub certain: f64,
    /// Whether equality is no violation. A proof shows more: it excludes equality too.
    pub strict: bool,
}

impl LinearConstraint {
    /// The constraint of numbers that are meant as they are.
    pub fn at_most(terms: Vec<(usize, f64)>, bound: f64) -> Self {
        Self { terms, bound, certain: bound, strict: false }
    }

    /// Whether these outputs certainly meet it; a NaN meets nothing.
    pub fn met_by(&self, outputs: &[f64]) -> bool {
        let sum = self.terms.iter().map(|(output, coefficient)| coefficient * outputs[*output]).sum::<f64>();
        if self.strict { sum < self.certain } else { sum <= self.certain }
    }
}

/// A set of inputs, and what their outputs may not be. There is none that [`new`](Self::new) has not checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    input: InputBox,
    ball: Option<Ball>,
    violations: Vec<Vec<LinearConstraint>>,
    outputs: usize,
}

impl Property {
    /// A property of a network with `outputs` outputs.
    ///
    /// # Errors
    /// Ends that are not numbers or in the wrong order, outputs that the network does not have, and constraints that no outputs meet,
    /// since a coefficient or the bound is not a number: they would make any network look verified.
    pub fn new(input: InputBox, violations: Vec<Vec<LinearConstraint>>, outputs: usize) -> Result<Self> {
        let fail = |why: String| Err(Problem::input("build property", "property", why));
        if input.lower.len() != input.upper.len() {
            return fail(format!("{} lower ends and {} upper ends", input.lower.len(), input.upper.len()));
        }
        // Not `lower > upper`: that would let a NaN pass.
        let ordered = |(lower, upper): (&f64, &f64)| lower <= upper;
        if let Some(at) = input.lower.iter().zip(&input.upper).position(|ends| !ordered(ends)) {
            return fail(format!("input {at} lies between {} and {}", input.lower[at], input.upper[at]));
        }
        if input.within.as_ref().is_some_and(|ends| ends.iter().any(|end| end.len() != input.lower.len())) {
            return fail("the certain ends are not as many as the ends".into());
        }
        let terms = || violations.iter().flatten().flat_map(|constraint| &constraint.terms);
        if let Some((output, _)) = terms().find(|(output, _)| *output >= outputs) {
            return fail(format!("output {output} of a network with {outputs} outputs"));
        }
        let unmet = |constraint: &&LinearConstraint| {
            constraint.bound.is_nan()
                || constraint.certain.is_nan()
                || constraint.terms.iter().any(|(_, coefficient)| !coefficient.is_finite())
        };
        if let Some(LinearConstraint { terms, bound, .. }) = violations.iter().flatten().find(unmet) {
            return fail(format!("a constraint with the coefficients {terms:?} and the bound {bound}"));
        }
        Ok(Self { input, ball: None, violations, outputs })
    }

    /// The same of those inputs alone that lie in a ball too.
    ///
    /// # Errors
    /// A centre of another size, and numbers that are none or not in order.
    pub fn in_ball(self, ball: Ball) -> Result<Self> {
        let Ball { centre, radius, certain } = &ball;
        let number = centre.iter().all(|c| c.is_finite()) && radius.is_finite();
        if centre.len() != self.input.lower.len() || !number || !(0.0..=*radius).contains(certain) {
            let why = format!("a ball around {} numbers of radius {radius}, certainly {certain}", centre.len());
            return Err(Problem::input("build property", "property", why));
        }
        Ok(Self { ball: Some(ball), ..self })
    }

    /// The inputs; of a ball, a box around it.
    pub fn input(&self) -> &InputBox {
        &self.input
    }

    /// The ball that inputs lie in besides, if there is one.
    pub fn ball(&self) -> Option<&Ball> {
        self.ball.as_ref()
    }

    /// Whether this point certainly is an input; a NaN is not.
    pub fn contains(&self, point: &[f64]) -> bool {
        self.input.contains(point) && self.ball.as_ref().is_none_or(|ball| ball.contains(point))
    }

    /// Outputs that meet every constraint of one of these groups violate the property.
    pub fn violations(&self) -> &[Vec<LinearConstraint>] {
        &self.violations
    }

    /// How many outputs the network has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// No input of the box has another class than `label`: its output is above all others.
    ///
    /// # Errors
    /// As [`Property::new`], and a label that is none.
    pub fn robust(input: InputBox, label: usize, classes: usize) -> Result<Self> {
        let rivals = (0..classes).filter(|class| *class != label);
        let beaten = |rival: usize| vec![LinearConstraint::at_most(vec![(label, 1.0), (rival, -1.0)], 0.0)];
        Self::new(input, rivals.map(beaten).collect(), classes)
    }

    /// Whether these outputs violate it.
    pub fn violated_by(&self, outputs: &[f64]) -> bool {
        self.violations.iter().any(|group| group.iter().all(|constraint| constraint.met_by(outputs)))
    }
}
