//! Text to token files: formats, faults, the split, and the same bytes from any number of threads.

use std::fs;
use std::io::Write;
use std::path::Path;

use temper_data::{
    BadLines, Documents, Fault, Input, PrepareOptions, Prepared, Quiet, ReadOptions, TokenShard, Tokenizer, prepare,
};

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tokenizer.json"), None).unwrap()
}

fn jsonl(texts: &[&str]) -> String {
    texts.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect()
}

fn texts(inputs: &[Input], options: &ReadOptions) -> temper_base::Result<Vec<String>> {
    Documents::open(inputs, options)?.map(|document| Ok(document?.text)).collect()
}

fn refused<T>(result: temper_base::Result<T>, parts: &[&str]) {
    let problem = result.err().expect("an error");
    assert_eq!(problem.kind.exit_code(), 2, "{problem}");
    for part in parts {
        assert!(problem.to_string().contains(part), "no `{part}` in: {problem}");
    }
}

#[test]
fn every_format_gives_the_same_documents() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let lines = jsonl(&["first", "zweites \u{e4}\u{1f600}", "third\nwith a line break"]);
    let expected = ["first", "zweites ä😀", "third\nwith a line break"];
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(lines.as_bytes()).unwrap();
    fs::write(path("a.jsonl"), &lines).unwrap();
    fs::write(path("b.jsonl.gz"), gz.finish().unwrap()).unwrap();
    let zst = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    fs::write(path("c.jsonl.zst"), &zst).unwrap();
    fs::write(path("d.jsonl"), lines.replace('\n', "\r\n")).unwrap();
    let options = ReadOptions::default();
    for name in ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.jsonl"] {
        assert_eq!(texts(&[Input::from(path(name))], &options).unwrap(), expected, "{name}");
    }
    fs::write(path("e.txt"), "a whole file\n\nis one document").unwrap();
    assert_eq!(texts(&[Input::from(path("e.txt"))], &options).unwrap(), ["a whole file\n\nis one document"]);
    // A folder is its files in order, a glob those that match.
    assert_eq!(texts(&[Input::from(dir.path())], &options).unwrap().len(), 13);
    assert_eq!(texts(&[Input::from(path("*.jsonl"))], &options).unwrap().len(), 6);
    let memory = Input::Memory { name: "inside".into(), jsonl_zst: zst.leak() };
    assert_eq!(texts(&[memory], &options).unwrap(), expected);
    fs::write(path("k.jsonl"), "{\"meta\":1,\"body\":\"x\"}\n").unwrap();
    let body = ReadOptions { text_key: "body".into(), ..ReadOptions::default() };
    assert_eq!(texts(&[Input::from(path("k.jsonl"))], &body).unwrap(), ["x"]);
}

#[test]
fn faults_of_text() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        [Input::from(dir.path().join(name))]
    };
    let options = ReadOptions::default();
    refused(texts(&[Input::from(dir.path().join("none.jsonl"))], &options), &["none.jsonl"]);
    refused(texts(&[Input::from(dir.path().join("*.none"))], &options), &["*.none"]);
    refused(texts(&file("key.jsonl", b"{\"text\":\"a\"}\n\n{\"txt\":\"b\"}\n"), &options), &["key.jsonl:3", "text"]);
    refused(texts(&file("json.jsonl", b"{\"text\":\"a\"\n"), &options), &["json.jsonl:1"]);
    let zst = zstd::encode_all(jsonl(&["hello"; 500]).as_bytes(), 1).unwrap();
    refused(texts(&file("cut.jsonl.zst", &zst[..zst.len() - 5]), &options), &["cut.jsonl.zst"]);

    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(jsonl(&["hello"; 500]).as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    refused(texts(&file("cut.jsonl.gz", &gz[..gz.len() - 9]), &options), &["cut.jsonl.gz", "ends early"]);
    refused(texts(&file("number.jsonl", b"{\"text\":7}\n"), &options), &["number.jsonl:1", "string under `text`"]);
    refused(texts(&file("list.jsonl", b"[1]\n"), &options), &["list.jsonl:1"]);
    refused(texts(&file("two.jsonl", b"{\"text\":\"a\"} {\"text\":\"b\"}\n"), &options), &["two.jsonl:1", "not JSON"]);
    refused(texts(&file("paper.pdf", b"%PDF"), &options), &["paper.pdf", "format"]);
    fs::create_dir(dir.path().join("folder")).unwrap();
    refused(texts(&[Input::from(dir.path().join("folder"))], &options), &["folder", "no file that can be read"]);
    assert_eq!(texts(&file("latin.txt", b"one\nb\xf6se\nthree\n"), &options).unwrap(), ["one\nthree\n"]);

    let latin = b"{\"text\":\"a\"}\n{\"text\":\"\xe4\"}\n{\"text\":\"c\"}\n";
    let mut documents = Documents::open(&file("latin.jsonl", latin), &options).unwrap();
    let counts = documents.counts();
    assert_eq!(documents.by_ref().map(|d| d.unwrap().text).collect::<Vec<_>>(), ["a", "c"]);
    let skipped = counts.skipped();
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].fault, skipped[0].lines), (Fault::NotUtf8, 1));
    assert!(skipped[0].first.ends_with("latin.jsonl:2"), "{skipped:?}");
    let strict = ReadOptions { bad_lines: BadLines::Error, ..ReadOptions::default() };
    refused(texts(&file("latin.jsonl", latin), &strict), &["latin.jsonl:2", "UTF-8"]);

    let empty =
        prepare(&file("empty.jsonl", b"\n\n"), &tokenizer(), &dir.path().join("out"), &Default::default(), &Quiet);
    refused(empty, &["empty.jsonl", "empty"]);
}

