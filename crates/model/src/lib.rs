//! Networks, one per file, with the initialisations their papers name and the checkpoint formats
//! their users have.
//!
//! * [`gpt_neox`]: the language model, top to bottom.
//! * [`config`]: its shape, the Pythia suite as presets, `config.json` in its three spellings.
//! * [`image`]: image classifiers: graphs of layers with weights.
//! * [`init`]: small-init, wang-init, plain normal, from a counter-based generator.
//! * [`narrow`]: what fewer bits lose.
//! * [`tensors`]: safetensors files in and out.
//! * [`hugging_face`]: a Hugging Face GPT-NeoX directory in and out.

#![warn(clippy::missing_errors_doc)]

pub mod config;
pub mod gpt_neox;
pub mod hugging_face;
pub mod image;
pub mod init;
pub mod narrow;
pub mod parameter;
pub mod tensors;

pub use config::GptNeoxConfig;
pub use gpt_neox::GptNeox;
pub use image::Classifier;
pub use parameter::{Parameter, Parameters};
