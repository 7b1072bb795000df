//! Which sample comes when: a pure function of (seed, number), exact shares, no repeats before an epoch ends.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use temper_data::{
    EvalWindows, ReplayOrder, ReplaySpec, ShardWriter, SourceSpec, Stream, StreamSpec, TokenSource, Vocabulary,
};

const T: usize = 4;

fn vocabulary() -> Vocabulary {
    Vocabulary { size: 60_000, fingerprint: "ab".repeat(32), eod: 0 }
}

/// A shard of documents of these lengths; token k is `first + k`, so that a token tells where it lies.
fn shard(dir: &Path, name: &str, first: u32, documents: &[usize]) -> PathBuf {
    let path = dir.join(format!("{name}.tokens"));
    let mut writer = ShardWriter::create(&path, &vocabulary()).unwrap();
    let mut next = first;
    for &length in documents {
        let tokens: Vec<u32> = (next..next + length as u32).collect();
        next += length as u32;
        writer.push(&tokens, 3 * length as u64).unwrap();
    }
    writer.finish().unwrap();
    path
}

fn source(name: &str, path: &Path, weight: f64) -> SourceSpec {
    SourceSpec { name: name.into(), path: path.into(), weight, identity: None }
}

fn spec(seed: u64, sources: Vec<SourceSpec>) -> StreamSpec {
    StreamSpec { seed, seq_len: T, sources, replay: None }
}

fn open(spec: &StreamSpec) -> Stream {
    Stream::open(spec).unwrap()
}

#[test]
fn every_window_once_an_epoch() {
    let dir = tempfile::tempdir().unwrap();
    // 101 tokens are 25 windows of 4 + 1 that share their border token.
    let path = shard(dir.path(), "a", 0, &[101]);
    let stream = open(&spec(1, vec![source("a", &path, 1.0)]));
    assert_eq!(stream.windows(), [25]);
    let mut orders = HashSet::new();
    for epoch in 0..4u64 {
        let batch = stream.batch(25 * epoch, 25).unwrap();
        let rows: Vec<&[u32]> = batch.tokens.chunks(T + 1).collect();
        for row in &rows {
            assert_eq!(row[0] % T as u32, 0);
            assert!(row.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
        let starts: Vec<u32> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(starts.iter().collect::<HashSet<_>>().len(), 25, "a window came twice in epoch {epoch}");
        orders.insert(starts);
    }
    assert_eq!(orders.len(), 4, "epochs have orders of their own");
    let other = open(&spec(2, vec![source("a", &path, 1.0)]));
    assert_ne!(stream.batch(0, 25).unwrap(), other.batch(0, 25).unwrap(), "seeds differ");
}

#[test]
fn resuming_is_a_seek() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (shard(dir.path(), "a", 0, &[101]), shard(dir.path(), "b", 1000, &[61]));
    let spec = spec(3, vec![source("a", &a, 0.3), source("b", &b, 0.7)]);
    let whole = open(&spec).batch(0, 300).unwrap();
    let again = open(&spec);
    for first in [0, 1, 99, 250] {
        let part = again.batch(first, 50).unwrap();
        let at = first as usize;
        assert_eq!(part.tokens, whole.tokens[at * (T + 1)..(at + 50) * (T + 1)]);
        assert_eq!(part.source, whole.source[at..at + 50]);
    }
}

#[test]
fn shares_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..3).map(|i| shard(dir.path(), &i.to_string(), 1000 * i, &[41])).collect();
    for weights in [vec![0.95, 0.05], vec![0.5, 0.3, 0.2], vec![7.0, 2.0, 1.0], vec![1.0, 1e-3]] {
        let sources: Vec<_> = weights.iter().enumerate().map(|(i, &w)| source(&i.to_string(), &paths[i], w)).collect();
        let stream = open(&spec(5, sources));
        let total: f64 = weights.iter().sum();
        let mut counts = vec![0u64; weights.len()];
        for i in 0..8000u64 {
            counts[stream.locate(i).source] += 1;
            // Nested splits: no prefix is further from its share than the number of splits on the way.
            for (count, weight) in counts.iter().zip(&weights) {
                let ideal = (i + 1) as f64 * weight / total;
                assert!(
                    (*count as f64 - ideal).abs() <= (weights.len() - 1) as f64,
                    "{weights:?} after {i}: {counts:?}"
                );
            }
        }
        assert_eq!(counts, stream.sample_counts(8000));
        let exact: Vec<u64> = weights.iter().map(|w| (8000.0 * w / total).round() as u64).collect();
        assert_eq!(counts, exact, "{weights:?}");
    }
}

