//! The data sets that are known by name: the hashes of their files, their classes and the normalisation that the
//! literature trains them with.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use temper_base::hash::sha256;

/// A known data set.
#[derive(Debug)]
pub struct Known {
    /// What recipes, runs and `data fetch` call it.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// The names of its classes, in the order of the labels; empty where the files themselves name them.
    pub classes: &'static [&'static str],
    /// The number of its classes.
    pub class_count: usize,
    /// Its training and test images.
    pub images: [usize; 2],
    /// Per-channel mean of pixels in [0, 1] (Mao et al. 2024, the appendix on training details).
    pub mean: &'static [f32],
    /// Per-channel standard deviation.
    pub std: &'static [f32],
    /// Its files, uncompressed.
    pub files: &'static [KnownFile],
    /// The archive it comes in; none where the files come one by one.
    pub archive: Option<KnownFile>,
}

/// A file that is known by its content.
#[derive(Debug)]
pub struct KnownFile {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its sha256, in hex.
    pub sha256: &'static str,
}

impl KnownFile {
    /// Whether these bytes are the file, as it is or packed by gzip.
    pub fn has_content(&self, bytes: &[u8]) -> bool {
        if bytes.len() as u64 == self.bytes {
            return sha256(bytes) == self.sha256;
        }
        let mut content = Vec::new();
        // One byte more than wanted: enough to see that it is another file, however far it would unpack.
        let unpacked = MultiGzDecoder::new(bytes).take(self.bytes + 1).read_to_end(&mut content);
        unpacked.is_ok_and(|size| size as u64 == self.bytes) && sha256(&content) == self.sha256
    }
}

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> KnownFile {
    KnownFile { name, bytes, sha256 }
}

/// Every known data set.
pub static KNOWN: [Known; 4] = [
    Known {
        name: "mnist",
        title: "MNIST",
        shape: [1, 28, 28],
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        class_count: 10,
        images: [60_000, 10_000],
        mean: &[0.0],
        std: &[1.0],
        files: &[
            file(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            file("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            file(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            file("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ],
        archive: None,
    },
    Known {
        name: "fashion-mnist",
        title: "Fashion-MNIST",
        shape: [1, 28, 28],
        classes: &[
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
        class_count: 10,
        images: [60_000, 10_000],
        mean: &[0.0],
        std: &[1.0],
        files: &[
            file(
                "train-images-idx3-ubyte",
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            file("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            file(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            file("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ],
        archive: None,
    },
    Known {
        name: "cifar-10",
        title: "CIFAR-10",
        shape: [3, 32, 32],
        classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        class_count: 10,
        images: [50_000, 10_000],
        mean: &[0.4914, 0.4822, 0.4465],
        std: &[0.2023, 0.1994, 0.2010],
        files: &[
            file("data_batch_1.bin", 30_730_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
            file("data_batch_2.bin", 30_730_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
            file("data_batch_3.bin", 30_730_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
            file("data_batch_4.bin", 30_730_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
            file("data_batch_5.bin", 30_730_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
            file("test_batch.bin", 30_730_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
        ],
        archive: Some(file(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )),
    },
    Known {
        name: "tiny-imagenet",
        title: "TinyImageNet",
        shape: [3, 64, 64],
        classes: &[],
        class_count: 200,
        images: [100_000, 10_000],
        mean: &[0.4802, 0.4481, 0.3975],
        std: &[0.2302, 0.2265, 0.2262],
        files: &[],
        archive: Some(file(
            "tiny-imagenet-200.zip",
            248_100_043,
            "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
        )),
    },
];

/// The known data set of that name.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// Mean and standard deviation per channel that the data set `name` is normalised with: 0 and 1 for MNIST,
/// Fashion-MNIST and whatever is not known. A name is no proof of what images are: see `Images::known`.
pub fn normalisation(name: &str, channels: usize) -> (Vec<f32>, Vec<f32>) {
    match known(name).filter(|known| known.shape[0] == channels) {
        Some(known) => (known.mean.to_vec(), known.std.to_vec()),
        None => (vec![0.0; channels], vec![1.0; channels]),
    }
}
