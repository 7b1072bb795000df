//! From assertions to boxes and groups of constraints.

use std::collections::{BTreeMap, HashMap};

use temper_graph::{InputBox, LinearConstraint, Property};

use super::decimal::Decimal;
use super::tokens::{Token, Tokens};
use super::{Element, Query, Variable};

/// Line, what is wrong, and a remedy (empty: none).
type Fault = (usize, String, &'static str);
type Read<T> = Result<T, Fault>;

/// Deepest nesting.
const DEEPEST: usize = 64;
/// Most alternatives that a file may come to.
const MOST: usize = 1 << 20;

/// An input or an output, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Input(usize),
    Output(usize),
}

/// `sum of coefficients * variables + constant`.
#[derive(Debug, Clone)]
struct Linear {
    terms: BTreeMap<Place, Decimal>,
    constant: Decimal,
}

/// An end of an input.
#[derive(Debug, Clone, PartialEq)]
struct Edge {
    input: usize,
    /// The input is at most this; else at least.
    upper: bool,
    /// The doubles just below and above; the one inside the set is next to the end if that does not belong to it.
    between: [f64; 2],
}

/// What has to hold together.
#[derive(Debug, Clone, Default)]
struct Case {
    edges: Vec<Edge>,
    rows: Vec<LinearConstraint>,
}

/// A name of version 2.0.
struct Declared {
    input: bool,
    shape: Vec<usize>,
}

