//! Parts of a verification that several machines make, and what joins them.
//!
//! A part consists of whole batches: an attack computes a batch at a time, and its last bits depend on which images are in it. So parts give
//! the very bytes that one run with the same size of batches gives.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use temper_base::{Problem, Result};

use crate::stack::{self, Stack};
use crate::store::{COUNTEREXAMPLE, Kind, Store, Times, other_question, read_lines, times};

/// Every `of`th batch of images from batch `part` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 0.
    pub part: usize,
    /// Of how many.
    pub of: usize,
    /// Images in a batch.
    pub batch: usize,
}

impl Shard {
    /// All images.
    pub const WHOLE: Self = Self { part: 0, of: 1, batch: 1 };

    /// `0/4`: the first of four parts.
    pub fn parse(text: &str, batch: usize) -> Option<Self> {
        let (part, of) = text.split_once('/')?;
        let shard = Self { part: part.trim().parse().ok()?, of: of.trim().parse().ok()?, batch };
        (shard.part < shard.of && shard.of <= 1_000_000 && batch > 0).then_some(shard)
    }

    /// The part that a question is about.
    pub fn of_question(asked: &Value) -> Self {
        let batch = asked["shard_batch"].as_u64().unwrap_or(1) as usize;
        asked["shard"].as_str().and_then(|text| Self::parse(text, batch)).unwrap_or(Self::WHOLE)
    }

    /// Writes the part into a question.
    pub fn put(&self, asked: &mut Value) {
        asked["shard"] = format!("{}/{}", self.part, self.of).into();
        asked["shard_batch"] = if self.of == 1 { Value::Null } else { self.batch.into() };
    }

    /// The number of the image at this place of the part.
    pub fn image(&self, place: usize) -> usize {
        if self.of == 1 {
            return place;
        }
        let batch = (place / self.batch).saturating_mul(self.of).saturating_add(self.part);
        batch.saturating_mul(self.batch).saturating_add(place % self.batch)
    }

    /// How many of `total` images belong to the part.
    pub fn images(&self, total: usize) -> usize {
        if self.of == 1 {
            return total;
        }
        let round = self.batch.saturating_mul(self.of);
        let rest = (total % round).saturating_sub(self.part.saturating_mul(self.batch)).min(self.batch);
        total / round * self.batch + rest
    }
}

/// Joins the parts in these folders into `out`, which gets what one verification would have left. Gives its question.
///
/// # Errors
/// Parts of different verifications, one that is missing, given twice or not at its end, a file that cannot be read or written.
pub fn merge(folders: &[PathBuf], out: &Path) -> Result<Value> {
    let fail = |place: &Path, why: String| Problem::input("merge verdicts", place.display(), why);
    let mut parts: Vec<(Shard, &Path, Vec<String>)> = Vec::new();
    let mut common: Option<Value> = None;
    for folder in folders {
        let path = folder.join("verdicts-question.json");
        let text = fs::read_to_string(&path).map_err(|cause| {
            Problem::io("merge verdicts", &path, &cause).hint("name the folders of a verification's parts")
        })?;
        let mut asked: Value = serde_json::from_str(&text).map_err(|cause| fail(&path, cause.to_string()))?;
        let shard = Shard::of_question(&asked);
        Shard::WHOLE.put(&mut asked);
        match &common {
            Some(common) if *common != asked => return Err(other_question(&path, &asked.to_string(), common)),
            Some(_) => {}
            None => common = Some(asked.clone()),
        }
        let path = folder.join("verdicts.csv");
        let text = fs::read_to_string(&path).map_err(|cause| Problem::io("merge verdicts", &path, &cause))?;
        // A line that a kill cut short is no verdict yet.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = read_lines(Kind::Verdicts, &text[..whole], &path, &shard)?;
        let images = shard.images(asked["images"].as_u64().unwrap_or(0) as usize);
        if lines.len() != images || whole != text.len() {
            let why =
                format!("part {}/{} has verdicts on {} of its {images} images", shard.part, shard.of, lines.len());
            return Err(fail(folder, why).hint("let it come to its end: the same command resumes"));
        }
        parts.push((shard, folder, lines));
    }
    let (Some(asked), Some((first, ..))) = (common, parts.first()) else {
        return Err(fail(out, "there is nothing to join".into()).hint("name the folders of a verification's parts"));
    };
    let first = *first;
    parts.sort_by_key(|(shard, ..)| shard.part);
    if let Some((shard, folder, _)) =
        parts.iter().find(|(shard, ..)| (shard.of, shard.batch) != (first.of, first.batch))
    {
        let [a, b] = [first, *shard].map(|shard| format!("{} parts with batches of {}", shard.of, shard.batch));
        return Err(fail(folder, format!("it is one of {b}, another folder of {a}")).hint("verify all parts alike"));
    }
    if let Some(missing) = (0..first.of).find(|part| parts.get(*part).is_none_or(|(shard, ..)| shard.part != *part)) {
        let why = format!("part {missing}/{} is missing, or another one is there twice", first.of);
        return Err(fail(out, why).hint("name the folder of every part once"));
    }

    let mut store = Store::open(out, Kind::Verdicts, &asked)?;
    if !store.lines.is_empty() {
        return Err(fail(out, "there are verdicts already".into()).hint("choose another folder, or remove that one"));
    }
    let total: usize = parts.iter().map(|(.., lines)| lines.len()).sum();
    let stacks: Vec<([usize; 3], Vec<u8>)> =
        parts.iter().map(|(_, folder, _)| stack::read(&folder.join("counterexamples.npy"))).collect::<Result<_>>()?;
    let shape = stacks[0].0;
    let size = shape.iter().product::<usize>() * 4;
    let seconds: Vec<_> = parts.iter().map(|(_, folder, _)| times::read(&folder.join("times.csv"))).collect();
    let mut stack = Stack::open(&out.join("counterexamples.npy"), shape, 0)?;
    let mut times = Times::open(out, std::iter::empty())?;
    let (mut lines, mut images, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for (part, place) in (0..total).map(|image| at(image, &first)) {
        let line = &parts[part].2[place];
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        if let Ok(row) = fields[COUNTEREXAMPLE].parse::<usize>() {
            let Some(bytes) = stacks[part].1.get(row * size..(row + 1) * size).filter(|_| stacks[part].0 == shape)
            else {
                return Err(fail(parts[part].1, format!("counterexample {row} is not there")));
            };
            fields[COUNTEREXAMPLE] = images.len().to_string();
            images.push(bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>());
        }
        spent.push(seconds[part].get(place).copied().unwrap_or_default());
        lines.push(fields.join(","));
    }
    stack.append(images.iter().map(Vec::as_slice))?;
    times.append(spent.iter().enumerate())?;
    store.append(lines)?;
    Ok(asked)
}

/// The part that has an image, and the image's place in it.
fn at(image: usize, shard: &Shard) -> (usize, usize) {
    if shard.of == 1 {
        return (0, image);
    }
    let batch = image / shard.batch;
    (batch % shard.of, batch / shard.of * shard.batch + image % shard.batch)
}
