//! From a recipe to a language-model run.
//!
//! | file | what |
//! |---|---|
//! | [`shape`] | the model's configuration from recipe, preset or Hugging Face directory |
//! | [`text`] | tokenizer, token files and validation sets, and the manifest that a run keeps of them |
//! | [`lengths`] | every length of the recipe in updates |
//! | [`start`] | the four starts: fresh, from a Hugging Face directory, branch, resume |
//! | [`open`] | a model to look at: of a run or of a Hugging Face directory |
//! | [`console`] | what a person sees while it trains |

pub mod console;
pub mod lengths;
pub mod open;
pub mod shape;
pub mod start;
pub mod text;
