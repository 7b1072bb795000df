//! Image data as a user has it: files of every layout, written by the tests themselves, and what is said of wrong ones.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use temper_base::{Kind, Problem};
use temper_data::images::{
    Augment, Epochs, Images, Match, PICTURE_PIXELS, Placement, SET_BYTES, known, normalisation, open, packed,
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// An idx file with these dimensions.
fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Four idx files: 4 training and 2 test images of 2x3.
fn idx_folder() -> TempDir {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
    write(at("train-images-idx3-ubyte"), idx(&[4, 2, 3], &pixels));
    write(at("train-labels-idx1-ubyte"), idx(&[4], &[0, 1, 2, 1]));
    write(at("t10k-images-idx3-ubyte.gz"), gzip(&idx(&[2, 2, 3], &pixels[..12])));
    write(at("t10k-labels.idx1-ubyte"), idx(&[2], &[2, 0]));
    folder
}

/// The error that opening gives, which is about the user's input and says each of these things.
fn refuses(path: &Path, says: &[&str]) -> Problem {
    let problem = open(path).expect_err("it must not open");
    assert_eq!(problem.kind, Kind::Input, "{problem}");
    for words in says {
        assert!(problem.to_string().contains(words), "`{words}` is not in\n{problem}");
    }
    problem
}

fn note(images: &Images) -> &str {
    images.note.as_deref().expect("a note")
}

#[test]
fn idx_files_raw_and_compressed() {
    let folder = idx_folder();
    let splits = open(folder.path()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len(), splits.train.classes()), (4, 2, 3));
    assert_eq!(splits.train.shape, [1, 2, 3]);
    assert_eq!(splits.train.pixels(1), [60, 70, 80, 90, 100, 110]);
    assert_eq!((splits.train.labels(), splits.test.labels()), (&[0, 1, 2, 1][..], &[2, 0][..]));
    assert_eq!(splits.test.pixels(0), splits.train.pixels(0));
    assert_eq!(splits.train.class_names, ["0", "1", "2"]);
    assert!(note(&splits.test).starts_with("not the known files of MNIST"), "{:?}", splits.test.note);
    let (pixels, labels) = splits.train.batch(&[3, 0], None);
    assert_eq!((labels, pixels.len()), (vec![1, 0], 12));
    assert_eq!(pixels[..2], [180.0 / 255.0, 190.0 / 255.0]);
    assert_eq!(pixels[6..8], [0.0, 10.0 / 255.0]);
}

#[test]
fn wrong_idx_files() {
    let pixels = [7; 24];
    let cases: [(&str, Vec<u8>, &[&str]); 12] = [
        (
            "train-images-idx3-ubyte",
            idx(&[24], &pixels),
            &["train-images", "0x00000801", "as a file of labels", "0x00000803"],
        ),
        ("train-images-idx3-ubyte", b"\x89PNG1234".to_vec(), &["starts with 0x89504e47"]),
        ("train-images-idx3-ubyte", vec![0, 0], &["ends inside the header, at byte 2"]),
        ("train-images-idx3-ubyte", idx(&[4, 2], &[]), &["0x00000802"]),
        ("train-images-idx3-ubyte", idx(&[4, 2, 3], &pixels[..23]), &["cut short: 4x2x3 take 40 bytes, it has 39"]),
        ("train-images-idx3-ubyte", idx(&[4, 2, 3], &[7; 25]), &["too long: 4x2x3 take 40 bytes, it has 41"]),
        ("train-images-idx3-ubyte", idx(&[u32::MAX; 3], &pixels), &["cut short", "take too many bytes"]),
        ("train-images-idx3-ubyte", idx(&[0, 2, 3], &[]), &["empty", "0x2x3"]),
        ("train-images-idx3-ubyte", gzip(&idx(&[4, 2, 3], &pixels))[..30].to_vec(), &["damaged or cut short"]),
        (
            "train-labels-idx1-ubyte",
            idx(&[3], &[0, 1, 2]),
            &["3 labels for the 4 images of", "train-images-idx3-ubyte"],
        ),
        ("train-labels-idx1-ubyte", idx(&[4], &[0, 1, 200, 1]), &["label 200 of image 2 is out of range"]),
        ("t10k-labels.idx1-ubyte", idx(&[2], &[2, 3]), &["label 3 of image 1", "classes 0 to 2"]),
    ];
    for (name, bytes, says) in cases {
        let folder = idx_folder();
        write(folder.path().join(name), bytes);
        let problem = refuses(folder.path(), says);
        assert!(problem.hint.is_some() || says[0] == "empty", "{problem}");
    }
    let folder = idx_folder();
    write(folder.path().join("t10k-images-idx3-ubyte"), idx(&[2, 3, 2], &[7; 12]));
    refuses(folder.path(), &["t10k-images", "3x2", "training set 2x3"]);
    fs::remove_file(folder.path().join("t10k-labels.idx1-ubyte")).unwrap();
    refuses(folder.path(), &["t10k-labels-idx1-ubyte is missing"]);
}

