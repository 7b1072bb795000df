//! Tells the binary which commit it was built from, if this is a git checkout.

use std::process::Command;

fn main() {
    for file in ["HEAD", "refs/heads", "packed-refs"] {
        println!("cargo::rerun-if-changed=../../.git/{file}");
    }
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]).output();
    let commit = output.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    println!("cargo::rustc-env=TEMPER_COMMIT={}", String::from_utf8_lossy(&commit).trim());
}