fn run(dir: &Path, out: &str, threads: usize, seed: u64, fraction: f64) -> Prepared {
    let options =
        PrepareOptions { validation_fraction: fraction, seed, threads: Some(threads), ..PrepareOptions::default() };
    prepare(&[Input::from(dir.join("in.jsonl"))], &tokenizer(), &dir.join(out), &options, &Quiet).unwrap()
}

#[test]
fn the_split_is_by_document_and_the_threads_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    // Some documents longer than what one thread takes at once; bytes beyond ASCII count as read.
    let long = "Das Gesetz über die Prüfung. ".repeat(9000);
    let mut all: Vec<String> = (0..300).map(|i| format!("Document {i}: ä{}", "word ".repeat(i % 17))).collect();
    all.push(long);
    fs::write(dir.path().join("in.jsonl"), jsonl(&all.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let (one, two) = (run(dir.path(), "one", 1, 7, 0.1), run(dir.path(), "two", 2, 7, 0.1));
    for name in ["train.tokens", "validation.tokens", "tokenizer.json"] {
        assert!(
            fs::read(dir.path().join("one").join(name)).unwrap()
                == fs::read(dir.path().join("two").join(name)).unwrap()
        );
    }
    let validation = one.validation.unwrap();
    assert_eq!(one.train.documents + validation.documents, 301);
    assert!((10..60).contains(&validation.documents), "{}", validation.documents);
    assert_eq!(one.train.bytes + validation.bytes, all.iter().map(|text| text.len() as u64).sum::<u64>());
    assert_eq!(two.train.hash, one.train.hash);
    let other = run(dir.path(), "other", 2, 8, 0.1);
    assert_ne!(other.train.hash, one.train.hash, "another seed is another split");

    // Every document is followed by the end-of-document token, and decodes to itself.
    let everything = run(dir.path(), "whole", 2, 7, 0.0);
    assert!(everything.validation.is_none());
    let shard = TokenShard::open(&everything.train.path).unwrap();
    let (tokenizer, mut start) = (tokenizer(), 0);
    for (i, text) in all.iter().enumerate() {
        let end = shard.after_documents(i as u64 + 1).0;
        let mut tokens = vec![0; (end - start) as usize];
        shard.read(start, &mut tokens).unwrap();
        assert_eq!(tokens.pop(), Some(tokenizer.eod()), "document {i}");
        assert!(tokenizer.decode(&tokens).unwrap() == *text, "document {i}");
        start = end;
    }
    // Nothing is overwritten unless asked.
    let again = PrepareOptions { validation_fraction: 0.0, ..PrepareOptions::default() };
    let inputs = [Input::from(dir.path().join("in.jsonl"))];
    refused(prepare(&inputs, &tokenizer, &dir.path().join("whole"), &again, &Quiet), &["train.tokens", "exists"]);
}

#[test]
fn few_documents_are_split_too() {
    let dir = tempfile::tempdir().unwrap();
    for texts in [&["one", "two"][..], &["one", "two", "three"]] {
        fs::write(dir.path().join("in.jsonl"), jsonl(texts)).unwrap();
        for (i, fraction) in [0.01, 0.5, 0.99].into_iter().enumerate() {
            let made = run(dir.path(), &format!("few-{}-{i}", texts.len()), 1, 1, fraction);
            assert!(made.train.documents >= 1 && made.validation.unwrap().documents >= 1);
        }
    }
}

/// A corpus of one document is cut: the tail validates, from a blank line, a line end or a character on.
#[test]
fn one_document_is_cut_in_two() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer();
    for (name, text, tail) in [
        ("blank", format!("{}\n\nlast part\nof {}", "word ".repeat(40), "it ".repeat(9)), "last part"),
        ("line", format!("{}\nlast {}", "word ".repeat(40), "it ".repeat(9)), "last it"),
        ("plain", "\u{e4}".repeat(100), "\u{e4}"),
    ] {
        let input = dir.path().join(format!("{name}.txt"));
        fs::write(&input, &text).unwrap();
        let options = PrepareOptions { validation_fraction: 0.1, ..PrepareOptions::default() };
        let made = prepare(&[Input::from(input)], &tokenizer, &dir.path().join(name), &options, &Quiet).unwrap();
        let validation = made.validation.unwrap();
        assert!(made.cut_document && made.train.documents == 1 && validation.documents == 1);
        let read = |path: &Path, n: u64| {
            let mut tokens = vec![0; n as usize];
            TokenShard::open(path).unwrap().read(0, &mut tokens).unwrap();
            assert_eq!(tokens.pop(), Some(tokenizer.eod()));
            tokenizer.decode(&tokens).unwrap()
        };
        let (head, end) = (read(&made.train.path, made.train.tokens), read(&validation.path, validation.tokens));
        assert_eq!(format!("{head}{end}"), text);
        assert!(end.starts_with(tail), "{end}");
        assert_eq!(made.train.bytes + validation.bytes, text.len() as u64);
    }
    let input = dir.path().join("tiny.txt");
    fs::write(&input, "a").unwrap();
    refused(
        prepare(&[Input::from(input)], &tokenizer, &dir.path().join("tiny"), &PrepareOptions::default(), &Quiet),
        &["cannot be cut"],
    );
}