/// A file of CIFAR-10's form: image i is all `first + i`, with the channels 0, 1 and 2 above that.
fn cifar_batch(first: u8, labels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, &label) in (0u8..).zip(labels) {
        bytes.push(label);
        (0..3).for_each(|channel| bytes.extend([first + i + channel; 1024]));
    }
    bytes
}

fn cifar_files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> =
        (1u8..=5).map(|i| (format!("data_batch_{i}.bin"), cifar_batch(10 * i, &[i, 9 - i]))).collect();
    files.push(("test_batch.bin".to_owned(), cifar_batch(100, &[7])));
    files
}

/// A tar archive of these files, each in a folder.
fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        let mut header = [0; 512];
        let name = format!("cifar-10-batches-bin/{name}");
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        bytes.extend(header);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn cifar_10_as_files_and_in_its_archive() {
    let unpacked = folder();
    for (name, bytes) in cifar_files() {
        write(unpacked.path().join("cifar-10-batches-bin").join(name), bytes);
    }
    let splits = open(unpacked.path()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (10, 1));
    assert_eq!((splits.train.shape, splits.train.classes()), ([3, 32, 32], 10));
    assert_eq!(splits.train.labels(), [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]);
    assert_eq!([0, 1023, 1024, 3071].map(|i| splits.train.pixels(3)[i]), [21, 21, 22, 23]);
    assert_eq!((splits.train.name.as_str(), splits.train.class_names[6].as_str()), ("cifar-10", "frog"));
    assert!(note(&splits.train).contains("not the known files"), "{:?}", splits.train.note);
    let archive = folder();
    let mut files = cifar_files();
    files.insert(0, ("readme.html".to_owned(), vec![b'x'; 700]));
    let path = archive.path().join("cifar-10-binary.tar.gz");
    write(path.clone(), gzip(&tar(&files)));
    assert_eq!(open(archive.path()).unwrap(), splits);
    assert_eq!(open(&path).unwrap(), splits);
    let whole = fs::read(&path).unwrap();
    write(path.clone(), &whole[..whole.len() / 2]);
    refuses(archive.path(), &["cifar-10-binary.tar.gz", "damaged or cut short"]);
    files.remove(2);
    write(path, gzip(&tar(&files)));
    refuses(archive.path(), &["data_batch_2.bin is missing"]);
}

#[test]
fn wrong_cifar_10_files() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for (name, bytes) in cifar_files() {
        write(at(&name), bytes);
    }
    write(at("data_batch_3.bin"), &cifar_batch(0, &[1, 2])[..6000]);
    refuses(folder.path(), &["data_batch_3.bin", "6000 bytes", "records of 3073"]);
    write(at("data_batch_3.bin"), []);
    refuses(folder.path(), &["data_batch_3.bin", "0 bytes"]);
    write(at("data_batch_3.bin"), cifar_batch(0, &[1, 10]));
    refuses(folder.path(), &["data_batch_3.bin", "label 10 of image 1", "0 to 9"]);
    fs::remove_file(at("data_batch_3.bin")).unwrap();
    refuses(folder.path(), &["data_batch_3.bin is missing"]);
}

const COLOUR: &[u8] = include_bytes!("pictures/colour.jpg");
const HALVED: &[u8] = include_bytes!("pictures/halved.jpg");
const GREY: &[u8] = include_bytes!("pictures/grey.jpg");
/// Their pixels at (0, 0), (7, 0), (0, 7) and (4, 5), column before row.
const EXPECTED_COLOUR: [[u8; 3]; 4] = [[2, 60, 196], [208, 61, 129], [3, 198, 200], [121, 161, 161]];
const EXPECTED_HALVED: [[u8; 3]; 4] = [[5, 61, 182], [190, 70, 132], [19, 190, 198], [118, 163, 158]];
const EXPECTED_GREY: [[u8; 3]; 4] = [[0; 3], [105; 3], [105; 3], [135; 3]];

fn png(size: [u32; 2], kind: png::ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size[1], size[0]);
    encoder.set_color(kind);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels)).expect("memory");
    bytes
}

/// A tree of 2x1 grey files with two classes; the pixels of a file are its number and 0.
fn tree(test: &str) -> TempDir {
    let folder = folder();
    for (number, file) in [
        "train/b/1.png",
        "train/b/2.png",
        "train/a/1.png",
        "train/a/2.PNG",
        "train/a/3.png",
        "test/a/1.png",
        "test/b/1.png",
    ]
    .iter()
    .enumerate()
    {
        let path = folder.path().join(file.replace("test", test));
        write(path, png([2, 1], png::ColorType::Grayscale, &[number as u8, 0]));
    }
    write(folder.path().join("train/a/.hidden.png"), "no image");
    write(folder.path().join("train/a/notes.txt"), "no image");
    write(folder.path().join("train/labels.csv"), "no class");
    folder
}

