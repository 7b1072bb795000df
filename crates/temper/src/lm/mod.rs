//! From a recipe to a language-model run.
//!
//! | file | what |
//! |---|---|
//! | [`shape`] | the model's configuration from recipe, preset or Hugging Face directory |
//! | [`survey`] | the data of a recipe looked at before anything starts, for plans |
//! | [`text`] | tokenizer, token files and validation sets, and the manifest that a run keeps of them |
//! | [`beside`] | the files that belong to a tokenizer, through checkpoint, branch and export |
//! | [`checks`] | what a start and its plan refuse |
//! | [`start`] | the four starts: fresh, from a Hugging Face directory, branch, resume |
//! | [`open`] | a model to look at: of a run or of a Hugging Face directory |

pub mod beside;
pub mod checks;
pub mod open;
pub mod shape;
pub mod start;
pub mod survey;
pub mod text;
