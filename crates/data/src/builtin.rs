//! The data that Temper carries: the demo's texts with their tokenizer, and its images (assets/SOURCES.md has their sources and
//! licences). Recipes call them `builtin:NAME`.

use crate::images::{Splits, packed};
use crate::text::documents::Input;

/// The World English Bible, chapter by chapter.
const WEB: &[u8] = include_bytes!("../../../assets/web.jsonl.zst");
/// German federal law, in documents of some 12 kB.
const LAW: &[u8] = include_bytes!("../../../assets/law.jsonl.zst");
/// A byte-level BPE of 4096 entries trained on both.
const TOKENIZER: &[u8] = include_bytes!("../../../assets/tokenizer.json");
/// The first 10,000 training and 2,000 test images of Fashion-MNIST.
const FASHION: &[u8] = include_bytes!("../../../assets/fashion.images.zst");

/// The text that a recipe calls `builtin:NAME`.
pub fn text(name: &str) -> Option<Input> {
    let jsonl_zst = match name {
        "web" => WEB,
        "law" => LAW,
        _ => return None,
    };
    Some(Input::Memory { name: format!("builtin:{name}"), jsonl_zst })
}

/// The tokenizer that a recipe calls `builtin:NAME`.
pub fn tokenizer(name: &str) -> Option<&'static [u8]> {
    (name == "demo").then_some(TOKENIZER)
}

/// The images that a recipe calls `builtin:NAME`.
pub fn images(name: &str) -> Option<temper_base::Result<Splits>> {
    (name == "fashion").then(|| packed::read("builtin:fashion", FASHION))
}