/// Every kind of bad line is left out and counted, and an error by option; half of a file of them is no corpus.
#[test]
fn bad_lines_are_counted_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        [Input::from(dir.path().join(name))]
    };
    let skip = ReadOptions::default();
    let strict = ReadOptions { bad_lines: BadLines::Error, ..ReadOptions::default() };
    let good = jsonl(&["good"; 9]);
    for (line, fault) in [
        (&b"{\"text\":\"\xe4\"}\n"[..], Fault::NotUtf8),
        (b"{\"text\":\"cut \\ud83d\"}\n", Fault::LoneSurrogate),
        (b"{\"body\":\"x\"}\n", Fault::NoKey),
        (b"{\"text\":null}\n", Fault::Null),
        (b"{\"text\":7}\n", Fault::NotText),
    ] {
        let some = [good.as_bytes(), line, line].concat();
        let mut documents = Documents::open(&file("some.jsonl", &some), &skip).unwrap();
        let counts = documents.counts();
        assert_eq!(documents.by_ref().filter(|document| document.is_ok()).count(), 9, "{fault:?}");
        let [skipped] = &counts.skipped()[..] else { panic!("{:?}", counts.skipped()) };
        assert_eq!((skipped.fault, skipped.lines), (fault, 2));
        assert!(skipped.first.ends_with("some.jsonl:10"), "{skipped:?}");
        refused(texts(&file("some.jsonl", &some), &strict), &["some.jsonl:10"]);
        let half = [jsonl(&["good"; 2]).as_bytes(), line, line].concat();
        refused(texts(&file("half.jsonl", &half), &skip), &["half.jsonl:3", "2 of the 4 lines"]);
    }
    // These are no bad lines: Python writes them, and text is in them.
    let python = b"{\"score\":NaN,\"text\":\"a\"}\n{\"score\":[-Infinity, Infinity],\"text\":\"b\"}\n\xef\xbb\xbf{\"text\":\"c\"}\n";
    assert_eq!(texts(&file("python.jsonl", python), &strict).unwrap(), ["a", "b", "c"]);
    refused(texts(&file("array.json", b"[{\"text\":\"a\"}]\n"), &skip), &["array.json:1", "one object a line"]);
    refused(texts(&file("pretty.json", b"{\n \"text\": \"a\"\n}\n"), &skip), &["pretty.json:1", "not JSON"]);
}

