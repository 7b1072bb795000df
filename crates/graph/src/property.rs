//! What is to be verified of a network: a set of inputs, and what its outputs may not be. The form is that of VNN-LIB: the property is
//! *violated* if an input of the set has outputs that meet all constraints of one of several groups.

use temper_base::{Problem, Result};

/// All inputs between two ends, numbered as the network reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct InputBox {
    /// Least value of every input.
    pub lower: Vec<f64>,
    /// Largest value of every input.
    pub upper: Vec<f64>,
}

/// `sum of coefficient * output <= bound`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearConstraint {
    /// Numbers of outputs with their coefficients.
    pub terms: Vec<(usize, f64)>,
    /// The bound.
    pub bound: f64,
}

impl LinearConstraint {
    /// Whether these outputs meet it; a NaN meets nothing.
    pub fn met_by(&self, outputs: &[f64]) -> bool {
        self.terms.iter().map(|(output, coefficient)| coefficient * outputs[*output]).sum::<f64>() <= self.bound
    }
}

/// A set of inputs, and what their outputs may not be. There is none that [`new`](Self::new) has not checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    input: InputBox,
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
        let terms = || violations.iter().flatten().flat_map(|constraint| &constraint.terms);
        if let Some((output, _)) = terms().find(|(output, _)| *output >= outputs) {
            return fail(format!("output {output} of a network with {outputs} outputs"));
        }
        let unmet = |constraint: &&LinearConstraint| {
            constraint.bound.is_nan() || constraint.terms.iter().any(|(_, coefficient)| !coefficient.is_finite())
        };
        if let Some(LinearConstraint { terms, bound }) = violations.iter().flatten().find(unmet) {
            return fail(format!("a constraint with the coefficients {terms:?} and the bound {bound}"));
        }
        Ok(Self { input, violations, outputs })
    }

    /// The inputs.
    pub fn input(&self) -> &InputBox {
        &self.input
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
        let beaten = |rival: usize| vec![LinearConstraint { terms: vec![(label, 1.0), (rival, -1.0)], bound: 0.0 }];
        Self::new(input, rivals.map(beaten).collect(), classes)
    }

    /// Whether these outputs violate it.
    pub fn violated_by(&self, outputs: &[f64]) -> bool {
        self.violations.iter().any(|group| group.iter().all(|constraint| constraint.met_by(outputs)))
    }
}
