//! `temper data fetch` and `temper data info` on images, as a user runs them, against a web server of the test's own.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Done, Folder};
use serde_json::Value;

/// A web server that answers each request with this, and the paths it was asked for.
fn server(answer: impl Into<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/data", listener.local_addr().expect("an address"));
    let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), answer.into());
    let paths = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            paths.lock().expect("no panic").extend(text.split(' ').nth(1).map(str::to_owned));
            _ = stream.write_all(&answer);
        }
    });
    (address, asked)
}

/// Fetches MNIST from there, whatever proxy this machine has.
fn fetch_from(folder: &Folder, from: &str) -> Done {
    folder.shell(&format!("unset http_proxy HTTP_PROXY all_proxy ALL_PROXY; $TEMPER data fetch mnist --from {from}"))
}

#[test]
fn offline_says_what_is_missing_and_where_it_looked() {
    let folder = Folder::empty();
    folder.write("not-a-folder", "");
    fs::create_dir(folder.path("empty")).unwrap();
    let done = folder.temper(&["data", "fetch", "mnist", "--offline", "--from", "empty"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
    for words in ["train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte", "looked in empty"] {
        assert!(done.err.contains(words), "{}", done.err);
    }
    let done = folder.temper(&["data", "fetch", "cifar-10", "--offline"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("cifar-10-binary.tar.gz") && done.err.contains("hint: "), "{}", done.err);
    for from in ["http://localhost:1/x", "not-a-folder"] {
        let done = folder.temper(&["data", "fetch", "mnist", "--offline", "--from", from]);
        assert_eq!(done.code, 2, "{}", done.err);
        assert!(done.err.contains("--from"), "{}", done.err);
    }
    assert!(!folder.path("data/mnist").exists(), "nothing is left behind");
}

#[test]
fn only_the_known_files_are_taken() {
    let folder = Folder::empty();
    fs::create_dir(folder.path("place")).unwrap();
    folder.write("place/train-labels-idx1-ubyte", "not it");
    let done = folder.temper(&["data", "fetch", "mnist", "--from", "place"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("warning: place/train-labels-idx1-ubyte is not the known file of MNIST"), "{}", done.err);
    fs::create_dir_all(folder.path("data/mnist")).unwrap();
    folder.write("data/mnist/t10k-labels-idx1-ubyte.gz", "mine");
    let done = folder.temper(&["data", "fetch", "mnist", "--from", "place"]);
    assert!(done.code == 2 && done.err.contains("never overwrites a file"), "{}", done.err);
    assert_eq!(folder.read("data/mnist/t10k-labels-idx1-ubyte.gz"), b"mine");
}

#[test]
fn a_download_that_fails_leaves_nothing() {
    let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let mut endless = format!("{ok}\r\n").into_bytes();
    endless.resize(60_000_000, 0);
    let answers: [(Vec<u8>, &str); 4] = [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(), "404"),
        (format!("{ok}Content-Length: 5\r\n\r\nwrong").into_bytes(), "5 bytes, which are not the known file"),
        (format!("{ok}Content-Length: 500\r\n\r\nwrong").into_bytes(), "http"),
        (endless, "larger than the known file"),
    ];
    for (answer, why) in answers {
        let folder = Folder::empty();
        let (address, asked) = server(answer);
        let done = fetch_from(&folder, &address);
        assert_eq!((done.code, done.out.as_str()), (4, ""), "{}", done.err);
        assert!(done.err.contains(why) && done.err.contains("hint: "), "`{why}` is not in\n{}", done.err);
        assert_eq!(asked.lock().unwrap()[..], ["/data/train-images-idx3-ubyte.gz", "/data/train-images-idx3-ubyte"]);
        assert!(!folder.path("data/mnist").exists(), "nothing is left behind");
    }
}

#[test]
fn what_a_data_set_is() {
    let folder = Folder::empty();
    let told = folder.ok(&["data", "info", "builtin:fashion"]);
    for words in ["fashion-mnist", "10,000 for training, 2,000 for testing", "28x28, grey", "10: T-shirt/top", "subset"]
    {
        assert!(told.contains(words), "`{words}` is not in\n{told}");
    }
    let facts: Value = serde_json::from_str(&folder.ok(&["data", "info", "builtin:fashion", "--json"])).unwrap();
    assert_eq!((&facts["shape"], &facts["train"]["images"]), (&serde_json::json!([1, 28, 28]), &10_000.into()));
    fs::create_dir(folder.path("empty")).unwrap();
    let done = folder.temper(&["data", "info", "empty"]);
    assert!(done.code == 2 && done.err.contains("the folder is empty"), "{}", done.err);
}
