//! Where and when a run ran: `env.json`. What cannot be found out is left out; nothing here can stop a run.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::run::RunDir;
use temper_base::files::write_whole;
use temper_base::problem::{Problem, Result};

/// The content of `env.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Env {
    /// Version of Temper.
    pub temper: String,
    /// Git commit of Temper, if known.
    pub commit: Option<String>,
    /// Operating system and, where known, its kernel, e.g. `linux 6.1.0 (x86_64)`.
    pub os: String,
    /// Model of the processor.
    pub cpu: Option<String>,
    /// Logical processors this process may use.
    pub cores: usize,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Threads the run uses; of rank 0, where there are several.
    pub threads: usize,
    /// Processes that the run began with.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: usize,
    /// What it computes on, if not on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// When it began: UTC, RFC 3339.
    pub started: String,
    /// The command line, program first.
    pub command: Vec<String>,
}

fn one() -> usize {
    1
}

fn is_one(ranks: &usize) -> bool {
    *ranks == 1
}

impl Env {
    /// Looks around. What the library cannot know comes from the caller.
    pub fn collect(temper: &str, commit: Option<&str>, threads: usize, command: Vec<String>) -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let os = [std::env::consts::OS, kernel.trim(), &format!("({})", std::env::consts::ARCH)];
        Self {
            temper: temper.to_owned(),
            commit: commit.map(str::to_owned),
            os: os.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
            cpu: proc_value("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: proc_value("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .map(|kib| kib * 1024),
            threads,
            ranks: 1,
            device: None,
            started: utc(now()),
            command,
        }
    }

    /// Writes `env.json`.
    ///
    /// # Errors
    /// If the machine cannot write `env.json`.
    pub fn write(&self, run: &RunDir) -> Result<()> {
        let json = serde_json::to_string_pretty(self).expect("plain data has a JSON form") + "\n";
        write_whole(&run.env(), json.as_bytes())
    }

    /// Reads `env.json`.
    ///
    /// # Errors
    /// If `env.json` is missing, cannot be read, or is damaged.
    pub fn read(run: &RunDir) -> Result<Self> {
        let path = run.env();
        let text = fs::read_to_string(&path).map_err(|e| Problem::io("read environment", &path, &e))?;
        serde_json::from_str(&text).map_err(|e| Problem::input("read environment", path.display(), e))
    }
}

/// The first value of `key : value` in a file of `/proc`.
fn proc_value(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key)?;
    Some(value.trim().to_owned())
}

/// Seconds since 1970 (UTC).
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs())
}

/// Seconds since 1970 as RFC 3339, e.g. `2024-02-29T12:00:00Z`.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's `civil_from_days`: years begin in March, eras have 400 years.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}