#[test]
fn a_tree_in_turns() {
    for test in ["test", "val"] {
        let folder = tree(test);
        let splits = open(folder.path()).unwrap();
        assert_eq!(
            (splits.train.shape, splits.train.class_names.as_slice()),
            ([1, 2, 1], &["a".into(), "b".into()][..])
        );
        assert_eq!(splits.train.labels(), [0, 1, 0, 1, 0], "in turns");
        let first: Vec<u8> = (0..5).map(|i| splits.train.pixels(i)[0]).collect();
        assert_eq!(first, [2, 0, 3, 1, 4]);
        assert_eq!(splits.test.labels(), [0, 1]);
        assert_eq!(splits.train.name, folder.path().file_name().unwrap().to_str().unwrap());
        assert!(!note(&splits.train).contains("not used"));
    }
    let folder = tree("test");
    write(folder.path().join("val/a/1.png"), "unread");
    assert!(note(&open(folder.path()).unwrap().train).contains("val/ is not used"));
}

/// MNIST as PNG files, as it is often passed on, calls its splits so.
#[test]
fn splits_called_training_and_testing() {
    let folder = tree("testing");
    fs::rename(folder.path().join("train"), folder.path().join("training")).unwrap();
    let (other, splits) = (tree("test"), open(folder.path()).unwrap());
    let same = open(other.path()).unwrap();
    assert_eq!((splits.train.labels(), splits.test.labels()), (same.train.labels(), same.test.labels()));
    assert_eq!((splits.train.pixels(0), splits.test.pixels(1)), (same.train.pixels(0), same.test.pixels(1)));
    assert_eq!(splits.train.file_name(0), Some("training/a/1.png"));
    assert!(!note(&splits.train).contains("not used"));
    // Without the other split the message names the one that is there.
    fs::rename(folder.path().join("testing"), folder.path().join("tests")).unwrap();
    refuses(folder.path(), &["there is a training folder, but no test or val folder"]);
    // Of two training sets one is taken, and the note says which.
    write(other.path().join("training/a/1.png"), "unread");
    let both = open(other.path()).unwrap();
    assert!(note(&both.train).contains("the training set is train/, and training/ is not used"));
    // A folder without classes is none.
    fs::remove_dir_all(other.path().join("training")).unwrap();
    fs::rename(other.path().join("train"), other.path().join("training")).unwrap();
    fs::create_dir(other.path().join("train")).unwrap();
    assert_eq!(open(other.path()).unwrap().train.labels(), same.train.labels());
}

#[test]
fn colour_in_a_tree() {
    let folder = tree("test");
    let colour = png([2, 1], png::ColorType::Rgb, &[1, 2, 3, 4, 5, 6]);
    write(folder.path().join("train/b/2.png"), &colour);
    // One file in colour is enough for both splits; the others become colour, and their number is said.
    let splits = open(folder.path()).unwrap();
    assert_eq!((splits.train.shape, splits.test.shape), ([3, 2, 1], [3, 2, 1]));
    assert!(
        note(&splits.test).contains("4 of 5 training images and 2 of 2 test images are grey"),
        "{:?}",
        splits.test.note
    );
    assert_eq!(splits.test.pixels(0), [5, 0, 5, 0, 5, 0]);
    write(folder.path().join("test/b/1.png"), png([2, 1], png::ColorType::Rgba, &[1, 2, 3, 255, 4, 5, 6, 255]));
    let splits = open(folder.path()).unwrap();
    assert_eq!(splits.train.shape, [3, 2, 1]);
    assert_eq!(splits.train.pixels(0), [2, 0, 2, 0, 2, 0]);
    assert_eq!(splits.train.pixels(3), [1, 4, 2, 5, 3, 6]);
    assert_eq!(splits.test.pixels(1), splits.train.pixels(3));
    write(folder.path().join("test/b/1.png"), png([2, 1], png::ColorType::Rgba, &[1, 2, 3, 255, 4, 5, 6, 254]));
    refuses(folder.path(), &["test/b/1.png", "transparent"]);
}