#[test]
fn what_a_file_unpacks_to_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        [Input::from(dir.path().join(name))]
    };
    let read = |longest: usize| ReadOptions { longest, ..ReadOptions::default() };
    let line = jsonl(&["twelve bytes"]);
    assert_eq!(texts(&file("a.jsonl", line.as_bytes()), &read(line.len())).unwrap().len(), 1);
    refused(texts(&file("a.jsonl", line.as_bytes()), &read(line.len() - 1)), &["a.jsonl:1", "more than 23 bytes"]);
    assert_eq!(texts(&file("a.txt", b"one\ntwo\n"), &read(8)).unwrap().len(), 1);
    refused(texts(&file("a.txt", b"one\ntwo\n"), &read(7)), &["a.txt:2", "more than 7 bytes"]);
    // Frames of Zstandard that ask for a window: 2^31 bytes, the most there is, and twice that. Both are empty.
    let frame = |window_log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 1, 0, 0];
    assert_eq!(texts(&file("31.jsonl.zst", &frame(31)), &ReadOptions::default()).unwrap().len(), 0);
    refused(texts(&file("32.jsonl.zst", &frame(32)), &ReadOptions::default()), &["32.jsonl.zst", "window"]);
}

/// What lies in a folder and is not read is told.
#[test]
fn folders_tell_what_they_pass_over() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &str| fs::write(dir.path().join(name), bytes).unwrap();
    write("a.jsonl", &jsonl(&["data"]));
    write("b.jsonl.xz", "x");
    write("c.parquet", "x");
    write("d.parquet", "x");
    write("LICENSE.txt", "no data");
    write("dataset_info.json", "{\n}");
    fs::create_dir(dir.path().join(".cache")).unwrap();
    write(".cache/b.txt", "hidden");
    write(".a.txt", "hidden");
    write(".DS_Store", "no text");
    let documents = Documents::open(&[Input::from(dir.path())], &ReadOptions::default()).unwrap();
    let notes: Vec<String> = documents.notes().iter().map(|note| note.what.clone()).collect();
    let said = notes.join("\n");
    let counted = "3 files of other formats: 1 .jsonl.xz, 2 .parquet";
    for part in
        [counted, "LICENSE.txt", "dataset_info.json", "passed over 2 hidden files: ", "/.a.txt, ", ".cache/b.txt"]
    {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert_eq!(documents.map(|document| document.unwrap().text).collect::<Vec<_>>(), ["data"]);
    // Named itself, such a file is read.
    for (name, text) in [("LICENSE.txt", "no data"), (".a.txt", "hidden"), (".cache", "hidden")] {
        assert_eq!(texts(&[Input::from(dir.path().join(name))], &ReadOptions::default()).unwrap(), [text]);
    }
    write("unknown.json", "{\n}");
    let problem = texts(&[Input::from(dir.path())], &ReadOptions::default()).unwrap_err();
    assert!(problem.hint.as_ref().is_some_and(|hint| hint.contains("probably not data")), "{problem:?}");
}

