//! The checker's own reading of VNN-LIB 1.0: boxes, and the rows over outputs that together would be a violation.

type Result<T> = std::result::Result<T, String>;

/// `sum of coefficient * output <= bound`.
#[derive(Clone, PartialEq)]
pub struct Row {
    /// Outputs with their coefficients.
    pub terms: Vec<(usize, f64)>,
    /// The bound, rounded upward.
    pub bound: f64,
}

/// A set of inputs and groups of rows: an input violates the property if its outputs meet all rows of a group.
pub struct Case {
    /// Lower and upper ends, rounded outward.
    pub input: [Vec<f64>; 2],
    /// The groups.
    pub groups: Vec<Vec<Row>>,
}

/// What is asserted of inputs and outputs.
#[derive(Clone)]
enum Atom {
    /// Of this input (side 0: lower, 1: upper) this end.
    End(usize, usize, f64),
    Row(Row),
}

/// A variable or a number with the doubles on both sides of it.
enum Term {
    X(usize),
    Y(usize),
    Number([f64; 2]),
}

/// A text in parentheses, or a word.
enum Tree<'a> {
    Word(&'a str),
    List(Vec<Tree<'a>>),
}

/// The most ends and rows that a file may multiply out to.
const MOST: usize = 1 << 25;

/// Reads a property of a network with so many inputs and outputs: the different boxes in the order of their first conjunction. A box
/// without points is left out.
pub fn read(text: &str, inputs: usize, outputs: usize) -> Result<Vec<Case>> {
    let (mut declared, mut conjunctions) = ([vec![false; inputs], vec![false; outputs]], vec![Vec::new()]);
    for statement in trees(text)? {
        let Tree::List(parts) = statement else { return Err("the property has a word outside of parentheses".into()) };
        match parts.as_slice() {
            [Tree::Word("declare-const"), Tree::Word(name), Tree::Word("Real")] => {
                let seen = match term(name)? {
                    Term::X(i) => declared[0].get_mut(i),
                    Term::Y(i) => declared[1].get_mut(i),
                    Term::Number(_) => None,
                };
                match seen {
                    Some(seen) if !*seen => *seen = true,
                    _ => return Err(format!("the property declares {name} twice, or the network has no such value")),
                }
            }
            [Tree::Word("assert"), formula] => {
                let found = disjunction(formula)?;
                conjunctions = product(conjunctions, found)?;
            }
            _ => return Err("the property has something else than declarations and assertions".into()),
        }
    }
    if declared.iter().flatten().any(|seen| !seen) {
        return Err("the property does not declare all inputs and outputs".into());
    }
    let mut cases: Vec<Case> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for atoms in conjunctions {
        let (mut ends, mut rows) = ([vec![f64::NEG_INFINITY; inputs], vec![f64::INFINITY; inputs]], Vec::new());
        for atom in atoms {
            match atom {
                Atom::End(i, side, end) if i < inputs => {
                    let old = &mut ends[side][i];
                    *old = if side == 0 { old.max(end) } else { old.min(end) };
                }
                Atom::Row(row) if row.terms.iter().all(|(i, _)| *i < outputs) => rows.push(row),
                _ => return Err("the property asserts something of a value that the network does not have".into()),
            }
        }
        if ends.iter().flatten().any(|end| !end.is_finite()) {
            return Err("the property leaves an input without an end".into());
        }
        if ends[0].iter().zip(&ends[1]).any(|(lower, upper)| lower > upper) {
            continue;
        }
        let key: Vec<u64> = ends.iter().flatten().map(|end| end.to_bits()).collect();
        let case = *known.entry(key).or_insert(cases.len());
        if case == cases.len() {
            cases.push(Case { input: ends, groups: Vec::new() });
        }
        cases[case].groups.push(rows);
    }
    Ok(cases)
}

fn trees(text: &str) -> Result<Vec<Tree<'_>>> {
    let mut open = vec![Vec::new()];
    for line in text.lines() {
        let mut rest = line.split(';').next().unwrap_or_default();
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let size = rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(rest.len()).max(1);
            let (word, behind) = rest.split_at(size);
            rest = behind;
            match word {
                "(" if open.len() > 32 => return Err("the property is nested too deeply".into()),
                "(" => open.push(Vec::new()),
                ")" => {
                    let list = open.pop().unwrap_or_default();
                    open.last_mut().ok_or("a parenthesis too many")?.push(Tree::List(list));
                }
                _ => open.last_mut().ok_or("a parenthesis too many")?.push(Tree::Word(word)),
            }
        }
    }
    if open.len() == 1 { Ok(open.remove(0)) } else { Err("a parenthesis is missing".into()) }
}