#[test]
fn wrong_trees() {
    let cases: [(&str, &[u8], &[&str]); 7] = [
        (
            "train/a/3.png",
            &png([1, 2], png::ColorType::Grayscale, &[1, 2]),
            &["train/a/3.png", "1x2, while", "train/a/1.png is 2x1"],
        ),
        ("train/a/3.jpg", b"\xff\xd8 nothing", &["train/a/3.jpg", "the JPEG cannot be decoded"]),
        ("train/a/3.jpg", &COLOUR[..COLOUR.len() - 20], &["train/a/3.jpg", "JPEG"]),
        (
            "train/a/3.png",
            &png([2, 1], png::ColorType::Grayscale, &[1, 2])[..50],
            &["train/a/3.png", "the PNG cannot be decoded"],
        ),
        ("train/b/1.png", b"text", &["train/b/1.png", "neither a JPEG nor a PNG"]),
        ("train/b/1.png", b"", &["train/b/1.png", "the file is empty"]),
        (
            "test/c/1.png",
            &png([2, 1], png::ColorType::Grayscale, &[1, 2]),
            &["test", "3 classes, but 2 in the training set", "train has no folder c"],
        ),
    ];
    for (file, bytes, says) in cases {
        let folder = tree("test");
        write(folder.path().join(file), bytes);
        refuses(folder.path(), says);
    }
    let folder = tree("test");
    for size in [[3, 1], [2, 2]] {
        for file in ["test/a/1.png", "test/b/1.png"] {
            let pixels = vec![0; (size[0] * size[1]) as usize];
            write(folder.path().join(file), png(size, png::ColorType::Grayscale, &pixels));
        }
        refuses(folder.path(), &["test/a/1.png", &format!("{}x{}", size[0], size[1]), "is 2x1"]);
    }
    fs::remove_file(folder.path().join("test/b/1.png")).unwrap();
    refuses(folder.path(), &["test/b", "no image"]);
    fs::remove_dir(folder.path().join("test/b")).unwrap();
    refuses(folder.path(), &["1 classes, but 2", "test has no folder b"]);
    fs::remove_dir_all(folder.path().join("test")).unwrap();
    refuses(folder.path(), &["no test or val folder"]);
    fs::remove_dir_all(folder.path().join("train/a")).unwrap();
    fs::remove_dir_all(folder.path().join("train/b")).unwrap();
    refuses(folder.path(), &["train", "no class folder"]);
}

#[test]
fn nothing_to_open() {
    let folder = folder();
    refuses(folder.path(), &["the folder is empty"]);
    refuses(&folder.path().join("missing"), &["missing"]);
    write(folder.path().join("notes.txt"), "x");
    refuses(folder.path(), &["no image data"]);
    refuses(&folder.path().join("notes.txt"), &["not a folder"]);
    write(folder.path().join("cifar-10-batches-py/data_batch_1"), "x");
    assert!(refuses(folder.path(), &[]).hint.is_some_and(|hint| hint.contains("binary version")));
}

/// The numbers are Pillow's (pictures/make.py); two JPEG decoders agree to a few levels.
#[test]
fn jpeg_files() {
    let folder = folder();
    for (name, bytes) in [("1.jpg", COLOUR), ("2.jpeg", GREY), ("3.JPEG", HALVED)] {
        write(folder.path().join("train/x").join(name), bytes);
        write(folder.path().join("test/x").join(name), bytes);
    }
    let splits = open(folder.path()).unwrap();
    assert_eq!((splits.train.shape, splits.train.len()), ([3, 8, 8], 3));
    let near = |image: usize, expected: [[u8; 3]; 4], within: u8| {
        for ((x, y), rgb) in [(0, 0), (7, 0), (0, 7), (4, 5)].into_iter().zip(expected) {
            let found = [0, 64, 128].map(|plane| splits.train.pixels(image)[plane + 8 * y + x]);
            let close = found.iter().zip(rgb).all(|(&a, b)| a.abs_diff(b) <= within);
            assert!(close, "image {image} at {x},{y}: {found:?}, not {rgb:?}");
        }
    };
    near(0, EXPECTED_COLOUR, 2);
    near(1, EXPECTED_GREY, 2);
    near(2, EXPECTED_HALVED, 6);
}

#[test]
fn tiny_imagenet_layout() {
    let folder = folder();
    let at = |name: &str| folder.path().join("tiny-imagenet-200").join(name);
    write(at("wnids.txt"), "n02\nn01\n");
    write(at("train/n01/images/n01_0.JPEG"), COLOUR);
    write(at("train/n01/n01_boxes.txt"), "");
    write(at("train/n02/images/n02_0.JPEG"), GREY);
    write(at("train/n02/images/n02_1.JPEG"), COLOUR);
    write(at("val/images/val_0.JPEG"), GREY);
    write(at("val/images/val_1.JPEG"), GREY);
    write(at("val/val_annotations.txt"), "val_1.JPEG\tn01\t0\t0\t9\t9\nval_0.JPEG\tn02\t0\t0\t9\t9\n");
    write(at("test/images/test_0.JPEG"), "unread");
    let splits = open(folder.path()).unwrap();
    assert_eq!(splits, open(&at("")).unwrap());
    assert_eq!(splits.train.name, "tiny-imagenet");
    assert_eq!(
        (splits.train.class_names.as_slice(), splits.train.shape),
        (&["n01".into(), "n02".into()][..], [3, 8, 8])
    );
    assert_eq!((splits.train.labels(), splits.test.labels()), (&[0, 1, 1][..], &[0, 1][..]));
    let grey = splits.train.pixels(1);
    assert!(grey[..64] == grey[64..128] && grey[..64] == grey[128..], "grey files become colour");
    assert_eq!(splits.test.pixels(0), grey);
    assert!(note(&splits.train).contains("but not its 200 classes"), "{:?}", splits.train.note);

    write(at("val/val_annotations.txt"), "val_1.JPEG\tn01\nval_0.JPEG\tn03\n");
    refuses(folder.path(), &["val_annotations.txt:2", "n03 is not a class"]);
    write(at("val/val_annotations.txt"), "val_1.JPEG\n");
    refuses(folder.path(), &["val_annotations.txt:1", "not a file and a class"]);
    write(at("val/val_annotations.txt"), "val_7.JPEG\tn01\n");
    refuses(folder.path(), &["val_7.JPEG"]);
    // Its size is 0, and what comes out of it does not end.
    #[cfg(unix)]
    {
        write(at("val/val_annotations.txt"), "/dev/zero\tn01\n");
        refuses(folder.path(), &["/dev/zero", "this is no file"]);
    }
    write(at("wnids.txt"), "n02\nn01\nn05\n");
    refuses(folder.path(), &["no folder n05"]);
    // Sorted into class folders.
    write(at("wnids.txt"), "n02\nn01\n");
    fs::remove_dir_all(at("val")).unwrap();
    write(at("val/n01/val_1.JPEG"), GREY);
    refuses(folder.path(), &["1 classes, but 2 in the training set", "no folder n02"]);
    write(at("val/n02/images/val_0.JPEG"), GREY);
    let sorted = open(folder.path()).unwrap();
    for (sorted, images) in [(&sorted.train, &splits.train), (&sorted.test, &splits.test)] {
        assert_eq!(sorted.fingerprint(), images.fingerprint());
    }
    assert_eq!(
        (splits.test.file_name(0), sorted.test.file_name(0)),
        (Some("val/images/val_1.JPEG"), Some("val/n01/val_1.JPEG"))
    );
}

