//! What a language model's run keeps of its data.
