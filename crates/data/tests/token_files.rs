//! Token files: our shards, and the `.bin`/`.idx` pairs of GPT-NeoX and Megatron, byte by byte.

use std::fs;
use std::path::{Path, PathBuf};

use temper_data::text::megatron::{Megatron, MegatronWriter};
use temper_data::{ShardWriter, TokenShard, TokenSource, Vocabulary};

fn vocabulary(size: u64) -> Vocabulary {
    Vocabulary { size, fingerprint: "cd".repeat(32), eod: 0 }
}

fn refused<T>(result: temper_base::Result<T>, parts: &[&str]) {
    let problem = result.err().expect("an error");
    assert_eq!(problem.kind.exit_code(), 2, "{problem}");
    let text = format!("{problem} {}", problem.hint.clone().unwrap_or_default());
    for part in parts {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "no `{part}` in: {text}");
    }
}

#[test]
fn shards_round_trip_and_notice_damage() {
    let dir = tempfile::tempdir().unwrap();
    for (size, ids) in [(300u64, [1u32, 299, 0, 7, 8]), (70_000, [1, 65_536, 0, 69_999, 8])] {
        let path = dir.path().join(format!("{size}.tokens"));
        let mut writer = ShardWriter::create(&path, &vocabulary(size)).unwrap();
        writer.push(&ids[..3], 11).unwrap();
        writer.push(&ids[3..], 5).unwrap();
        assert!(!path.exists(), "an unfinished shard is not there");
        writer.finish().unwrap();
        let shard = TokenShard::open(&path).unwrap();
        shard.verify().unwrap();
        let info = shard.info();
        assert_eq!((info.tokens, info.documents, info.bytes), (5, 2, 16));
        assert_eq!(info.vocabulary, vocabulary(size));
        let mut read = [0; 4];
        shard.read(1, &mut read).unwrap();
        assert_eq!(read, ids[1..]);
        assert_eq!([shard.after_documents(1), shard.after_documents(2)], [(3, 11), (5, 16)]);

        let good = fs::read(&path).unwrap();
        let damaged = dir.path().join("damaged.tokens");
        for at in (0..good.len()).step_by(7) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&damaged, bytes).unwrap();
            // Refused when opened or when verified; padding is covered as well.
            let found = TokenShard::open(&damaged).and_then(|shard| shard.verify());
            assert!(found.is_err(), "a flipped bit in byte {at} went unnoticed");
        }
        for length in [0, 10, good.len() / 2, good.len() - 1] {
            fs::write(&damaged, &good[..length]).unwrap();
            refused(TokenShard::open(&damaged), &["damaged.tokens"]);
        }
        fs::write(&damaged, b"NOTTOKENS".repeat(100)).unwrap();
        refused(TokenShard::open(&damaged), &["damaged.tokens"]);
    }
    let mut source = TokenSource::open(&dir.path().join("300.tokens")).unwrap();
    let other = Vocabulary { fingerprint: "ef".repeat(32), ..vocabulary(300) };
    refused(source.require(&other), &["cdcd", "efef"]);
    source.require(&vocabulary(300)).unwrap();
}

/// Sequences of 3, 1 and 4 tokens in two documents, as the layout of GPT-NeoX's `indexed_dataset.py` has it.
fn pair(dir: &Path, name: &str, code: u8, size: u64) -> PathBuf {
    let (sizes, documents) = ([3i32, 1, 4], [0i64, 2, 3]);
    let mut idx = b"MMIDIDX\0\0".to_vec();
    idx.extend(1u64.to_le_bytes());
    idx.push(code);
    idx.extend(3u64.to_le_bytes());
    idx.extend(3u64.to_le_bytes());
    assert_eq!(idx.len(), 34, "the arrays begin unaligned");
    sizes.iter().for_each(|n| idx.extend(n.to_le_bytes()));
    [0i64, 3, 4].iter().for_each(|n| idx.extend((n * size as i64).to_le_bytes()));
    documents.iter().for_each(|n| idx.extend(n.to_le_bytes()));
    let mut bin = Vec::new();
    for id in 10u64..18 {
        bin.extend(&id.to_le_bytes()[..size as usize]);
    }
    fs::write(dir.join(format!("{name}.idx")), idx).unwrap();
    fs::write(dir.join(format!("{name}.bin")), bin).unwrap();
    dir.join(format!("{name}.bin"))
}