fn packed_form(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let names = b"set\nfrom nowhere\ncat\ndog\n";
    let mut bytes = b"TMPRIMGS".to_vec();
    for number in [1, 1, 1, 2, 2, 2, 1, names.len() as u32] {
        bytes.extend(u32::to_le_bytes(number));
    }
    bytes.extend(names);
    bytes.extend([1, 0, 1]);
    bytes.extend([10, 20, 30, 40, 50, 60]);
    change(&mut bytes);
    zstd::encode_all(bytes.as_slice(), 1).expect("memory")
}

#[test]
fn packed_images() {
    let splits = packed::read("here", &packed_form(|_| {})).unwrap();
    assert_eq!((splits.train.labels(), splits.test.labels()), (&[1, 0][..], &[1][..]));
    assert_eq!((splits.train.pixels(1), splits.test.pixels(0)), (&[30, 40][..], &[50, 60][..]));
    assert_eq!((splits.train.name.as_str(), note(&splits.test)), ("set", "from nowhere"));
    assert_eq!(splits.train.class_names, ["cat", "dog"]);
    let folder = folder();
    write(folder.path().join("set.images.zst"), packed_form(|_| {}));
    assert_eq!(open(&folder.path().join("set.images.zst")).unwrap(), splits);
    let says = |bytes: &[u8], words: &str| {
        let problem = packed::read("here", bytes).expect_err("damaged");
        assert!(problem.to_string().contains(words), "`{words}` is not in {problem}");
    };
    says(&packed_form(|_| {})[..40], "cannot be unpacked");
    says(&packed_form(|bytes| bytes[0] = b'x'), "does not start with TMPRIMGS");
    says(&packed_form(|bytes| bytes.truncate(20)), "ends inside the header");
    says(&packed_form(|bytes| bytes[8] = 2), "version 2");
    says(&packed_form(|bytes| _ = bytes.pop()), "2 and 1 images of 1x1x2 in 2 classes");
    says(&packed_form(|bytes| bytes[12..40].fill(255)), "its header says");
    says(&packed_form(|bytes| bytes[24] = 3), "3 classes, 2 have names");
    says(&packed_form(|bytes| bytes[65] = 2), "label 2 of image 0 is out of range");
}

