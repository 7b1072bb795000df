//! Validation of a language model on named sets of text.
//!
//! The windows are those of `temper_data::EvalWindows`: fixed, documented there. Loss is the mean over
//! tokens in nats (not the mean of document means), perplexity its exponential, bits per byte the sum
//! of nats over `ln 2` times the bytes of the text as read (Gao et al. 2020, the Pile).

use std::cell::Cell;

use temper_base::Result;
use temper_data::{EvalWindows, TokenSource};
use temper_model::GptNeox;
use temper_record::event::{MEAN_MACRO, MEAN_MICRO, Values};
use temper_train::group::{Group, agree};
use temper_train::shards::cut;

/// A named validation set.
pub struct EvalSet {
    /// What it is called in metrics and tables.
    pub name: String,
    /// Its tokens.
    pub source: TokenSource,
}

/// How a set is walked through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalSettings {
    /// Tokens of one window.
    pub seq_len: usize,
    /// Windows of one forward pass; changes nothing but speed and memory.
    pub rows: usize,
    /// Only the first documents that fit, or the beginning of the first; `None` for all.
    pub max_tokens: Option<u64>,
}

/// The loss of a model on a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Sum of `-log p` over all predicted tokens.
    pub nats: f64,
    /// Predicted tokens.
    pub tokens: u64,
    /// UTF-8 bytes of the text as read, where known and where the tokens spell all of it.
    pub bytes: Option<u64>,
}

impl Score {
    /// Mean `-log p` in nats per token.
    pub fn loss(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// `exp(loss)`.
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// Bits per byte of text; comparable across tokenizers.
    pub fn bits_per_byte(&self) -> Option<f64> {
        self.bytes.filter(|bytes| *bytes > 0).map(|bytes| self.nats / (std::f64::consts::LN_2 * bytes as f64))
    }

    /// As the metrics of an event.
    pub fn values(&self) -> Values {
        let mut values = Values::new().with("loss", self.loss()).with("perplexity", self.perplexity());
        if let (Some(bits), Some(bytes)) = (self.bits_per_byte(), self.bytes) {
            values.set("bits_per_byte", bits);
            values.set("set_bytes", bytes as f64);
        }
        values.set("set_tokens", self.tokens as f64);
        values
    }
}

/// The loss of `model` on one set; `None` if `interrupted` returned true before a block of a pass, on whichever rank. Each rank of `group`
/// takes neighbouring batches of windows, and the losses of all are added in their order. `each` hears after every pass of this rank how many
/// tokens have been predicted, as if the others were as far.
///
/// # Errors
/// A set with no token to predict, or one that cannot be read; a rank that has failed.
pub fn evaluate_with(
    model: &GptNeox,
    source: &TokenSource,
    settings: EvalSettings,
    group: &dyn Group,
    interrupted: &dyn Fn() -> bool,
    each: &dyn Fn(u64),
) -> Result<Option<Score>> {
    let windows = agree(group, EvalWindows::new(source, settings.seq_len, settings.max_tokens))?;
    let share = cut(windows.count(settings.rows), group.size(), group.rank());
    let done = Cell::new(0);
    let nats = windows.batches(settings.rows, share).map(|batch| {
        let batch = batch?;
        let nll = model.token_nll_until(&batch.inputs, &batch.targets, batch.rows, interrupted);
        let Some(nll) = nll else { return Ok(None) };
        done.update(|done| done + (batch.rows * batch.cols * group.size()) as u64);
        each(done.get().min(windows.targets()));
        Ok(Some(nll.iter().map(|&nll| f64::from(nll)).sum::<f64>()))
    });
    let nats = agree(group, nats.collect::<Result<Option<Vec<f64>>>>())?;
    let Some(nats) = group.gather_numbers(nats.as_deref())? else { return Ok(None) };
    let nats = nats.iter().sum();
    // Where the tokenizer lost a part of the text, its bytes are not what was predicted.
    let bytes = windows.bytes().filter(|_| source.lost_characters() == 0);
    Ok(Some(Score { nats, tokens: windows.targets(), bytes }))
}

/// The two averages over sets: `mean:micro`, where every token counts the same, and `mean:macro`,
/// where every set does. The macro perplexity is `exp` of the macro loss.
pub fn means_of_sets(scores: &[Score]) -> [(&'static str, Values); 2] {
    let all_bytes = scores.iter().map(|score| score.bytes).sum::<Option<u64>>();
    let micro = Score {
        nats: scores.iter().map(|score| score.nats).sum(),
        tokens: scores.iter().map(|score| score.tokens).sum(),
        bytes: all_bytes,
    };
    let mean = |sum: f64| sum / scores.len() as f64;
    let loss = mean(scores.iter().map(Score::loss).sum());
    let mut macro_values = Values::new().with("loss", loss).with("perplexity", loss.exp());
    if let Some(bits) = scores.iter().map(Score::bits_per_byte).sum::<Option<f64>>() {
        macro_values.set("bits_per_byte", mean(bits));
    }
    [(MEAN_MICRO, micro.values()), (MEAN_MACRO, macro_values)]
}