pub(super) struct Reader<'a> {
    tokens: Tokens<'a>,
    inputs: usize,
    outputs: usize,
    version: Option<(u32, u32)>,
    networks: usize,
    declared: [Vec<bool>; 2],
    names: HashMap<String, Declared>,
    variables: Vec<(bool, Variable)>,
    /// What every case holds.
    common: Vec<Edge>,
    /// Alternatives of each assertion that is more than an edge.
    alternatives: Vec<Vec<Case>>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, inputs: usize, outputs: usize) -> Self {
        Self {
            tokens: Tokens::new(text),
            inputs,
            outputs,
            version: None,
            networks: 0,
            declared: [vec![false; inputs], vec![false; outputs]],
            names: HashMap::new(),
            variables: Vec::new(),
            common: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    fn fail<T>(&self, why: impl Into<String>, hint: &'static str) -> Read<T> {
        Err((self.tokens.line, why.into(), hint))
    }

    fn word(&mut self, what: &str) -> Read<&'a str> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            Some(Token::Open) => self.fail(format!("an opening parenthesis where {what} belongs"), ""),
            Some(Token::Close) => self.fail(format!("a closing parenthesis where {what} belongs"), ""),
            None => self.fail(format!("the file ends where {what} belongs"), "the file was cut short"),
        }
    }

    fn close(&mut self) -> Read<()> {
        match self.tokens.next() {
            Some(Token::Close) => Ok(()),
            Some(Token::Open) => self.fail("a list where a closing parenthesis belongs", ""),
            Some(Token::Word(word)) => self.fail(format!("\"{word}\" where a closing parenthesis belongs"), ""),
            None => self.fail("the file ends where a closing parenthesis belongs", "the file was cut short"),
        }
    }

    pub fn read(mut self) -> Read<Query> {
        loop {
            match self.tokens.next() {
                None => break,
                Some(Token::Open) => self.item()?,
                Some(Token::Close) => return self.fail("a closing parenthesis without its opening one", ""),
                Some(Token::Word(word)) => {
                    return self.fail(
                        format!("\"{word}\" outside of parentheses"),
                        "a VNN-LIB file is a list of (declare-const ...) and (assert ...)",
                    );
                }
            }
        }
        for (kind, flags) in ["X", "Y"].iter().zip(&self.declared) {
            if let Some(at) = flags.iter().position(|declared| !declared) {
                let network = format!("the network has {} inputs and {} outputs", self.inputs, self.outputs);
                let number = flags.len();
                return self.fail(
                    format!(
                        "{kind}_{at} is not declared; {network}, so that {kind}_0 to {kind}_{} belong here",
                        number - 1
                    ),
                    "the property and the network belong together",
                );
            }
        }
        self.compile()
    }

    fn item(&mut self) -> Read<()> {
        match self.word("declare-const or assert")? {
            "declare-const" => self.constant(),
            "assert" => {
                let cases = self.formula(0)?;
                self.close()?;
                self.assert(cases);
                Ok(())
            }
            "vnnlib-version" => {
                let text = self.word("a version")?;
                let text = text.trim_matches(['<', '>']);
                let number = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                match number {
                    Some(version @ (1 | 2, _)) => self.version = Some(version),
                    _ => return self.fail(format!("version \"{text}\""), "Temper reads VNN-LIB 1.0 and 2.0"),
                }
                self.close()
            }
            "declare-network" => self.network(),
            other => self.fail(
                format!("\"{other}\" is nothing that a VNN-LIB file holds"),
                "declare-const, declare-network, assert",
            ),
        }
    }

    /// `(declare-const X_3 Real)`.
    fn constant(&mut self) -> Read<()> {
        let name = self.word("a name")?;
        let kind = self.word("Real")?;
        if kind != "Real" {
            return self.fail(format!("{name} is of type {kind}"), "VNN-LIB 1.0 has the type Real");
        }
        let place = self.numbered(name)?;
        let (flags, at) = match place {
            Place::Input(at) => (&mut self.declared[0], at),
            Place::Output(at) => (&mut self.declared[1], at),
        };
        if std::mem::replace(&mut flags[at], true) {
            return self.fail(format!("{name} is declared twice"), "");
        }
        self.close()
    }

    /// `X_3`.
    fn numbered(&self, name: &str) -> Read<Place> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| n.to_string() == text);
        let (kind, at) = match name.split_once('_') {
            Some(("X", rest)) => ("inputs", number(rest).map(Place::Input)),
            Some(("Y", rest)) => ("outputs", number(rest).map(Place::Output)),
            _ => {
                return self
                    .fail(format!("\"{name}\" is no variable"), "variables are X_0, X_1, ... and Y_0, Y_1, ...");
            }
        };
        let Some(place) = at else {
            return self.fail(format!("\"{name}\" is no variable"), "variables are X_0, X_1, ... and Y_0, Y_1, ...");
        };
        let (at, size) = match place {
            Place::Input(at) => (at, self.inputs),
            Place::Output(at) => (at, self.outputs),
        };
        if at >= size {
            return self.fail(
                format!("{name} of a network with {size} {kind}"),
                "the property and the network belong together",
            );
        }
        Ok(place)
    }

    /// `(declare-network f (declare-input X float32 [1, 5]) (declare-output Y float32 [1, 5]))`.
    fn network(&mut self) -> Read<()> {
        let name = self.word("the name of a network")?;
        self.networks += 1;
        if self.networks > 1 {
            return self.fail(format!("{name} is a second network"), "Temper verifies properties of one network");
        }
        self.version = self.version.or(Some((2, 0)));
        loop {
            match self.tokens.next() {
                Some(Token::Close) => return Ok(()),
                Some(Token::Open) => {}
                Some(Token::Word(word)) => return self.fail(format!("\"{word}\" where a declaration belongs"), ""),
                None => return self.fail("the file ends within a network", "the file was cut short"),
            }
            let what = self.word("a declaration")?;
            let input = match what {
                "declare-input" => true,
                "declare-output" => false,
                "declare-hidden" => {
                    return self.fail(
                        "declare-hidden: a property of a hidden node",
                        "Temper verifies properties of inputs and outputs",
                    );
                }
                "equal-to" | "isomorphic-to" => {
                    return self.fail(
                        format!("{what}: a property of two networks"),
                        "Temper verifies properties of one network",
                    );
                }
                other => return self.fail(format!("\"{other}\" is no declaration of a network"), ""),
            };
            let name = self.word("a name")?.to_owned();
            let kind = self.word("a type")?;
            let element = Element::from_name(kind);
            let Some(element) = element else {
                return self.fail(
                    format!("{name} is of type {kind}"),
                    "Temper verifies networks over real, float32 and float64",
                );
            };
            let shape = self.word("a shape")?;
            let Some(shape) = indices(shape.strip_prefix('[').unwrap_or("?")) else {
                return self.fail(format!("\"{shape}\" is no shape"), "a shape is [1, 5]");
            };
            let size = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
            let wanted = if input { self.inputs } else { self.outputs };
            if size != Some(wanted) {
                let what = if input { "inputs" } else { "outputs" };
                return self.fail(
                    format!("{name} has the shape {shape:?}; the network has {wanted} {what}"),
                    "the property and the network belong together",
                );
            }
            let flags = &mut self.declared[usize::from(!input)];
            if flags.first() == Some(&true) {
                return self.fail(
                    format!("{name} is a second {}", if input { "input" } else { "output" }),
                    "Temper verifies networks with one input and one output",
                );
            }
            flags.iter_mut().for_each(|flag| *flag = true);
            self.variables.push((input, Variable { name: name.clone(), element, shape: shape.clone() }));
            if self.names.insert(name.clone(), Declared { input, shape }).is_some() {
                return self.fail(format!("{name} is declared twice"), "");
            }
            self.close()?;
        }
    }

    /// The variable of a name.
    fn place(&self, name: &str) -> Read<Place> {
        if self.names.is_empty() {
            let place = self.numbered(name)?;
            let declared = match place {
                Place::Input(at) => self.declared[0][at],
                Place::Output(at) => self.declared[1][at],
            };
            return if declared { Ok(place) } else { self.fail(format!("{name} is used before it is declared"), "") };
        }
        let (base, index) = name.split_once('[').map_or((name, ""), |(base, index)| (base, index));
        let Some(declared) = self.names.get(base) else { return self.fail(format!("\"{base}\" is not declared"), "") };
        let at = if index.is_empty() { Some(vec![]) } else { indices(index) };
        let inside =
            at.filter(|at| at.len() == declared.shape.len() && at.iter().zip(&declared.shape).all(|(i, n)| i < n));
        let Some(at) = inside else {
            return self.fail(format!("{name} is no element of a variable of the shape {:?}", declared.shape), "");
        };
        let at = at.iter().zip(&declared.shape).fold(0, |sum, (i, n)| sum * n + i);
        Ok(if declared.input { Place::Input(at) } else { Place::Output(at) })
    }

    /// A formula as alternatives of which one has to hold.
    fn formula(&mut self, depth: usize) -> Read<Vec<Case>> {
        if depth > DEEPEST {
            return self.fail(format!("formulas are nested more than {DEEPEST} deep"), "");
        }
        match self.tokens.next() {
            Some(Token::Open) => {}
            Some(Token::Word(word)) => {
                return self.fail(
                    format!("\"{word}\" where a formula belongs"),
                    "a formula is (<= X_0 1.0), (and ...) or (or ...)",
                );
            }
            Some(Token::Close) => return self.fail("a closing parenthesis where a formula belongs", ""),
            None => return self.fail("the file ends where a formula belongs", "the file was cut short"),
        }
        let what = self.word("and, or or a comparison")?;
        match what {
            "and" | "or" => {
                let mut all: Vec<Case> = if what == "and" { vec![Case::default()] } else { Vec::new() };
                let mut parts = 0;
                while !self.at_close()? {
                    let part = self.formula(depth + 1)?;
                    parts += 1;
                    all = if what == "and" { self.product(all, &part)? } else { self.sum(all, part)? };
                }
                if parts == 0 { self.fail(format!("an empty \"{what}\""), "") } else { Ok(all) }
            }
            "<=" | ">=" | "<" | ">" | "==" | "=" => {
                let (left, right) = (self.term(depth)?, self.term(depth)?);
                self.close()?;
                let Some(below) = left.plus(&right.negative()) else {
                    return self.fail("a number with more than 38 digits", "");
                };
                let above = below.negative();
                let strict = what == "<" || what == ">";
                Ok(vec![match what {
                    "<=" | "<" => self.case(below, strict)?,
                    ">=" | ">" => self.case(above, strict)?,
                    _ => {
                        let (mut case, other) = (self.case(below, false)?, self.case(above, false)?);
                        case.edges.extend(other.edges);
                        case.rows.extend(other.rows);
                        case
                    }
                }])
            }
            "!=" => self.fail("!= : a comparison that is not linear", "write it as (or (< ...) (> ...))"),
            "not" | "=>" | "xor" | "ite" => {
                self.fail(format!("\"{what}\" is not read"), "Temper reads and, or and comparisons")
            }
            other => self.fail(format!("\"{other}\" where and, or or a comparison belongs"), ""),
        }
    }

    /// Whether the list ends here; then its end is read.
    fn at_close(&mut self) -> Read<bool> {
        let (mark, line) = (self.tokens.position(), self.tokens.line);
        let token = self.tokens.next();
        if token != Some(Token::Close) {
            self.tokens.back(mark, line);
        }
        if token.is_none() {
            self.fail("the file ends where a closing parenthesis belongs", "the file was cut short")
        } else {
            Ok(token == Some(Token::Close))
        }
    }

    fn term(&mut self, depth: usize) -> Read<Linear> {
        if depth > DEEPEST {
            return self.fail(format!("terms are nested more than {DEEPEST} deep"), "");
        }
        let overflow = "a number with more than 38 digits";
        match self.tokens.next() {
            Some(Token::Word(word)) => {
                if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.' || c == '+') {
                    let number = Decimal::parse(word).map_err(|why| (self.tokens.line, why, ""))?;
                    return Ok(Linear { terms: BTreeMap::new(), constant: number });
                }
                let place = self.place(word)?;
                Ok(Linear { terms: BTreeMap::from([(place, Decimal::ONE)]), constant: Decimal::ZERO })
            }
            Some(Token::Open) => {
                let what = self.word("+, - or *")?;
                let mut parts = Vec::new();
                while !self.at_close()? {
                    parts.push(self.term(depth + 1)?);
                }
                let mut parts = parts.into_iter();
                let Some(first) = parts.next() else { return self.fail(format!("\"{what}\" of nothing"), "") };
                let combined = match what {
                    "+" => parts.try_fold(first, |sum, part| sum.plus(&part)),
                    "-" if parts.len() == 0 => Some(first.negative()),
                    "-" => parts.try_fold(first, |sum, part| sum.plus(&part.negative())),
                    "*" => {
                        let mut product = first;
                        for part in parts {
                            let [number, linear] =
                                if part.terms.is_empty() { [&part, &product] } else { [&product, &part] };
                            if !number.terms.is_empty() {
                                return self.fail("a product of variables", "Temper verifies linear constraints");
                            }
                            let Some(scaled) = linear.times(number.constant) else { return self.fail(overflow, "") };
                            product = scaled;
                        }
                        Some(product)
                    }
                    other => return self.fail(format!("\"{other}\" is not read in a term"), "Temper reads +, - and *"),
                };
                match combined {
                    Some(combined) => Ok(combined),
                    None => self.fail(overflow, ""),
                }
            }
            Some(Token::Close) => self.fail("a closing parenthesis where a term belongs", ""),
            None => self.fail("the file ends where a term belongs", "the file was cut short"),
        }
    }

    /// `linear <= 0` as an end of an input or a constraint on outputs.
    fn case(&self, linear: Linear, strict: bool) -> Read<Case> {
        let terms: Vec<(Place, Decimal)> = linear.terms.into_iter().filter(|(_, c)| !c.is_zero()).collect();
        let bound = linear.constant.negative();
        match terms.as_slice() {
            [] => self.fail("a comparison of constants", ""),
            [(Place::Input(input), coefficient)] => {
                let upper = !coefficient.is_negative();
                let unit = *coefficient == Decimal::ONE || coefficient.negative() == Decimal::ONE;
                let mut between = if unit {
                    let end = if upper { bound } else { bound.negative() };
                    end.between()
                } else {
                    // The true quotient lies between those of the doubles around its two numbers.
                    let quotients = bound.between().map(|b| coefficient.between().map(|c| b / c)).concat();
                    let least = quotients.iter().copied().fold(f64::INFINITY, f64::min).next_down();
                    let most = quotients.iter().copied().fold(f64::NEG_INFINITY, f64::max).next_up();
                    if quotients.iter().any(|q| q.is_nan()) { [f64::NAN; 2] } else { [least, most] }
                };
                if between.iter().any(|end| !end.is_finite()) {
                    return self.fail(format!("an end of X_{input} that is too large for a double"), "");
                }
                between = self.as_floats(true, between);
                if strict && between[0] == between[1] {
                    // A proof covers an end that does not belong to the set too; a counterexample may not lie there.
                    if upper { between[0] = between[0].next_down() } else { between[1] = between[1].next_up() }
                }
                let edge = Edge { input: *input, upper, between };
                Ok(Case { edges: vec![edge], rows: Vec::new() })
            }
            _ if terms.iter().all(|(place, _)| matches!(place, Place::Output(_))) => {
                let exponent = terms.iter().map(|(_, c)| c.exponent()).min().unwrap_or(0).min(0);
                let mut whole = Vec::new();
                for (place, coefficient) in &terms {
                    let Place::Output(output) = place else { unreachable!("outputs alone") };
                    match coefficient.scaled(exponent).filter(|c| c.unsigned_abs() <= 1 << 53) {
                        Some(c) => whole.push((*output, c as f64)),
                        None => {
                            return self.fail(
                                format!("a coefficient of Y_{output} with too many digits"),
                                "coefficients of up to 15 digits are exact",
                            );
                        }
                    }
                }
                let [below, above] = self.as_floats(false, bound.shifted(-exponent).between());
                Ok(Case {
                    edges: Vec::new(),
                    rows: vec![LinearConstraint { terms: whole, bound: above, certain: below, strict }],
                })
            }
            _ if terms.iter().all(|(place, _)| matches!(place, Place::Input(_))) => {
                self.fail("a comparison of several inputs", "Temper verifies boxes of inputs")
            }
            _ => self.fail(
                "a comparison of inputs with outputs",
                "Temper verifies boxes of inputs, and constraints on outputs",
            ),
        }
    }

    /// A number next to a variable in single precision is one itself: then the float next to it may be meant too.
    fn as_floats(&self, input: bool, between: [f64; 2]) -> [f64; 2] {
        let float = |(kind, variable): &(bool, Variable)| *kind == input && variable.element == Element::Float32;
        if !self.variables.iter().any(float) {
            return between;
        }
        let [below, above] = between.map(|end| f64::from(end as f32));
        [between[0].min(below), between[1].max(above)]
    }

    fn sum(&self, mut all: Vec<Case>, more: Vec<Case>) -> Read<Vec<Case>> {
        all.extend(more);
        self.few(all)
    }

    fn product(&self, all: Vec<Case>, more: &[Case]) -> Read<Vec<Case>> {
        if let [only] = more {
            let mut all = all;
            for case in &mut all {
                case.edges.extend(only.edges.iter().cloned());
                case.rows.extend(only.rows.iter().cloned());
            }
            return Ok(all);
        }
        if all.len().saturating_mul(more.len()) > MOST {
            return self.fail(
                format!("{} times {} alternatives", all.len(), more.len()),
                "split the property into several files",
            );
        }
        let join = |a: &Case, b: &Case| Case {
            edges: [&a.edges[..], &b.edges].concat(),
            rows: [&a.rows[..], &b.rows].concat(),
        };
        Ok(all.iter().flat_map(|a| more.iter().map(move |b| join(a, b))).collect())
    }

    fn few(&self, all: Vec<Case>) -> Read<Vec<Case>> {
        if all.len() > MOST {
            self.fail(format!("more than {MOST} alternatives"), "split the property into several files")
        } else {
            Ok(all)
        }
    }

    fn assert(&mut self, cases: Vec<Case>) {
        match <[Case; 1]>::try_from(cases) {
            Ok([case]) if case.rows.is_empty() => self.common.extend(case.edges),
            Ok(one) => self.alternatives.push(one.into()),
            Err(cases) => self.alternatives.push(cases),
        }
    }

    /// Boxes with their groups.
    fn compile(mut self) -> Read<Query> {
        let mut all = vec![Case::default()];
        for more in std::mem::take(&mut self.alternatives) {
            all = self.product(all, &more)?;
        }
        // Cases with the same ends are groups of one box.
        let mut boxes: Vec<(Vec<Edge>, Vec<Vec<LinearConstraint>>)> = Vec::new();
        let mut known: HashMap<Vec<(usize, bool, [u64; 2])>, usize> = HashMap::new();
        for case in all {
            let key = case.edges.iter().map(|edge| (edge.input, edge.upper, edge.between.map(f64::to_bits))).collect();
            let at = *known.entry(key).or_insert_with(|| {
                boxes.push((case.edges.clone(), Vec::new()));
                boxes.len() - 1
            });
            boxes[at].1.push(case.rows);
        }
        let (mut properties, mut empty) = (Vec::new(), 0);
        for (edges, groups) in boxes {
            let Some(input) = self.input(edges.iter().chain(&self.common))? else {
                empty += 1;
                continue;
            };
            let made = Property::new(input, groups, self.outputs);
            properties.push(made.map_err(|problem| (self.tokens.line, problem.to_string(), ""))?);
        }
        let variables =
            |input: bool| self.variables.iter().find(|(kind, _)| *kind == input).map(|(_, variable)| variable.clone());
        let variables = variables(true).zip(variables(false)).map(|(x, y)| [x, y]);
        let version = self.version.unwrap_or((1, 0));
        Ok(Query { version, properties, empty, variables })
    }

    /// The box of all these ends; `None` if it is empty.
    fn input<'b>(&self, edges: impl Iterator<Item = &'b Edge>) -> Read<Option<InputBox>> {
        let mut lower = [vec![f64::NEG_INFINITY; self.inputs], vec![f64::NEG_INFINITY; self.inputs]];
        let mut upper = [vec![f64::INFINITY; self.inputs], vec![f64::INFINITY; self.inputs]];
        for Edge { input, upper: above, between: [below, over] } in edges {
            let i = *input;
            if *above {
                upper[0][i] = upper[0][i].min(*over);
                upper[1][i] = upper[1][i].min(*below);
            } else {
                lower[0][i] = lower[0][i].max(*below);
                lower[1][i] = lower[1][i].max(*over);
            }
        }
        let unbounded = lower[0].iter().zip(&upper[0]).position(|(l, u)| l.is_infinite() || u.is_infinite());
        if let Some(at) = unbounded {
            let end = if lower[0][at].is_infinite() { "lower" } else { "upper" };
            return self.fail(format!("X_{at} has no {end} bound"), "every input needs a lower and an upper bound");
        }
        if lower[0].iter().zip(&upper[0]).any(|(l, u)| l > u) {
            return Ok(None);
        }
        let [lower, within_lower] = lower;
        let [upper, within_upper] = upper;
        let within = (lower != within_lower || upper != within_upper).then_some([within_lower, within_upper]);
        Ok(Some(InputBox { lower, upper, within }))
    }
}

/// `1, 5]` as numbers.
fn indices(text: &str) -> Option<Vec<usize>> {
    let inside = text.strip_suffix(']')?.trim();
    if inside.is_empty() {
        return Some(Vec::new());
    }
    inside.split(',').map(|n| n.trim().parse().ok()).collect()
}

impl Linear {
    fn negative(&self) -> Self {
        let terms = self.terms.iter().map(|(place, c)| (*place, c.negative())).collect();
        Self { terms, constant: self.constant.negative() }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let mut terms = self.terms.clone();
        for (place, coefficient) in &other.terms {
            let sum = terms.get(place).copied().unwrap_or(Decimal::ZERO).plus(*coefficient)?;
            terms.insert(*place, sum);
        }
        Some(Self { terms, constant: self.constant.plus(other.constant)? })
    }

    fn times(&self, number: Decimal) -> Option<Self> {
        let term = |(place, c): (&Place, &Decimal)| Some((*place, c.times(number)?));
        Some(Self {
            terms: self.terms.iter().map(term).collect::<Option<_>>()?,
            constant: self.constant.times(number)?,
        })
    }
}
