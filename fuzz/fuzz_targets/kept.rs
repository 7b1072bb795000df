//! The list of checkpoints that sweeps want kept of a run: whatever is in it, what is added is there then, and what was there stays.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{file, folder};
use temper_sweep::store::Store;

fuzz_target!(|data: &[u8]| {
    file("store/runs/.a.keep", data);
    let store = Store::new(&folder().join("store"));
    let before = store.kept_steps("a");
    store.keep_steps("a", &[64, 4096]).expect("written");
    let after = store.kept_steps("a");
    assert!(after.starts_with(&before), "nothing is forgotten");
    assert!(after.contains(&64) && after.contains(&4096), "what was asked for is kept");
    store.keep_steps("a", &after).expect("written");
    assert_eq!(store.kept_steps("a"), after, "a second time adds nothing");
});