/// However often a file is named, it is read once, where it comes first.
#[test]
fn a_file_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("e2")).unwrap();
    fs::write(path("e2/a.txt"), "a").unwrap();
    fs::write(path("e2/b.txt"), "b").unwrap();
    // Another file, though its content is the same.
    fs::write(path("e2/c.txt"), "a").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(path("e2/b.txt"), path("link.txt")).unwrap();
    #[cfg(not(unix))]
    fs::write(path("link.txt"), "no links here").unwrap();
    let memory = || Input::Memory {
        name: "inside".into(),
        jsonl_zst: zstd::encode_all(&b"{\"text\":\"m\"}"[..], 1).unwrap().leak(),
    };
    let check = |inputs: &[Input], expected: &[&str], again: &[&str]| {
        let documents = Documents::open(inputs, &ReadOptions::default()).unwrap();
        let notes: Vec<String> = documents.notes().iter().map(|note| note.what.clone()).collect();
        assert_eq!(documents.map(|document| document.unwrap().text).collect::<Vec<_>>(), expected);
        assert_eq!(notes.len(), usize::from(!again.is_empty()), "{notes:?}");
        again
            .iter()
            .for_each(|name| assert!(notes[0].contains("more than once") && notes[0].contains(name), "{notes:?}"));
    };
    let [folder, a, pattern, roundabout] =
        ["e2", "e2/a.txt", "e2/*.txt", "e2/../e2/b.txt"].map(|name| Input::from(path(name)));
    check(std::slice::from_ref(&folder), &["a", "b", "a"], &[]);
    check(&[folder.clone(), folder.clone()], &["a", "b", "a"], &["a.txt", "b.txt", "c.txt"]);
    check(&[a.clone(), folder.clone()], &["a", "b", "a"], &["a.txt"]);
    check(&[roundabout, pattern, a], &["b", "a", "a"], &["a.txt", "b.txt"]);
    check(&[memory(), folder, memory()], &["m", "a", "b", "a"], &["inside"]);
    #[cfg(unix)]
    check(&[Input::from(path("e2/b.txt")), Input::from(path("link.txt"))], &["b"], &["link.txt"]);
}

/// A file that is no corpus under this key names the keys that its first lines have, and gives no hint at what is done already.
#[test]
fn a_wrong_key_names_the_right_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        fs::write(dir.path().join("a.jsonl"), text).unwrap();
        [Input::from(dir.path().join("a.jsonl"))]
    };
    let hint = |lines: &str, key: &str, bad_lines: BadLines| {
        let options = ReadOptions { text_key: key.into(), bad_lines, ..ReadOptions::default() };
        texts(&file(lines), &options).unwrap_err().hint.expect("a hint")
    };
    let nested = "{\"id\":1,\"data\":{\"text\":\"x\"}}\n{\"data\":{\"body\":\"x\"}}\n";
    for key in ["data", "text"] {
        let said = hint(nested, key, BadLines::Skip);
        assert!(
            said.contains("keys here are: id, data.text, data.body; name the key") && !said.contains("skipped"),
            "{said}"
        );
        let said = hint(nested, key, BadLines::Error);
        assert!(said.contains("keys here are: id, data.text; name the key") && said.contains("be skipped"), "{said}");
    }
    for line in ["{\"text\":null}\n", "{\"text\":7}\n", "{}\n", "{\"text\":\"cut \\ud83d\"}\n"] {
        let said = hint(&line.repeat(2), "text", BadLines::Skip);
        assert!(!said.contains("skipped"), "{said}");
    }
}

/// Half of a corpus is never one, and what a killed writer left is replaced.
#[test]
fn half_a_corpus_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.jsonl"), jsonl(&["one", "two", "three"])).unwrap();
    let whole = run(dir.path(), "whole", 1, 1, 0.5);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let prepare = || {
        let options = PrepareOptions { validation_fraction: 0.5, seed: 1, ..PrepareOptions::default() };
        prepare(&[Input::from(dir.path().join("in.jsonl"))], &tokenizer(), &out, &options, &Quiet)
    };
    fs::write(out.join("validation.tokens"), "half").unwrap();
    // Somebody's own file stays.
    refused(prepare(), &["validation.tokens", "exists"]);
    refused(texts(&[Input::from(&*out)], &ReadOptions::default()), &["validation.tokens without train.tokens"]);
    // What a writer that was killed left does not.
    fs::write(out.join(".prepare.lock"), "").unwrap();
    fs::write(out.join(".train.tokens.abc.unfinished"), "half").unwrap();
    let made = prepare().unwrap();
    assert_eq!((made.train.hash, made.validation.unwrap().hash), (whole.train.hash, whole.validation.unwrap().hash));
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["tokenizer.json", "train.tokens", "validation.tokens"]);
    // One writer at a time.
    let second = dir.path().join("second");
    let claim = temper_data::text::claim::Claim::take(&second).unwrap();
    refused(temper_data::text::claim::Claim::take(&second).map(drop), &["second", "another process"]);
    drop(claim);
    assert!(temper_data::text::claim::Claim::take(&second).is_ok());
}
