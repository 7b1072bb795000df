#!/usr/bin/env python3
"""Makes the two texts inside the binary, assets/web.jsonl.zst and assets/law.jsonl.zst. Standard library and the `zstd` tool.

    apt-get download sword-text-web && dpkg-deb -x sword-text-web_*.deb web
    python3 scripts/make_assets.py web --web web/usr/share/sword/modules/texts/ztext/engWEB2015eb --out assets
    python3 scripts/make_assets.py law --law LAWS --out assets

LAWS is the repository bundestag/gesetze (a folder of `*/*/index.md`) or a JSON-lines file of it, {"text", "meta": {"source"}}, plain
or .zst. Both outputs are `{"text", "meta": {"source"}}` lines and the same bytes whenever the inputs are. assets/SOURCES.md says
what was kept and what was left out.
"""
import argparse
import hashlib
import json
import pathlib
import re
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", choices=["web", "law"])
    parser.add_argument("--web", metavar="FOLDER", help="the unpacked SWORD module")
    parser.add_argument("--law", metavar="LAWS", help="folder or JSON-lines file")
    parser.add_argument("--out", metavar="FOLDER", default="assets", type=pathlib.Path)
    args = parser.parse_args()
    path = getattr(args, args.text)
    if not path:
        parser.error(f"--{args.text} is missing")
    docs = list((web if args.text == "web" else law)(path))
    lines = "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in docs).encode()
    out = args.out / f"{args.text}.jsonl.zst"
    out.write_bytes(subprocess.run(["zstd", "--ultra", "-22", "--check", "--stream-size", str(len(lines)), "-c"], input=lines, check=True, stdout=subprocess.PIPE).stdout)
    print(f"{out}: {len(docs)} documents, {sum(len(d['text'].encode()) for d in docs)} bytes of text, {out.stat().st_size} bytes")
    print(f"sha256 of the lines {hashlib.sha256(lines).hexdigest()}, of the file {hashlib.sha256(out.read_bytes()).hexdigest()}", file=sys.stderr)


if __name__ == "__main__":
    main()
