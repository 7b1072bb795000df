//! The store of runs that sweeps share: what is written down beside a run.

use std::fs;

use temper_sweep::store::Store;

/// A disk that was full for a while leaves half a line, a power cut bytes that are no text: neither costs another number.
#[test]
fn half_a_line_spoils_no_other() {
    for (left, kept) in [("16\n12", &[16, 12, 64, 4096][..]), ("16\n", &[16, 64, 4096]), ("", &[64, 4096])] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        store.create().expect("its folders");
        fs::write(folder.path().join("runs/.a.keep"), left).expect("written");
        store.keep_steps("a", &[64, 4096]).expect("kept");
        assert_eq!(store.kept_steps("a"), kept, "{left:?}");
        store.keep_steps("a", &[4096, 64]).expect("kept");
        assert_eq!(store.kept_steps("a"), kept, "a second time adds nothing");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::new(folder.path());
    store.create().expect("its folders");
    fs::write(folder.path().join("runs/.a.keep"), b"16\n\xff\xfe\n128\n").expect("written");
    assert_eq!(store.kept_steps("a"), [16, 128]);
}