/// 3x3 by hand.
#[test]
fn augmentation_by_hand() {
    let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    let apply = |placement: Placement| {
        let mut out = [0; 9];
        placement.apply(&image, [3, 3], |at, pixel| out[at] = pixel);
        out
    };
    assert_eq!(apply(Placement::IDENTITY), image);
    assert_eq!(apply(Placement { flip: true, top: 0, left: 0 }), [3, 2, 1, 6, 5, 4, 9, 8, 7]);
    // One row down, one column to the left: the border is repeated.
    assert_eq!(apply(Placement { flip: false, top: 1, left: -1 }), [4, 4, 5, 7, 7, 8, 7, 7, 8]);
    assert_eq!(apply(Placement { flip: true, top: -2, left: 2 }), [1, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(apply(Placement { flip: true, top: 0, left: -1 }), [3, 3, 2, 6, 6, 5, 9, 9, 8]);
}

#[test]
fn augmentation_is_drawn_by_seed_step_and_image() {
    let augment = Augment { flip: true, pad: 2, seed: 1, step: 0 };
    let draws: Vec<Placement> = (0..5000).map(|index| augment.draw(index)).collect();
    let share = |test: &dyn Fn(&Placement) -> bool| draws.iter().filter(|p| test(p)).count() as f64 / 5000.0;
    // Standard deviations of these shares are below 0.008.
    assert!((share(&|p| p.flip) - 0.5).abs() < 0.03);
    for shift in -2..=2 {
        assert!((share(&|p| p.top == shift) - 0.2).abs() < 0.03, "{shift}");
        assert!((share(&|p| p.left == shift) - 0.2).abs() < 0.03, "{shift}");
        assert!((share(&|p| p.left == shift && p.flip && p.top == 0) - 0.02).abs() < 0.01, "they are independent");
    }
    assert!(draws.iter().all(|p| p.top.abs() <= 2 && p.left.abs() <= 2));
    let next: Vec<Placement> = (0..5000).map(|index| Augment { step: 1, ..augment }.draw(index)).collect();
    let other: Vec<Placement> = (0..5000).map(|index| Augment { seed: 2, ..augment }.draw(index)).collect();
    assert!(draws != next && draws != other);
    let plain = Augment { flip: false, pad: 0, seed: 1, step: 0 };
    assert!((0..100).all(|index| plain.draw(index) == Placement::IDENTITY));

    // A batch applies the same placement to every channel, and where it is cut does not matter.
    let pixels: Vec<u8> = (0..6 * 27).map(|i| i as u8).collect();
    let images = Images::new("x", [3, 3, 3], vec!["a".into()], pixels, vec![0; 6]);
    let augment = Augment { flip: true, pad: 1, seed: 5, step: 3 };
    let (whole, _) = images.batch(&[4, 1, 5], Some(&augment));
    let (part, _) = images.batch(&[1, 5], Some(&augment));
    assert_eq!(whole[27..], part);
    let (plain, _) = images.batch(&[4, 1, 5], None);
    assert_ne!(whole, plain);
    for image in whole.chunks(27) {
        let step = |a: f32, b: f32| ((b - a) * 255.0).round();
        assert!((0..9).all(|i| step(image[i], image[9 + i]) == 9.0 && step(image[9 + i], image[18 + i]) == 9.0));
    }
}

#[test]
fn an_epoch_takes_every_image_once() {
    for (images, batch, batches) in [(10, 3, 4), (12, 3, 4), (5, 8, 1), (1, 1, 1), (1000, 256, 4)] {
        let epochs = Epochs::new(7, images, batch);
        assert_eq!(epochs.batches(), batches);
        for epoch in [0, 1, 40] {
            let taken: Vec<Vec<u32>> = (0..batches).map(|b| epochs.indices(epoch, b)).collect();
            assert!(taken[..taken.len() - 1].iter().all(|indices| indices.len() == batch), "only the last is smaller");
            let mut all = taken.concat();
            all.sort_unstable();
            assert_eq!(all, (0..images as u32).collect::<Vec<_>>());
        }
        assert_eq!(epochs.locate(batches * 3), (3, 0));
        assert_eq!(epochs.seen(batches * 3), 3 * images as u64);
    }
    let epochs = Epochs::new(7, 1000, 256);
    assert_eq!((epochs.locate(6), epochs.seen(6)), ((1, 2), 1512));
    assert_ne!(epochs.indices(0, 0), epochs.indices(1, 0));
    assert_ne!(epochs.indices(0, 0), Epochs::new(8, 1000, 256).indices(0, 0));
    assert_eq!(epochs.indices(2, 1), Epochs::new(7, 1000, 256).indices(2, 1));
    // The order does not depend on how it is cut.
    assert_eq!(Epochs::new(7, 1000, 128).indices(3, 1), epochs.indices(3, 0)[128..]);
}

#[test]
fn a_part_of_every_class_is_held_out() {
    let labels: Vec<u32> = (0..200).map(|i| u32::from(i % 4 == 0)).collect();
    let pixels: Vec<u8> = (0..200).map(|i| i as u8).collect();
    let images = Images::new("x", [1, 1, 1], vec!["a".into(), "b".into()], pixels, labels);
    let (kept, held) = images.hold_out(0.1, 1).unwrap();
    assert_eq!((kept.len(), held.len()), (180, 20));
    assert_eq!(held.labels().iter().filter(|&&label| label == 1).count(), 5);
    let values = |images: &Images| (0..images.len()).map(|i| images.pixels(i)[0]).collect::<Vec<u8>>();
    let (kept, held) = (values(&kept), values(&held));
    assert!(kept.is_sorted() && held.is_sorted(), "both keep their order");
    let mut all = [kept, held.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<u8>>());
    assert_eq!(values(&images.hold_out(0.1, 1).unwrap().1), held);
    assert_ne!(values(&images.hold_out(0.1, 2).unwrap().1), held);
    for fraction in [0.0, 1.0, -0.1, f64::NAN, 0.001, 0.9999] {
        assert!(images.hold_out(fraction, 1).is_err(), "{fraction}");
    }
    assert_eq!(images.clone().first(3).len(), 3);
    assert_eq!(images.clone().first(999), images);
    assert_ne!(images.clone().first(199).fingerprint(), images.fingerprint());
}

#[test]
fn normalisation_of_known_sets() {
    assert_eq!(normalisation("mnist", 1), (vec![0.0], vec![1.0]));
    assert_eq!(normalisation("cifar-10", 3).0, [0.4914, 0.4822, 0.4465]);
    assert_eq!(normalisation("tiny-imagenet", 3).1, [0.2302, 0.2265, 0.2262]);
    assert_eq!(normalisation("cifar-10", 1), (vec![0.0], vec![1.0]), "another data set of that name");
    assert_eq!(normalisation("mine", 3), (vec![0.0; 3], vec![1.0; 3]));
    for set in &known::KNOWN {
        let hashes = set.files.iter().chain(&set.archive);
        assert!(hashes.into_iter().all(|file| file.sha256.len() == 64 && file.bytes > 0), "{}", set.name);
        assert!(set.mean.len() == set.shape[0] && set.std.len() == set.shape[0], "{}", set.name);
    }
}

/// The subset inside the binary: known pixels and labels of the original.
#[test]
fn the_bundled_images() {
    let splits = packed::read("asset", include_bytes!("../../../assets/fashion.images.zst")).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (10_000, 2_000));
    assert_eq!((splits.train.shape, splits.train.classes()), ([1, 28, 28], 10));
    assert_eq!(splits.train.labels()[..10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
    assert_eq!(splits.test.labels()[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
    assert_eq!(splits.train.class_names[9], "Ankle boot");
    assert!(note(&splits.train).contains("subset"));
    for label in 0..10 {
        let count = splits.train.labels().iter().filter(|&&l| l == label).count();
        assert!((900..1100).contains(&count), "class {label}: {count}");
    }
}

/// A header of PNG that says this size, with nothing behind it.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let whole = png([1, 1], png::ColorType::Grayscale, &[0]);
    let mut bytes = whole[..16].to_vec();
    bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    bytes.extend(&whole[24..29]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..]);
    bytes.extend(crc.sum().to_be_bytes());
    bytes
}

#[test]
fn pictures_are_refused_by_their_headers() {
    let folder = tree("test");
    let at = folder.path().join("train/b/1.png");
    let side = 1 << 12;
    assert_eq!(u64::from(side) * u64::from(side), PICTURE_PIXELS);
    write(at.clone(), png_header(side, side));
    let problem = refuses(folder.path(), &["train/b/1.png", "the PNG cannot be decoded"]);
    assert!(!problem.to_string().contains("is not read"), "the limit itself is allowed: {problem}");
    write(at.clone(), png_header(side + 1, side));
    refuses(folder.path(), &["train/b/1.png", "4096x4097", "more than 16777216 pixels is not read"]);
    // In a JPEG, the size stands behind the marker FF C0, its length and its precision.
    let mut jpeg = COLOUR.to_vec();
    let size = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).expect("a baseline JPEG") + 5;
    jpeg[size..size + 4].copy_from_slice(&[0x10, 0x00, 0x10, 0x01]);
    write(at, jpeg);
    refuses(folder.path(), &["train/b/1.png", "4096x4097", "is not read"]);
}

#[test]
fn headers_of_idx_are_held_against_a_limit() {
    let folder = idx_folder();
    let at = folder.path().join("train-images-idx3-ubyte");
    let rows = (SET_BYTES >> 16) as u32;
    write(at.clone(), idx(&[rows, 256, 256], &[7; 24]));
    refuses(folder.path(), &["cut short", "take 68719476752 bytes, it has 40"]);
    for bytes in [idx(&[rows + 1, 256, 256], &[7; 24]), gzip(&idx(&[rows + 1, 256, 256], &[7; 24]))] {
        write(at.clone(), bytes);
        refuses(folder.path(), &["1048577x256x256", "more than the 68719476736 that are read"]);
    }
    // No more is unpacked than the header says, and one byte.
    write(at, gzip(&idx(&[4, 2, 3], &[7; 100_000])));
    refuses(folder.path(), &["too long: 4x2x3 take 40 bytes, it has 64 or more"]);
}

#[test]
fn headers_of_packed_images_are_held_against_a_limit() {
    let folder = folder();
    let path = folder.path().join("x.images.zst");
    let packed = |images: u32, rest: usize| {
        let mut bytes = b"TMPRIMGS".to_vec();
        [1u32, 1, 256, 255, 1, images, 1, 0].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.resize(bytes.len() + rest, 0);
        zstd::encode_all(bytes.as_slice(), 1).expect("memory")
    };
    write(path.clone(), packed(1 << 19, 10));
    refuses(&path, &["its content has 50 bytes"]);
    write(path.clone(), packed(1 << 21, 10));
    refuses(&path, &["256x255", "more than the 68719476736 bytes that are read"]);
    write(path.clone(), packed(1, 1 << 20));
    let more = (40 + 2 * (256 * 255 + 1) + 1).to_string();
    refuses(&path, &[&format!("its content has {more} bytes or more")]);
}

#[test]
fn what_is_not_read_is_counted() {
    let folder = tree("test");
    for file in
        ["train/a/x.BMP", "train/b/y.bmp", "train/b/sub/1.png", "train/lost.png", "train/b/Thumbs.db", "test/a/z"]
    {
        write(folder.path().join(file), "x");
    }
    let splits = open(folder.path()).unwrap();
    let passed = "2 .bmp, 1 .txt, 1 beside the class folders, 1 hidden, 1 in folders";
    assert_eq!(splits.train.passed_over().as_deref(), Some(passed));
    assert_eq!(splits.test.passed_over().as_deref(), Some("1 without an ending"));
    assert_eq!(splits.train.file_name(0), Some("train/a/1.png"));
    assert_eq!(splits.train.clone().first(2).file_name(1), Some("train/b/1.png"));
    fs::rename(folder.path().join("test/b/1.png"), folder.path().join("test/b/1.webp")).unwrap();
    refuses(folder.path(), &["test/b", "no image that is read; there are 1 .webp"]);
}

#[test]
fn images_below_the_folder_that_was_named() {
    let (outer, inner) = (folder(), idx_folder());
    let raw = outer.path().join("MNIST/raw");
    for entry in fs::read_dir(inner.path()).unwrap() {
        let path = entry.unwrap().path();
        write(raw.join(path.file_name().unwrap()), fs::read(&path).unwrap());
    }
    let hint = refuses(outer.path(), &["no image data"]).hint.unwrap();
    assert_eq!(hint, format!("there are MNIST's idx files in {}: name that folder", raw.display()));
    // A folder per file, which has the file's name.
    let name = "train-images-idx3-ubyte";
    let bytes = fs::read(raw.join(name)).unwrap();
    fs::remove_file(raw.join(name)).unwrap();
    write(raw.join(name).join(name), bytes);
    assert_eq!(open(&raw).unwrap().train.pixels(1), open(inner.path()).unwrap().train.pixels(1));
}

#[test]
fn classes_by_name_and_in_the_order_of_numbers() {
    let folder = folder();
    for class in 0..12u8 {
        for (split, images) in [("train", 2 + class % 2), ("test", 1)] {
            for image in 0..images {
                let path = folder.path().join(format!("{split}/{class}/{image}.png"));
                write(path, png([1, 2], png::ColorType::Grayscale, &[class, image]));
            }
        }
    }
    let train = open(folder.path()).unwrap().train;
    let numbers: Vec<String> = (0..12).map(|class| class.to_string()).collect();
    assert_eq!(train.class_names, numbers);
    let (mut text, all) = (numbers.clone(), train.len());
    text.sort();
    // As a run knows them that was made when they stood in the order of text: its labels, and its order of images.
    let (old, matched) = train.clone().with_classes(&text, "here", "run").unwrap();
    assert_eq!((matched, old.len()), (Match::ByName, all));
    assert_eq!(&old.labels()[..12], (0..12).collect::<Vec<u32>>());
    assert!((0..all).all(|i| text[old.labels()[i] as usize] == old.pixels(i)[0].to_string()));
    assert_eq!([1, 2, 3].map(|i| old.pixels(i)[0]), [1, 10, 11]);
    assert_eq!(old.file_name(2), Some("train/10/0.png"));
    assert_eq!(old.with_classes(&numbers, "here", "run").unwrap().0, train);
    // Fewer classes are fine, others are not.
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let pets = Images::new("pets", [1, 1, 1], names(&["dog", "fox"]), vec![1, 2], vec![0, 1]);
    let (own, matched) = pets.clone().with_classes(&names(&["cat", "fox", "dog"]), "pets", "run").unwrap();
    assert_eq!((own.labels(), own.classes(), matched), (&[2, 1][..], 3, Match::ByName));
    let problem = pets.clone().with_classes(&names(&["cat", "dog"]), "pets", "run").unwrap_err().to_string();
    assert!(
        problem.contains("run has no class fox; its classes are cat, dog, those of the images are dog, fox"),
        "{problem}"
    );
    // Without names on one side, only as many.
    assert_eq!(pets.clone().with_classes(&names(&["0", "1"]), "pets", "run").unwrap().1, Match::ByCount);
    assert!(pets.with_classes(&names(&["0", "1", "2"]), "pets", "run").is_err());
}

#[test]
fn a_name_makes_nothing_known() {
    let folder = folder();
    for (name, bytes) in cifar_files() {
        write(folder.path().join(name), bytes);
    }
    assert_eq!(open(folder.path()).unwrap().train.known, Some("cifar-10"));
    let tree = tree("test");
    let renamed = tree.path().join("cifar-10");
    fs::create_dir(&renamed).unwrap();
    for split in ["train", "test"] {
        fs::rename(tree.path().join(split), renamed.join(split)).unwrap();
    }
    let train = open(&renamed).unwrap().train;
    assert_eq!((train.name.as_str(), train.known), ("cifar-10", None));
    let (mean, deviation) = Images::new("x", [1, 1, 2], vec!["a".into()], vec![0, 255], vec![0]).statistics();
    assert_eq!((mean, deviation), (vec![0.5], vec![0.5]));
}
