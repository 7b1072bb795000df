//! The checker's own reading of VNN-LIB 1.0, and of 2.0 what speaks of one network in linear rows: boxes, and the rows over outputs that
//! together would be a violation. Decimals stay decimals until a box or a row is made of them, and are then rounded outward.

use std::collections::{BTreeMap, HashMap};

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

/// What a file says.
pub struct Query {
    /// The different boxes in the order of their first conjunction; those without points are left out.
    pub cases: Vec<Case>,
    /// Whether it speaks of execution in single precision: whether the output is declared so.
    pub single: bool,
}

/// What is asserted of inputs and outputs.
#[derive(Clone)]
enum Atom {
    /// Of this input (side 0: lower, 1: upper) this end.
    End(usize, usize, f64),
    Row(Row),
}

/// A number of a variable: 0 is the input, 1 the output.
type Place = (usize, usize);

/// `sum of coefficient * place + constant`.
struct Linear {
    terms: BTreeMap<Place, Decimal>,
    constant: Decimal,
}

/// What is declared.
struct Names<'a> {
    sizes: [usize; 2],
    /// In version 1.0, which of `X_0, X_1, ...` and `Y_0, Y_1, ...`.
    numbered: [Vec<bool>; 2],
    /// In version 2.0, names with variable and shape.
    named: HashMap<&'a str, (usize, Vec<usize>)>,
    /// Which variables are in single precision.
    single: [bool; 2],
}

