//! Everything that is wrong, reported at once.

use temper_base::{Kind, Problem};

/// One problem or several.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

/// The result of a command: an exit code.
pub type Outcome<T = u8> = Result<T, Problems>;

impl Problems {
    /// The exit code: that of the gravest kind, the machine before training before input.
    pub fn exit_code(&self) -> u8 {
        self.0.iter().map(|problem| problem.kind).map(Kind::exit_code).max().unwrap_or(4)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}
