//! Continued pre-training of language models: from a recipe to a run, and the update that it repeats.
//!
//! | file | what |
//! |---|---|
//! | [`step`] | one update: loss, gradients, clipping, optimiser |
//! | [`evaluate`] | the loss on a validation set |
//! | [`task`] | both as the task of a run |
//! | [`checkpoint`] | what a checkpoint holds |
//! | [`cost`] | memory and time of an update |
//! | [`sample`] | text from a model |
//! | [`spec`] | a recipe as typed values, and its keys |
//! | [`shape`] | the model's configuration from recipe, preset or Hugging Face directory |
//! | [`text`] | tokenizer, token files and validation sets, and the manifest that a run keeps of them |
//! | [`reading`], [`tokenising`] | what is reported of text that is read |
//! | [`beside`] | the files that belong to a tokenizer, through checkpoint, branch and export |
//! | `checks` | what a start and its plan refuse |
//! | [`start`] | what it adds to the starts of a run: first weights, text, tokenizer |
//! | [`survey`] | the data of a recipe looked at before anything starts |
//! | [`plan`] | what a recipe does and costs |
//! | [`open`] | a model to look at: of a run or of a Hugging Face directory |

#![warn(clippy::missing_errors_doc)]

pub mod beside;
pub mod checkpoint;
mod checks;
pub mod cost;
pub mod evaluate;
pub mod open;
pub mod plan;
pub mod reading;
pub mod sample;
pub mod shape;
pub mod spec;
pub mod start;
pub mod step;
pub mod survey;
pub mod task;
pub mod text;
pub mod tokenising;