#[test]
fn replay_yields_only_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (shard(dir.path(), "old", 0, &[401]), shard(dir.path(), "new", 10_000, &[401]));
    let base = spec(1, vec![source("old", &old, 1.0)]);
    let seen: Vec<Vec<u32>> = open(&base).batch(0, 30).unwrap().tokens.chunks(T + 1).map(<[u32]>::to_vec).collect();
    for order in [ReplayOrder::Original, ReplayOrder::Reshuffled] {
        let replay = ReplaySpec { fraction: 0.05, order, seen: Some(30), offset: 0, stream: base.clone() };
        let branch = StreamSpec { replay: Some(Box::new(replay)), ..spec(9, vec![source("new", &new, 1.0)]) };
        let stream = open(&branch);
        // 1000 batches of 8: exactly 5 %, in the order of the earlier run or as a permutation of it.
        let batch = stream.batch(0, 8000).unwrap();
        let replayed: Vec<&[u32]> = batch.tokens.chunks(T + 1).filter(|row| row[0] < 10_000).collect();
        assert_eq!(replayed.len(), 400);
        for (round, rows) in replayed.chunks_exact(30).enumerate() {
            if order == ReplayOrder::Original {
                assert_eq!(rows, seen, "round {round}");
            } else {
                assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 30, "round {round}");
                assert!(rows.iter().all(|row| seen.iter().any(|s| s == row)));
            }
        }
        // A branch of the branch replays both of its sources.
        let again = ReplaySpec { fraction: 0.5, order, seen: Some(100), offset: 0, stream: branch.clone() };
        let third = StreamSpec { replay: Some(Box::new(again)), ..spec(4, vec![source("new", &new, 1.0)]) };
        let first: HashSet<Vec<u32>> =
            stream.batch(0, 100).unwrap().tokens.chunks(T + 1).map(<[u32]>::to_vec).collect();
        let rows = open(&third);
        for i in (0..400).filter(|&i| rows.locate(i).replayed.is_some()) {
            assert!(first.contains(&rows.batch(i, 1).unwrap().tokens));
        }
        // What is written down opens to the same stream.
        let text = serde_json::to_string(&third).unwrap();
        let read: StreamSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(open(&read).batch(0, 50).unwrap(), rows.batch(0, 50).unwrap());
    }
}

