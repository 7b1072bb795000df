#!/usr/bin/env python3
"""Makes the texts and images inside the binary, assets/web.jsonl.zst, assets/law.jsonl.zst and assets/fashion.images.zst. Standard library
and the `zstd` tool.

    apt-get download sword-text-web && dpkg-deb -x sword-text-web_*.deb web
    python3 scripts/make_assets.py web --web web/usr/share/sword/modules/texts/ztext/engWEB2015eb --out assets
    python3 scripts/make_assets.py law --law LAWS --out assets
    apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb fashion
    python3 scripts/make_assets.py images --images fashion/usr/share/datasets/fashion-mnist --out assets

LAWS is the repository bundestag/gesetze (a folder of `*/*/index.md`) or a JSON-lines file of it, {"text", "meta": {"source"}}, plain
or .zst. Both texts are `{"text", "meta": {"source"}}` lines; the form of the images is told in crates/data/src/images/packed.rs. All are the
same bytes whenever the inputs are. assets/SOURCES.md says
what was kept and what was left out.
"""
import argparse
import gzip
import hashlib
import json
import pathlib
import re
import struct
import subprocess
import sys

from extract import sword_chapters

# Left out: second versions of Esther and Daniel. They repeat most of the Hebrew ones, which would leak from training into validation,
# and the package holds the verses of the Greek Esther out of order.
LEFT_OUT_BOOKS = {"EsthGr", "DanGr"}
LAW_BYTES = 4_850_000          # about the size of the other text
LAW_SIZES = range(2_000, 200_000)
DOCUMENT_BYTES = 12_000        # a longer law is cut at headings into parts of about this size


def web(module):
    names = {"front": "Preface", "?": "Glossary"}
    for name, text in sword_chapters(module):
        if name.split(".")[0] not in LEFT_OUT_BOOKS:
            yield {"text": text, "meta": {"source": "World English Bible, " + names.get(name, name)}}


def laws(path):
    """(source, Markdown) of every law, by source."""
    path = pathlib.Path(path)
    if path.is_dir():
        found = [(str(f.relative_to(path)), f.read_text("utf-8")) for f in path.glob("*/*/index.md")]
    else:
        data = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout if path.suffix == ".zst" else path.read_bytes()
        found = [(d["meta"]["source"], d["text"]) for d in map(json.loads, data.splitlines())]
    return sorted(found)


def law_text(markdown):
    """(short name, title, paragraphs) of a law: headings keep one leading mark `#`, hard-wrapped lines are joined."""
    head = re.match(r"(?s)---\n(.*?)\n---?\n|---\n(.*?)\n\n", markdown)
    meta = (head[1] or head[2] or "") if head else ""
    short = re.search(r"(?m)^jurabk: (.*)$", meta)
    title = re.search(r"(?ms)^Title: (.*?)\n\w+: ", meta + "\nx: ")
    body = markdown[head.end():] if head else markdown
    paragraphs = []
    for p in re.split(r"\n\s*\n", body):
        if re.match(r"[^\n]+\n: {2,}", p):                    # date of issue, gazette, last change
            continue
        p = re.sub(r"\\([^\w\s])", r"\1", p.strip("\n"))       # Markdown's escapes
        p = re.sub(r"\^\[?\w*\]?|\[\^[^\]]*\]:?", "", p)     # footnote marks
        if not p.startswith("    ") and "|" not in p:          # preformatted text and tables keep their lines
            # Lines were broken at blanks and after hyphens; "See- und" has both.
            p = re.sub(r"(?<=\w)-\n\s*(?!(und|oder|bis|sowie|bzw\.|beziehungsweise)\b)", "-", p)
            p = re.sub(r"\s*\n\s*", " ", p)
        p = re.sub(r"!\[[^\]]*\]\([^)]*\)|\*\*", "", p)    # pictures, bold
        p = re.sub(r"^#+ ", "# ", p.strip())
        if p:
            paragraphs.append(p)
    clean = lambda m: re.sub(r"\s+", " ", m[1]).strip().strip("'\"") if m else ""
    return clean(short), clean(title), paragraphs


