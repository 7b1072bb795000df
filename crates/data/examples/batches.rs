//! From two texts to batches that mix them three to one: `cargo run -p temper-data --example batches`.

use std::fs;

use temper_base::Result;
use temper_data::{
    Documents, Input, PrepareOptions, Quiet, ReadOptions, SourceSpec, Stream, StreamSpec, Tokenizer, prepare,
};

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let texts =
        [("english", "The quick brown fox jumps over the lazy dog. "), ("german", "Zwölf Boxkämpfer jagen Viktor. ")];
    let inputs = texts.map(|(name, sentence)| {
        let path = folder.path().join(name).with_extension("txt");
        fs::write(&path, sentence.repeat(200)).expect("a small file");
        Input::from(path)
    });

    let tokenizer = Tokenizer::train_bpe(Documents::open(&inputs, &ReadOptions::default())?, 300)?;
    let mut sources = Vec::new();
    for ((name, _), input) in texts.iter().zip(inputs) {
        let options = PrepareOptions { validation_fraction: 0.0, ..PrepareOptions::default() };
        let prepared = prepare(&[input], &tokenizer, &folder.path().join(name), &options, &Quiet)?;
        println!("{name}: {} tokens of {} bytes", prepared.train.tokens, prepared.train.bytes);
        let weight = if *name == "english" { 0.25 } else { 0.75 };
        sources.push(SourceSpec { name: (*name).into(), path: prepared.train.path, weight, identity: None });
    }

    let stream = Stream::open(&StreamSpec { seed: 1, seq_len: 12, sources, replay: None })?;
    let batch = stream.batch(1000, 4)?;
    for (source, tokens) in batch.source.iter().zip(batch.tokens.chunks(13)) {
        println!("{:8} {:?}", stream.names()[*source], tokenizer.decode(tokens)?);
    }
    Ok(())
}