/// A text in parentheses, or a word.
enum Tree<'a> {
    Word(&'a str),
    List(Vec<Tree<'a>>),
}

/// The most ends and rows that a file may multiply out to.
const MOST: usize = 1 << 25;

/// Reads a property of a network with so many inputs and outputs.
pub fn read(text: &str, inputs: usize, outputs: usize) -> Result<Query> {
    let (named, numbered) = (HashMap::new(), [vec![false; inputs], vec![false; outputs]]);
    let mut names = Names { sizes: [inputs, outputs], numbered, named, single: [false; 2] };
    let (mut networks, mut conjunctions) = (0, vec![Vec::new()]);
    for statement in trees(text)? {
        let Tree::List(parts) = statement else { return Err("the property has a word outside of parentheses".into()) };
        match parts.as_slice() {
            [Tree::Word("vnnlib-version"), Tree::Word(version)] => {
                if !["1.", "2.", "<1.", "<2."].iter().any(|known| version.starts_with(known)) {
                    return Err(format!("the property is in version {version} of VNN-LIB; 1.0 and 2.0 are read"));
                }
            }
            [Tree::Word("declare-const"), Tree::Word(name), Tree::Word("Real")] => {
                let place = names.number(name);
                match place.and_then(|(of, i)| names.numbered[of].get_mut(i)) {
                    Some(seen) if !*seen => *seen = true,
                    _ => return Err(format!("the property declares {name} twice, or the network has no such value")),
                }
            }
            [Tree::Word("declare-network"), Tree::Word(name), variables @ ..] => {
                networks += 1;
                if networks > 1 {
                    return Err(format!("{name} is a second network of the property; only one can be checked"));
                }
                variables.iter().try_for_each(|variable| names.declare(variable))?;
            }
            [Tree::Word("assert"), formula] => conjunctions = product(conjunctions, names.disjunction(formula)?)?,
            [Tree::Word(other), ..] => return Err(format!("the property has a {other} that is not read")),
            _ => return Err("the property has something else than declarations and assertions".into()),
        }
    }
    let declared = names.numbered.iter().flatten().filter(|seen| **seen).count();
    if (declared, names.named.len()) != (inputs + outputs, 0) && (declared, names.named.len()) != (0, 2) {
        return Err("the property does not declare all inputs and outputs, or in both versions".into());
    }
    let mut cases: Vec<Case> = Vec::new();
    let mut known = HashMap::new();
    for atoms in conjunctions {
        let (mut ends, mut rows) = ([vec![f64::NEG_INFINITY; inputs], vec![f64::INFINITY; inputs]], Vec::new());
        for atom in atoms {
            match atom {
                Atom::End(i, 0, end) => ends[0][i] = ends[0][i].max(end),
                Atom::End(i, _, end) => ends[1][i] = ends[1][i].min(end),
                Atom::Row(row) => rows.push(row),
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
    Ok(Query { cases, single: names.single[1] })
}

fn trees(text: &str) -> Result<Vec<Tree<'_>>> {
    let mut open = vec![Vec::new()];
    for line in text.lines() {
        let mut rest = line.split(';').next().unwrap_or_default();
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            // Blanks between brackets belong to the word.
            let mut inside = false;
            let ends = |c: char| {
                inside = (inside || c == '[') && c != ']';
                !inside && (c.is_whitespace() || c == '(' || c == ')')
            };
            let size = rest.find(ends).unwrap_or(rest.len()).max(1);
            let (word, behind) = rest.split_at(size);
            rest = behind;
            match word {
                "(" if open.len() > 128 => return Err("the property is nested too deeply".into()),
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

impl<'a> Names<'a> {
    /// `(declare-input X float32 [1, 5])`.
    fn declare(&mut self, variable: &Tree<'a>) -> Result<()> {
        let words: Option<Vec<&'a str>> = match variable {
            Tree::List(parts) => {
                parts.iter().map(|part| if let Tree::Word(word) = part { Some(*word) } else { None }).collect()
            }
            Tree::Word(_) => None,
        };
        let (kind, name, element, shape) = match words.as_deref() {
            Some([kind @ ("declare-input" | "declare-output"), name, element, shape]) => {
                (*kind, *name, *element, *shape)
            }
            Some([other, ..]) => return Err(format!("the network of the property has a {other} that is not read")),
            _ => return Err("the network of the property has something else than an input and an output".into()),
        };
        let of = usize::from(kind == "declare-output");
        if !matches!(element, "real" | "float32") {
            return Err(format!("{name} of the property is of type {element}; proofs are about real and float32"));
        }
        let dims = indices(shape).ok_or_else(|| format!("{name} of the property has the shape {shape}"))?;
        if dims.iter().try_fold(1usize, |size, dim| size.checked_mul(*dim)) != Some(self.sizes[of]) {
            return Err(format!(
                "{name} of the property has the shape {shape}; the network has {} numbers",
                self.sizes[of]
            ));
        }
        self.single[of] = element == "float32";
        let again = self.named.values().any(|(other, _)| *other == of);
        if again || self.named.insert(name, (of, dims)).is_some() {
            return Err(format!("{name} is declared twice, or is a second input or output of the property"));
        }
        Ok(())
    }

    /// `X_3` or `Y_3`.
    fn number(&self, word: &str) -> Option<Place> {
        let index = |prefix: &str| word.strip_prefix(prefix)?.parse().ok();
        let place = index("X_").map(|i| (0, i)).or(index("Y_").map(|i| (1, i)))?;
        (place.1 < self.sizes[place.0]).then_some(place)
    }

    /// `X[0,3]` or, in version 1.0, `X_3`.
    fn place(&self, word: &str) -> Option<Place> {
        if self.named.is_empty() {
            return self.number(word).filter(|(of, i)| self.numbered[*of][*i]);
        }
        let (name, index) = word.split_at(word.find('[').unwrap_or(word.len()));
        let (of, shape) = self.named.get(name)?;
        let at = if index.is_empty() { Vec::new() } else { indices(index)? };
        let inside = at.len() == shape.len() && at.iter().zip(shape).all(|(i, size)| i < size);
        inside.then(|| (*of, at.iter().zip(shape).fold(0, |sum, (i, size)| sum * size + i)))
    }

    /// A formula as conjunctions, one of which has to hold.
    fn disjunction(&self, formula: &Tree) -> Result<Vec<Vec<Atom>>> {
        let Tree::List(parts) = formula else { return Err("a word where a formula belongs".into()) };
        let (Some(Tree::Word(operator)), arguments) = (parts.first(), parts.get(1..).unwrap_or_default()) else {
            return Err("a formula without an operator".into());
        };
        let mut formulas = arguments.iter().map(|argument| self.disjunction(argument));
        match (*operator, arguments) {
            ("or", [_, ..]) => Ok(formulas.collect::<Result<Vec<_>>>()?.concat()),
            ("and", [_, ..]) => formulas.try_fold(vec![Vec::new()], |all, found| product(all, found?)),
            // A proof covers an end that does not belong to the set too.
            ("<=" | "<", [a, b]) => Ok(vec![vec![self.at_most(a, b)?]]),
            (">=" | ">", [a, b]) => Ok(vec![vec![self.at_most(b, a)?]]),
            ("==" | "=", [a, b]) => Ok(vec![vec![self.at_most(a, b)?, self.at_most(b, a)?]]),
            _ => Err(format!("the operator {operator} with {} arguments in the property", arguments.len())),
        }
    }

    /// `a <= b`.
    fn at_most(&self, a: &Tree, b: &Tree) -> Result<Atom> {
        let long = || "a number of the property has too many digits to be reckoned with".to_string();
        let (a, b) = (self.linear(a)?, self.linear(b)?);
        let Linear { mut terms, constant } = b.times(Decimal::MINUS).and_then(|b| a.plus(b)).ok_or_else(long)?;
        terms.retain(|_, c| !c.is_zero());
        let bound = constant.times(Decimal::MINUS).ok_or_else(long)?;
        // Next to a variable in single precision a number may stand for the float that it is nearest to.
        let float = |of: usize, end: f64| if self.single[of] { f64::from(end as f32) } else { end };
        let terms: Vec<(Place, Decimal)> = terms.into_iter().collect();
        match terms[..] {
            [((0, i), c)] => {
                let unit = matches!(c, Decimal::Exact(1 | -1, 0));
                let [least, most] = c.between();
                let above = least > 0.0;
                if least <= 0.0 && most >= 0.0 {
                    return Err(format!("a coefficient of number {i} of the property's input is too small"));
                }
                let ends = bound.between().map(|b| [b / least, b / most]).concat();
                let least = ends.iter().copied().fold(f64::INFINITY, f64::min);
                let most = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let [least, most] = if unit { [least, most] } else { [least.next_down(), most.next_up()] };
                if !least.is_finite() || !most.is_finite() {
                    return Err(format!("an end of number {i} of the property's input is too large"));
                }
                Ok(if above {
                    Atom::End(i, 1, most.max(float(0, most)))
                } else {
                    Atom::End(i, 0, least.min(float(0, least)))
                })
            }
            [_, ..] if terms.iter().all(|((of, _), _)| *of == 1) => {
                // By the least power of ten that makes the coefficients whole, as the multipliers of a proof expect.
                let power = terms.iter().map(|(_, c)| c.exponent()).min().unwrap_or(0).min(0);
                let whole = |((_, i), c): &(Place, Decimal)| {
                    let whole = c.scaled(power).filter(|c| c.unsigned_abs() <= 1 << 53);
                    Ok((
                        *i,
                        whole.ok_or_else(|| format!("a coefficient of number {i} of the output has too many digits"))?
                            as f64,
                    ))
                };
                let terms = terms.iter().map(whole).collect::<Result<_>>()?;
                let bound = bound.shifted(-power).ok_or_else(long)?.between()[1];
                Ok(Atom::Row(Row { terms, bound: bound.max(float(1, bound)) }))
            }
            [] => Err("the property compares constants".into()),
            _ => Err("the property compares several inputs, or inputs with outputs".into()),
        }
    }

    fn linear(&self, term: &Tree) -> Result<Linear> {
        let long = || "a number of the property has too many digits to be reckoned with".to_string();
        let parts = match term {
            Tree::Word(word) => {
                if let Some(place) = self.place(word) {
                    return Ok(Linear { terms: BTreeMap::from([(place, Decimal::ONE)]), constant: Decimal::ZERO });
                }
                let constant =
                    Decimal::parse(word).ok_or_else(|| format!("{word} is neither a variable nor a number"))?;
                return Ok(Linear { terms: BTreeMap::new(), constant });
            }
            Tree::List(parts) => parts,
        };
        let (Some(Tree::Word(operator)), [first, rest @ ..]) = (parts.first(), parts.get(1..).unwrap_or_default())
        else {
            return Err("a term of the property without an operator, or of nothing".into());
        };
        let mut sum = self.linear(first)?;
        if *operator == "-" && rest.is_empty() {
            return sum.times(Decimal::MINUS).ok_or_else(long);
        }
        for part in rest {
            let part = self.linear(part)?;
            sum = match *operator {
                "+" => sum.plus(part),
                "-" => part.times(Decimal::MINUS).and_then(|part| sum.plus(part)),
                "*" if part.terms.is_empty() => sum.times(part.constant),
                "*" if sum.terms.is_empty() => part.times(sum.constant),
                "*" => return Err("the property has a product of variables".into()),
                _ => return Err(format!("the operator {operator} in a term of the property")),
            }
            .ok_or_else(long)?;
        }
        match *operator {
            "+" | "-" | "*" => Ok(sum),
            _ => Err(format!("the operator {operator} in a term of the property")),
        }
    }
}

impl Linear {
    fn plus(mut self, other: Self) -> Option<Self> {
        for (place, c) in other.terms {
            let sum = self.terms.get(&place).copied().unwrap_or(Decimal::ZERO).plus(c)?;
            self.terms.insert(place, sum);
        }
        Some(Self { constant: self.constant.plus(other.constant)?, ..self })
    }

    fn times(self, factor: Decimal) -> Option<Self> {
        let terms = self.terms.into_iter().map(|(place, c)| Some((place, c.times(factor)?))).collect::<Option<_>>()?;
        Some(Self { terms, constant: self.constant.times(factor)? })
    }
}

/// `[1, 5]`; `[]` for a single number.
fn indices(text: &str) -> Option<Vec<usize>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    if inside.is_empty() { Some(Vec::new()) } else { inside.split(',').map(|n| n.trim().parse().ok()).collect() }
}

/// A decimal number.
#[derive(Clone, Copy)]
enum Decimal {
    /// `digits * 10^exponent`.
    Exact(i128, i32),
    /// One that is longer, by doubles below and above.
    Long([f64; 2]),
}

impl Decimal {
    const ZERO: Self = Self::Exact(0, 0);
    const ONE: Self = Self::Exact(1, 0);
    const MINUS: Self = Self::Exact(-1, 0);

    /// `-?digits(.digits)?([eE][+-]?digits)?`.
    fn parse(word: &str) -> Option<Self> {
        let (number, exponent) = match word.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 400)?),
            None => (word, 0),
        };
        let plain = number.strip_prefix('-').unwrap_or(number);
        let (whole, part) = plain.split_once('.').unwrap_or((plain, "0"));
        if [whole, part].iter().any(|part| part.is_empty() || !part.bytes().all(|c| c.is_ascii_digit())) {
            return None;
        }
        let part = part.trim_end_matches('0');
        let nearest: f64 = word.parse().ok()?;
        let digits = format!("{whole}{part}").parse::<i128>().ok().filter(|digits| *digits < 10i128.pow(36));
        Some(match digits {
            Some(digits) => {
                let digits = if number.starts_with('-') { -digits } else { digits };
                let exponent = exponent - i32::try_from(part.len()).ok()?;
                (exponent.abs() <= 400).then_some(Self::Exact(digits, exponent))?
            }
            None => Self::Long([nearest.next_down(), nearest.next_up()]),
        })
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Exact(0, _))
    }

    fn exponent(self) -> i32 {
        if let Self::Exact(_, exponent) = self { exponent } else { 0 }
    }

    /// The digits at an exponent that is not larger.
    fn scaled(self, exponent: i32) -> Option<i128> {
        let Self::Exact(digits, own) = self else { return None };
        digits.checked_mul(10i128.checked_pow(own.checked_sub(exponent)?.try_into().ok()?)?)
    }

    /// This times a power of ten.
    fn shifted(self, by: i32) -> Option<Self> {
        match self {
            Self::Exact(digits, exponent) => Some(Self::Exact(digits, exponent.checked_add(by)?)),
            Self::Long(_) => (by == 0).then_some(self),
        }
    }

    fn plus(self, other: Self) -> Option<Self> {
        if self.is_zero() || other.is_zero() {
            return Some(if self.is_zero() { other } else { self });
        }
        let exponent = self.exponent().min(other.exponent());
        Some(Self::Exact(self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?, exponent))
    }

    fn times(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Exact(a, e), Self::Exact(b, f)) => {
                Some(Self::Exact(a.checked_mul(b)?, e.checked_add(f).filter(|e| e.abs() <= 400)?))
            }
            (Self::Long(ends), Self::Exact(1, 0)) | (Self::Exact(1, 0), Self::Long(ends)) => Some(Self::Long(ends)),
            (Self::Long([a, b]), Self::Exact(-1, 0)) | (Self::Exact(-1, 0), Self::Long([a, b])) => {
                Some(Self::Long([-b, -a]))
            }
            _ => None,
        }
    }

    /// The doubles between which it lies: one and the same if it is a double, as far as that is easy to see.
    fn between(self) -> [f64; 2] {
        let (digits, exponent) = match self {
            Self::Exact(digits, exponent) => (digits, exponent),
            Self::Long(ends) => return ends,
        };
        let nearest: f64 = format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN);
        let exact = || {
            // digits / 10^n = (digits / 5^n) / 2^n
            let fives = 5i128.checked_pow((-exponent).max(0) as u32)?;
            let whole = digits.checked_mul(10i128.checked_pow(exponent.max(0) as u32)?)?;
            Some(whole % fives == 0 && (whole / fives).unsigned_abs() <= 1 << 53)
        };
        if exact().unwrap_or(false) { [nearest; 2] } else { [nearest.next_down(), nearest.next_up()] }
    }
}
