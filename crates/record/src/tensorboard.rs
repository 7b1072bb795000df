//! Events as a TensorBoard event file, written by hand, so that no library is needed.
//!
//! The format is TensorFlow's: records (`TFRecord`: length, masked CRC-32C of the length, data, masked CRC-32C of the data;
//! all little-endian), each a protocol-buffer `Event` with `wall_time` (1, double), `step` (2, int64) and either
//! `file_version` (3, string) or `summary` (5), which holds `value` (1) entries of `tag` (1, string) and `simple_value`
//! (2, float). Metrics of updates are tagged `train/NAME`, those of evaluations `eval/SET/NAME`.

use std::fs::{self, File};
use std::io::{self, Write};

use crate::event::{Event, Values};
use crate::metric::SECONDS;
use crate::run::RunDir;
use temper_base::files;

/// Writes one event file.
#[derive(Debug)]
pub struct TensorBoardSink {
    file: File,
    /// When the run began, in seconds since 1970; unknown before the first event.
    start: Option<f64>,
    /// Seconds of training at the last event that told them.
    seconds: f64,
}

impl TensorBoardSink {
    /// Begins an empty file. The times in it come from the events, so writing it again gives the same bytes.
    ///
    /// # Errors
    /// If the folder or the file cannot be made.
    pub fn create(run: &RunDir) -> io::Result<Self> {
        fs::create_dir_all(run.tensorboard())?;
        // TensorBoard takes any file with `tfevents` in its name.
        let file = files::create_afresh(&run.tensorboard().join("events.out.tfevents.temper"))?;
        Ok(Self { file, start: None, seconds: 0.0 })
    }

    /// Adds the event's metrics, if it has any.
    ///
    /// # Errors
    /// If the machine cannot write.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        if self.start.is_none() {
            // The first record names the version; TensorBoard sorts runs by its time.
            let start = if let Event::Start(info) = event { info.time as f64 } else { 0.0 };
            let mut version = double_field(1, start);
            version.extend(bytes_field(3, b"brain.Event:2"));
            self.file.write_all(&record(&version))?;
            self.start = Some(start);
        }
        match event {
            Event::Step { step, values, .. } => {
                self.seconds = values.get(SECONDS).unwrap_or(self.seconds);
                self.scalars(*step, "train", values)
            }
            Event::Eval { step, set, values, .. } => self.scalars(*step, &format!("eval/{set}"), values),
            _ => Ok(()),
        }
    }

    fn scalars(&mut self, step: u64, group: &str, values: &Values) -> io::Result<()> {
        let mut summary = Vec::new();
        for (name, value) in values.iter() {
            let mut scalar = bytes_field(1, format!("{group}/{name}").as_bytes());
            scalar.push(2 << 3 | 5);
            scalar.extend((value as f32).to_le_bytes());
            summary.extend(bytes_field(1, &scalar));
        }
        let mut event = double_field(1, self.start.unwrap_or(0.0) + self.seconds);
        event.push(2 << 3);
        event.extend(varint(step));
        event.extend(bytes_field(5, &summary));
        self.file.write_all(&record(&event))
    }
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

fn double_field(number: u8, value: f64) -> Vec<u8> {
    let mut field = vec![number << 3 | 1];
    field.extend(value.to_le_bytes());
    field
}

/// Frames one record of a `TFRecord` file.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend(data);
    out.extend(masked(crc32c(data)).to_le_bytes());
    out
}

/// The mask of `TFRecord`: a CRC of data that itself holds CRCs would be weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a few hundred bytes an event.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    });
    !crc
}