#[test]
fn megatron_pairs() {
    let dir = tempfile::tempdir().unwrap();
    for (code, size) in [(1, 1), (2, 1), (3, 2), (4, 4), (5, 8), (8, 2)] {
        let path = pair(dir.path(), &format!("code{code}"), code, size);
        for name in [path.clone(), path.with_extension("idx"), path.with_extension("")] {
            let source = TokenSource::open(&name).unwrap();
            assert_eq!((source.len(), source.documents(), source.bytes()), (8, 2, None));
            let mut tokens = [0; 8];
            source.read(0, &mut tokens).unwrap();
            assert_eq!(tokens, [10, 11, 12, 13, 14, 15, 16, 17], "code {code}");
            assert_eq!(source.after_documents(1), (4, None));
        }
        let mut limited = TokenSource::open(&path).unwrap();
        limited.require(&vocabulary(17)).unwrap();
        limited.read(0, &mut [0; 7]).unwrap();
        refused(limited.read(0, &mut [0; 8]), &["17"]);
    }
    // Floating-point files are refused by the name their writer gave the code: the two swap 6 and 7.
    let floats =
        [(6, 4, "f32", "GPT-NeoX"), (6, 8, "f64", "Megatron"), (7, 8, "f64", "GPT-NeoX"), (7, 4, "f32", "Megatron")];
    for (code, size, holds, writer) in floats {
        let parts = [format!("holds {holds} values"), format!("code {code} as {writer}")];
        refused(Megatron::open(&pair(dir.path(), "x", code, size)), &parts.each_ref().map(String::as_str));
    }
    refused(Megatron::open(&pair(dir.path(), "odd", 9, 2)), &["9"]);
}

#[test]
fn megatron_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = pair(dir.path(), "a", 8, 2);
    let idx = fs::read(dir.path().join("a.idx")).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>), parts: &[&str]| {
        let mut bytes = idx.clone();
        change(&mut bytes);
        fs::write(dir.path().join("a.idx"), bytes).unwrap();
        refused(Megatron::open(&path), parts);
    };
    with(&|b| b[..8].copy_from_slice(b"TNTIDX\0\0"), &["TNTIDX"]);
    with(&|b| b[0] = b'X', &["a.idx"]);
    with(&|b| b[9] = 2, &["version"]);
    for length in [0, 9, 33, 40, 60, idx.len() - 1] {
        with(&|b| b.truncate(length), &["a.idx"]);
    }
    with(&|b| b[34 + 12 + 8] ^= 1, &["a.idx"]); // a pointer
    with(&|b| b[34] = 200, &["a."]); // a size
    with(&|b| b[18..26].copy_from_slice(&u64::MAX.to_le_bytes()), &["a.idx"]); // more sequences than bytes
    fs::write(dir.path().join("a.idx"), &idx).unwrap();
    let bin = fs::read(&path).unwrap();
    fs::write(&path, &bin[..bin.len() - 2]).unwrap();
    refused(Megatron::open(&path), &["a.bin"]);
    fs::remove_file(&path).unwrap();
    refused(Megatron::open(&path), &["a.bin"]);
}

/// What is written is, byte for byte, the layout of the table, and reads back.
#[test]
fn megatron_writing() {
    let dir = tempfile::tempdir().unwrap();
    for (size, code, width) in [(65_499, 8u8, 2usize), (65_500, 4, 4)] {
        let prefix = dir.path().join(format!("out{size}"));
        let mut writer = MegatronWriter::create(&prefix, size).unwrap();
        writer.push(&[5, 6, 0]).unwrap();
        writer.push(&[65_498, 0]).unwrap();
        writer.finish().unwrap();
        let mut idx = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0".to_vec();
        idx.push(code);
        for n in [2u64, 3] {
            idx.extend(n.to_le_bytes());
        }
        for n in [3i32, 2] {
            idx.extend(n.to_le_bytes());
        }
        for n in [0, 3 * width as i64, 0, 1, 2] {
            idx.extend(n.to_le_bytes());
        }
        assert_eq!(fs::read(dir.path().join(format!("out{size}.idx"))).unwrap(), idx);
        let bin: Vec<u8> = [5u32, 6, 0, 65_498, 0].iter().flat_map(|id| id.to_le_bytes()[..width].to_vec()).collect();
        assert_eq!(fs::read(dir.path().join(format!("out{size}.bin"))).unwrap(), bin);
        let source = TokenSource::open(&prefix).unwrap();
        assert_eq!((source.len(), source.documents()), (5, 2));
    }
}

/// A token id that is not in the vocabulary cannot get into a shard, and a negative one not out of a pair.
#[test]
fn ids_outside_the_vocabulary() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::create(&dir.path().join("a.tokens"), &vocabulary(300)).unwrap();
    refused(writer.push(&[1, 300], 2), &["token 1 is 300", "300 ids"]);
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "an abandoned shard leaves nothing behind");
    let path = pair(dir.path(), "negative", 4, 4);
    let mut bin = fs::read(&path).unwrap();
    bin[8..12].copy_from_slice(&(-1i32).to_le_bytes());
    fs::write(&path, bin).unwrap();
    refused(TokenSource::open(&path).unwrap().read(1, &mut [0; 3]), &["token 2 is -1"]);
}

/// A map of a file that became shorter ends the process where it is read behind the end: the size is looked at first.
#[test]
fn files_that_are_cut_while_they_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let shard = dir.path().join("a.tokens");
    let mut writer = ShardWriter::create(&shard, &vocabulary(300)).unwrap();
    writer.push(&[1, 2, 3], 3).unwrap();
    writer.finish().unwrap();
    let bin = pair(dir.path(), "b", 8, 2);
    for path in [shard, bin] {
        let source = TokenSource::open(&path).unwrap();
        source.read(0, &mut [0; 3]).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        let problem = source.read(0, &mut [0; 3]).expect_err("it is shorter");
        assert!(problem.to_string().contains("while Temper was reading it"), "{problem}");
    }
}