/// All conjunctions of one on the left and one on the right.
fn product(mut left: Vec<Vec<Atom>>, right: Vec<Vec<Atom>>) -> Result<Vec<Vec<Atom>>> {
    if let [only] = right.as_slice() {
        left.iter_mut().for_each(|atoms| atoms.extend_from_slice(only));
        return Ok(left);
    }
    let size = |side: &[Vec<Atom>]| side.iter().map(|atoms| atoms.len() + 1).sum::<usize>();
    if size(&left).saturating_mul(right.len()).saturating_add(size(&right).saturating_mul(left.len())) > MOST {
        return Err("the property has too many cases".into());
    }
    Ok(left.iter().flat_map(|a| right.iter().map(move |b| [a.as_slice(), b].concat())).collect())
}

/// A formula as conjunctions, one of which has to hold.
fn disjunction(formula: &Tree) -> Result<Vec<Vec<Atom>>> {
    let Tree::List(parts) = formula else { return Err("a word where a formula belongs".into()) };
    let (Some(Tree::Word(operator)), arguments) = (parts.first(), parts.get(1..).unwrap_or_default()) else {
        return Err("a formula without an operator".into());
    };
    match (*operator, arguments) {
        ("or", [_, ..]) => Ok(arguments.iter().map(disjunction).collect::<Result<Vec<_>>>()?.concat()),
        ("and", [_, ..]) => {
            arguments.iter().try_fold(vec![Vec::new()], |all, argument| product(all, disjunction(argument)?))
        }
        ("<=", [Tree::Word(a), Tree::Word(b)]) => Ok(vec![vec![at_most(a, b)?]]),
        (">=", [Tree::Word(a), Tree::Word(b)]) => Ok(vec![vec![at_most(b, a)?]]),
        _ => Err(format!("the operator {operator} with {} arguments", arguments.len())),
    }
}

/// `a <= b`.
fn at_most(a: &str, b: &str) -> Result<Atom> {
    match (term(a)?, term(b)?) {
        (Term::X(i), Term::Number([_, above])) => Ok(Atom::End(i, 1, above)),
        (Term::Number([below, _]), Term::X(i)) => Ok(Atom::End(i, 0, below)),
        (Term::Y(i), Term::Number([_, above])) => Ok(Atom::Row(Row { terms: vec![(i, 1.0)], bound: above })),
        (Term::Number([below, _]), Term::Y(i)) => Ok(Atom::Row(Row { terms: vec![(i, -1.0)], bound: -below })),
        (Term::Y(i), Term::Y(j)) if i != j => Ok(Atom::Row(Row { terms: vec![(i, 1.0), (j, -1.0)], bound: 0.0 })),
        _ => Err(format!("{a} <= {b} is neither the end of an input nor a row over outputs")),
    }
}

fn term(word: &str) -> Result<Term> {
    let index = |name: &str| word.strip_prefix(name).and_then(|number| number.parse().ok());
    match (index("X_"), index("Y_")) {
        (Some(i), _) => Ok(Term::X(i)),
        (_, Some(i)) => Ok(Term::Y(i)),
        _ => number(word).map(Term::Number).ok_or_else(|| format!("{word} is neither a variable nor a number")),
    }
}

/// The doubles between which a decimal number lies: one and the same if the number is a double, as far as that is easy to see.
fn number(word: &str) -> Option<[f64; 2]> {
    let plain = word.strip_prefix('-').unwrap_or(word);
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    if !plain.starts_with(|c: char| c.is_ascii_digit()) || !plain.chars().all(allowed) {
        return None;
    }
    let nearest: f64 = word.parse().ok().filter(|number: &f64| number.is_finite())?;
    let (whole, part) = plain.split_once('.').unwrap_or((plain, ""));
    let exact = || {
        let digits: u128 = format!("{whole}{part}").parse().ok()?;
        let fives = 5u128.checked_pow(part.len() as u32)?;
        // digits / 10^n = (digits / 5^n) / 2^n
        Some(digits.is_multiple_of(fives) && digits / fives <= 1 << 53)
    };
    Some(if exact().unwrap_or(false) { [nearest; 2] } else { [nearest.next_down(), nearest.next_up()] })
}
