//! Files are whole or absent.

use std::fs;

use temper_base::files::{AtomicFile, write_whole};

#[test]
fn a_file_appears_when_it_is_finished_and_leaves_nothing_if_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    fs::write(&path, "before").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write(b"after").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before");
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    write_whole(&path, b"after").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"after");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_appeared_meanwhile_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let file = AtomicFile::create(&path).unwrap();
    fs::write(&path, "theirs").unwrap();
    file.finish_new().unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn no_link_is_followed_and_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (plain, path) = (folder.path().join("plain"), folder.path().join("x"));
    fs::write(&plain, "plain").unwrap();
    std::os::unix::fs::symlink(&plain, &path).unwrap();
    write_whole(&path, b"new").unwrap();
    assert_eq!(fs::read(&plain).unwrap(), b"plain", "the link is replaced, not what it points to");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), mode(&plain));
}

#[test]
fn what_a_kill_left_is_removed_by_the_next_writer_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let at_work = AtomicFile::create(&path).unwrap();
    for left in [".x.json.Ab12cd.unfinished", ".y.json.Ab12cd.unfinished", ".x.json.unfinishe"] {
        fs::write(folder.path().join(left), "half").unwrap();
    }
    write_whole(&path, b"new").unwrap();
    assert!(!folder.path().join(".x.json.Ab12cd.unfinished").exists());
    // What is another file's, and what is being written just now, stays.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    at_work.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}
