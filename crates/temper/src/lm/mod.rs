//! From a recipe to a language-model run: configuration, data, the four starts, the console.