#[test]
fn faults_of_a_description() {
    let dir = tempfile::tempdir().unwrap();
    let path = shard(dir.path(), "good", 0, &[41]);
    let good = spec(1, vec![source("good", &path, 1.0)]);
    let refused = |spec: &StreamSpec, part: &str| {
        let problem = Stream::open(spec).err().unwrap_or_else(|| panic!("opened, not: {part}"));
        assert_eq!(problem.kind.exit_code(), 2);
        assert!(problem.to_string().contains(part), "no `{part}` in: {problem}");
    };
    let short = shard(dir.path(), "short", 0, &[T]);
    refused(&spec(1, vec![source("short", &short, 1.0)]), "short.tokens: 4 tokens do not fill one window of 4 + 1");
    refused(&spec(1, vec![]), "no source");
    refused(&StreamSpec { seq_len: 0, ..good.clone() }, "sequence length");
    refused(&spec(1, vec![source("none", &dir.path().join("none.tokens"), 1.0)]), "none.tokens");
    refused(&spec(1, vec![source("a", &path, 1.0), source("a", &path, 1.0)]), "`a`: two sources of this name");
    refused(&spec(1, vec![source("replay", &path, 1.0)]), "`replay`");
    refused(&spec(1, vec![source("a", &path, 0.0)]), "weights");
    refused(&spec(1, vec![source("a", &path, f64::NAN)]), "weights");

    // Two vocabularies in one stream, whichever of the streams they are in.
    let foreign = dir.path().join("foreign.tokens");
    let mut writer =
        ShardWriter::create(&foreign, &Vocabulary { fingerprint: "cd".repeat(32), ..vocabulary() }).unwrap();
    writer.push(&[1; 41], 41).unwrap();
    writer.finish().unwrap();
    refused(&spec(1, vec![source("a", &path, 1.0), source("b", &foreign, 1.0)]), "foreign.tokens");
    let replay = |fraction: f64, seen: Option<u64>, stream: &StreamSpec| {
        let order = ReplayOrder::Original;
        let replay = ReplaySpec { fraction, order, seen, offset: 0, stream: stream.clone() };
        StreamSpec { replay: Some(Box::new(replay)), ..good.clone() }
    };
    refused(&replay(0.1, None, &spec(1, vec![source("b", &foreign, 1.0)])), "foreign.tokens");
    for fraction in [-0.1, 1.0, f64::NAN] {
        refused(&replay(fraction, None, &good), "replay fraction");
    }
    refused(&replay(0.1, Some(0), &good), "no samples");
    refused(&replay(0.1, None, &StreamSpec { seq_len: T + 1, ..good.clone() }), "sequences of 5");
    assert_eq!(open(&replay(0.0, None, &good)).sample_counts(1000), [1000, 0]);
}

#[test]
fn replay_without_a_limit_is_the_whole_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (shard(dir.path(), "old", 0, &[41]), shard(dir.path(), "new", 10_000, &[41]));
    let base = spec(1, vec![source("old", &old, 1.0)]);
    let numbers = |order: ReplayOrder, offset: u64| -> Vec<u64> {
        let replay = ReplaySpec { fraction: 0.5, order, seen: None, offset, stream: base.clone() };
        let stream = open(&StreamSpec { replay: Some(Box::new(replay)), ..spec(9, vec![source("new", &new, 1.0)]) });
        (0..60).filter_map(|i| stream.locate(i).replayed).collect()
    };
    assert_eq!(numbers(ReplayOrder::Original, 0), (0..30).collect::<Vec<_>>());
    assert_eq!(numbers(ReplayOrder::Original, 5), (5..35).collect::<Vec<_>>());
    // Ten windows: rounds of ten, each in another order.
    let rounds = numbers(ReplayOrder::Reshuffled, 0);
    let rounds: Vec<&[u64]> = rounds.chunks(10).collect();
    assert!(rounds.iter().all(|round| round.iter().copied().collect::<HashSet<_>>() == (0..10).collect()));
    assert_ne!(rounds[0], rounds[1]);
}

