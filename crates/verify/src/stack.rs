//! `counterexamples.npy`: a stack of images in NumPy's format (version 1.0), `[N, C, H, W]` of `<f4`, that grows batch by batch.
//!
//! Row k belongs to the line of `verdicts.csv` that has k in its column `counterexample`. Rows are on disk before the lines that name
//! them, and the header says how many there are before those lines do: a resumed `verify` cuts off the rows that a kill left without lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use temper_base::files::write_whole;
use temper_base::{Problem, Result};

/// Bytes of the header: room for any number of rows.
const HEADER: usize = 128;
const WRITE: &str = "write counterexamples";

/// The file, open at its end.
pub struct Stack {
    path: PathBuf,
    file: File,
    shape: [usize; 3],
    /// Images in it.
    pub rows: usize,
}

impl Stack {
    /// Opens the file, or makes it, and leaves `rows` images in it.
    ///
    /// # Errors
    /// A file of other images, one that holds fewer, or one that cannot be written.
    pub fn open(path: &Path, shape: [usize; 3], rows: usize) -> Result<Self> {
        if !path.exists() && rows == 0 {
            write_whole(path, &header(shape, 0))?;
        }
        let mut begin = vec![0; HEADER];
        let mut open = || -> io::Result<(File, u64)> {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            file.read_exact(&mut begin)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|cause| damaged(path, &cause.to_string()))?;
        let mut stack = Self { path: path.to_path_buf(), file, shape, rows };
        let same =
            |found: &[u8]| String::from_utf8_lossy(found).split("'shape': (").nth(1).map(|s| after_rows(s).to_owned());
        if same(&begin) != same(&header(shape, 0)) || length < stack.end() {
            return Err(damaged(path, &format!("it does not hold the {rows} images that the verdicts name")));
        }
        let whole = (|| {
            stack.file.set_len(stack.end())?;
            stack.tell()
        })();
        whole.map_err(|cause| Problem::io(WRITE, path, &cause))?;
        Ok(stack)
    }

    fn end(&self) -> u64 {
        (HEADER + self.rows * self.shape.iter().product::<usize>() * 4) as u64
    }

    /// Writes how many rows there are, and waits until all of them are on disk.
    fn tell(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.shape, self.rows))?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.sync_data()
    }

    /// Adds images.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn append<'a>(&mut self, images: impl Iterator<Item = &'a [f32]>) -> Result<()> {
        let before = self.rows;
        let mut bytes = Vec::new();
        for image in images {
            bytes.extend(image.iter().flat_map(|pixel| pixel.to_le_bytes()));
            self.rows += 1;
        }
        if self.rows == before {
            return Ok(());
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.tell());
        written.map_err(|cause| {
            Problem::io(WRITE, &self.path, &cause).hint("make room; the same command resumes after the last verdict")
        })
    }
}

/// The shape of the images in such a file, and their bytes.
///
/// # Errors
/// A file that cannot be read, or is none of these.
pub fn read(path: &Path) -> Result<([usize; 3], Vec<u8>)> {
    let bytes = std::fs::read(path).map_err(|cause| Problem::io("read counterexamples", path, &cause))?;
    let begin = String::from_utf8_lossy(bytes.get(..HEADER).unwrap_or_default()).into_owned();
    let shape = begin.split("'shape': (").nth(1).and_then(|shape| shape.split_once(')')).map_or("", |(shape, _)| shape);
    let sizes: Vec<usize> = shape.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    match sizes[..] {
        [rows, c, h, w] if bytes[..HEADER] == header([c, h, w], rows) => Ok(([c, h, w], bytes[HEADER..].to_vec())),
        _ => Err(damaged(path, "it is no stack of images")),
    }
}

fn damaged(path: &Path, why: &str) -> Problem {
    Problem::input("read counterexamples", path.display(), why).hint("remove the folder and verify again")
}

/// What comes behind the number of rows.
fn after_rows(shape: &str) -> &str {
    shape.split_once(',').map_or("", |(_, rest)| rest.trim_end())
}

fn header([c, h, w]: [usize; 3], rows: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {c}, {h}, {w}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((HEADER - 10) as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}