def documents(source, markdown):
    """A law as documents: whole if short, else cut before a heading once a part is long enough."""
    short, title, paragraphs = law_text(markdown)
    parts, part, size = [], [], 0
    for p in paragraphs:
        long = size > 2 * DOCUMENT_BYTES or (size > DOCUMENT_BYTES and p.startswith("# "))
        if long:
            parts.append(part)
            part, size = [], 0
        part.append(p)
        size += len(p.encode()) + 2
    if part:
        parts.append(part)
    for i, part in enumerate(parts):
        name = f"{short}, {title}" if short and short != title else title or source
        where = f"{name}, part {i + 1} of {len(parts)}" if len(parts) > 1 else name
        yield {"text": "\n\n".join(part), "meta": {"source": f"{source}: {where}"}}


def law(path):
    """Whole laws in the order of a hash of their file's name, until there is enough."""
    total = 0
    for source, markdown in sorted(laws(path), key=lambda d: hashlib.sha256(d[0].encode()).digest()):
        if len(markdown.encode()) not in LAW_SIZES or total >= LAW_BYTES:
            continue
        for document in documents(source, markdown):
            total += len(document["text"].encode())
            yield document


FASHION_NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
FASHION_COUNTS = {"train": 10_000, "t10k": 2_000}          # the first so many of each file: 5 MB


def images(folder):
    """Fashion-MNIST's first images in the packed form."""
    labels, pixels, shape = b"", b"", None
    for split, count in FASHION_COUNTS.items():
        found = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
        magic, total, height, width = struct.unpack(">4I", found[:16])
        assert magic == 0x803 and total >= count and shape in (None, (1, height, width))
        shape = 1, height, width
        pixels += found[16:16 + count * height * width]
        found = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
        assert struct.unpack(">2I", found[:8]) == (0x801, total)
        labels += found[8:8 + count]
    note = "a subset of Fashion-MNIST: its first {:,} training and {:,} test images".format(*FASHION_COUNTS.values())
    names = "".join(line + "\n" for line in ["fashion-mnist", note, *FASHION_NAMES]).encode()
    head = struct.pack("<8s8I", b"TMPRIMGS", 1, *shape, len(FASHION_NAMES), *FASHION_COUNTS.values(), len(names))
    return head + names + labels + pixels


def packed(content):
    command = ["zstd", "--ultra", "-22", "--check", "--stream-size", str(len(content)), "-c"]
    return subprocess.run(command, input=content, check=True, stdout=subprocess.PIPE).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("asset", choices=["web", "law", "images"])
    parser.add_argument("--web", metavar="FOLDER", help="the unpacked SWORD module")
    parser.add_argument("--law", metavar="LAWS", help="folder or JSON-lines file")
    parser.add_argument("--images", metavar="FOLDER", help="Fashion-MNIST's four .gz files", type=pathlib.Path)
    parser.add_argument("--out", metavar="FOLDER", default="assets", type=pathlib.Path)
    args = parser.parse_args()
    path = getattr(args, args.asset)
    if not path:
        parser.error(f"--{args.asset} is missing")
    if args.asset == "images":
        content, out = images(path), args.out / "fashion.images.zst"
        told = f"{sum(FASHION_COUNTS.values())} images"
    else:
        docs = list((web if args.asset == "web" else law)(path))
        content = "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in docs).encode()
        out = args.out / f"{args.asset}.jsonl.zst"
        told = f"{len(docs)} documents, {sum(len(d['text'].encode()) for d in docs)} bytes of text"
    out.write_bytes(packed(content))
    print(f"{out}: {told}, {out.stat().st_size} bytes")
    print(f"sha256 of the content {hashlib.sha256(content).hexdigest()}, of the file {hashlib.sha256(out.read_bytes()).hexdigest()}", file=sys.stderr)


if __name__ == "__main__":
    main()