#[test]
fn every_token_but_the_first_is_predicted_once() {
    let dir = tempfile::tempdir().unwrap();
    for documents in [vec![2], vec![5], vec![8, 1, 9], vec![4, 4], vec![30, 7]] {
        let source = TokenSource::open(&shard(dir.path(), &format!("{documents:?}"), 0, &documents)).unwrap();
        let length: usize = documents.iter().sum();
        for rows in [1, 3] {
            let windows = EvalWindows::new(&source, T, None).unwrap();
            let mut targets = Vec::new();
            for batch in windows.batches(rows, 0..windows.count(rows)) {
                let batch = batch.unwrap();
                assert!(batch.inputs.iter().zip(&batch.targets).all(|(input, target)| input + 1 == *target));
                targets.extend(batch.targets);
            }
            assert_eq!(targets, (1..length as u32).collect::<Vec<_>>(), "{documents:?}");
            // Any cut of the batches reads the same.
            for cut in 0..=windows.count(rows) {
                let parts = windows.batches(rows, 0..cut).chain(windows.batches(rows, cut..windows.count(rows)));
                assert_eq!(parts.flat_map(|batch| batch.unwrap().targets).collect::<Vec<_>>(), targets);
            }
            assert_eq!((windows.targets(), windows.bytes()), (length as u64 - 1, Some(3 * length as u64)));
        }
    }
    // A limit takes whole documents, and their bytes.
    let source = TokenSource::open(&shard(dir.path(), "limited", 0, &[6, 5, 9])).unwrap();
    for (limit, documents, tokens) in [(6, 1, 6), (10, 1, 6), (11, 2, 11), (19, 2, 11), (20, 3, 20)] {
        let windows = EvalWindows::new(&source, T, Some(limit)).unwrap();
        assert_eq!((windows.documents(), windows.tokens()), (documents, tokens), "limit {limit}");
        assert_eq!((windows.targets(), windows.bytes()), (tokens - 1, Some(3 * tokens)));
        assert!(!windows.is_cut());
    }
    // Where not even the first document fits, its beginning is taken, and nobody knows its bytes.
    for limit in 2..6 {
        let windows = EvalWindows::new(&source, T, Some(limit)).unwrap();
        assert_eq!((windows.tokens(), windows.bytes(), windows.is_cut()), (limit, None, true), "limit {limit}");
        let read: usize = windows.batches(3, 0..windows.count(3)).map(|batch| batch.unwrap().targets.len()).sum();
        assert_eq!(read as u64, limit - 1);
    }
    assert!(EvalWindows::new(&source, T, Some(1)).is_err());
}

/// A stream knows its files by content: another file of the same name, or other bytes behind the same header, are refused.
#[test]
fn files_are_known_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let old = shard(dir.path(), "old", 0, &[40, 9]);
    let mut stream = Stream::open(&spec(1, vec![source("old", &old, 1.0)])).unwrap();
    stream.identify().unwrap();
    let inner = stream.spec().clone();
    assert!(inner.sources[0].identity.is_some());
    let new = shard(dir.path(), "new", 0, &[60]);
    let replay = ReplaySpec { fraction: 0.5, order: ReplayOrder::Original, seen: Some(5), offset: 0, stream: inner };
    let outer = StreamSpec { replay: Some(Box::new(replay)), ..spec(9, vec![source("new", &new, 1.0)]) };
    let mut stream = Stream::open(&outer).unwrap();
    stream.identify().unwrap();
    let known = stream.spec().clone();
    drop(stream);
    Stream::open(&known).unwrap().identify().unwrap();
    // In the replayed stream too.
    let good = std::fs::read(&old).unwrap();
    let mut bent = good.clone();
    bent[130] ^= 1;
    std::fs::remove_file(&old).unwrap();
    std::fs::write(&old, bent).unwrap();
    assert!(Stream::open(&known).unwrap().identify().unwrap_err().to_string().contains("sha256"));
    std::fs::remove_file(&old).unwrap();
    shard(dir.path(), "old", 0, &[40, 10]);
    let problem = Stream::open(&known).err().expect("another file").to_string();
    assert!(problem.contains("old") && problem.contains("50 tokens") && problem.contains("49 tokens"), "{problem}");
}

#[test]
fn a_document_that_ends_beyond_the_tokens_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = shard(dir.path(), "damaged", 1, &[3, 5]);
    // The table is the last thing in the file, 16 bytes a document: the first one's end becomes too large.
    let mut bytes = std::fs::read(&path).unwrap();
    let entry = bytes.len() - 32;
    bytes[entry..entry + 8].copy_from_slice(&1000u64.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let source = TokenSource::open(&path).unwrap();
    let problem = EvalWindows::new(&source, T, Some(4)).err().expect("there are no 1000 tokens").to_string();
    assert!(problem.contains("document 1 ends at token 1000"), "{problem}");
}
