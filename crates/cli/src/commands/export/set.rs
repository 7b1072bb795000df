//! A set of instances as the competitions have them: the network, a property for every image, and the list of both.

use std::fs;
use std::path::Path;

use temper_base::files::write_whole;
use temper_base::hash::sha256;
use temper_base::{Problem, Result};
use temper_data::images::Images;
use temper_formats::instances::{self, Instance};
use temper_formats::{onnx, vnnlib};
use temper_graph::{Network, Property};
use temper_verify::pixel_box;

/// What is asked of some images: that no other class is within a radius.
pub struct Set<'a> {
    onnx: Vec<u8>,
    sha256: String,
    test: &'a Images,
    eps: f64,
    written: String,
}

impl<'a> Set<'a> {
    /// Of this network and these images; the radius as a number and as it was written.
    ///
    /// # Errors
    /// A network that is too large for a file.
    pub fn new(network: &Network, test: &'a Images, (eps, written): (f64, String)) -> Result<Self> {
        let onnx = onnx::write(network)?;
        Ok(Self { sha256: sha256(&onnx), onnx, test, eps, written })
    }

    /// The file of image `index` in the set, and its text. The name says by a few digits of a hash what network and property are, so that
    /// an answer that comes back cannot be taken for that to another question.
    ///
    /// # Errors
    /// None for an image that fits the network.
    pub fn question(&self, index: u32) -> Result<(String, String)> {
        let (pixels, labels) = self.test.batch(&[index], None);
        let label = labels[0] as usize;
        let property = Property::robust(pixel_box(&pixels, self.eps), label, self.test.classes())?;
        let Self { sha256: network, written, .. } = self;
        let about =
            format!("Image {index} of {}, class {label}: no other class within {written} of it.", self.test.name);
        let text = vnnlib::write(&property, &about);
        let hash = sha256(format!("{network}\n{text}"));
        Ok((format!("vnnlib/image_{index}-{}.vnnlib", &hash[..8]), text))
    }

    /// Writes the set into a new folder: `onnx/NAME.onnx`, `vnnlib/image_N-HASH.vnnlib`, and last `instances.csv`, which names them with
    /// the seconds that each may take.
    ///
    /// # Errors
    /// A folder with something in it, and files that cannot be written.
    pub fn write(&self, folder: &Path, name: &str, indices: &[u32], seconds: f64) -> Result<()> {
        require_new(folder)?;
        // A comma would end the field of the list.
        let network = format!("onnx/{}.onnx", name.replace([',', '"', '['], "_"));
        write_whole(&folder.join(&network), &self.onnx)?;
        let mut list = Vec::new();
        for index in indices {
            let (property, text) = self.question(*index)?;
            write_whole(&folder.join(&property), text.as_bytes())?;
            list.push(Instance { network: network.clone(), property, timeout: seconds });
        }
        write_whole(&folder.join("instances.csv"), instances::write(&list).as_bytes())
    }
}

/// Refuses a folder with something in it.
///
/// # Errors
/// If there is something in it, or it is no folder.
pub fn require_new(folder: &Path) -> Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(true) => Err(Problem::input("write instances", folder.display(), "there is something in it")
            .hint("give the name of a new folder")),
        Err(cause) => Err(Problem::io("write instances", folder, &cause)),
    }
}
