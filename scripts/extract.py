"""Text out of files: markup of several kinds -> plain text. Standard library only; used by corpora.py and make_assets.py.

`KINDS` maps a kind to a function from a file's bytes to plain text; `sword_chapters` reads a Bible module of the SWORD project
(driver zText) chapter by chapter. Paragraphs are separated by one empty line in everything that leaves this module.
"""
import hashlib
import html
import re
import struct
import zlib
from html.parser import HTMLParser

BLOCK = set("p div li dd dt h1 h2 h3 h4 h5 h6 td th tr table ul ol dl pre br title section article blockquote caption hr note item figure summary".split())
SKIP = set("script style head nav footer svg button form noscript template".split())


class _Html(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.out, self.skip, self.pre = [], 0, 0

    def handle_starttag(self, tag, attrs):
        self.skip += tag in SKIP
        self.pre += tag == "pre"
        if tag in BLOCK:
            self.out.append("\n" if self.pre and tag != "pre" else "\n\n")

    def handle_endtag(self, tag):
        if tag in SKIP and self.skip:
            self.skip -= 1
        if tag == "pre" and self.pre:
            self.pre -= 1
        if tag in BLOCK:
            self.out.append("\n" if self.pre else "\n\n")

    def handle_data(self, data):
        if not self.skip:
            self.out.append(data if self.pre else re.sub(r"\s+", " ", data))


def from_html(data):
    parser = _Html()
    parser.feed(data.decode("utf-8", "replace"))
    parser.close()
    return "".join(parser.out)


def from_xml(data):
    """Mallard and DocBook."""
    t = data.decode("utf-8", "replace")
    t = re.sub(r"(?s)<!--.*?-->|<\?.*?\?>|<!DOCTYPE.*?>|<(info|credit|license|bookinfo)\b.*?</\1>", "", t)
    t = re.sub(r"</?(p|title|item|note|section|para|screen|code|td|tr|table|list|steps|desc|listitem|sect\d)\b[^>]*>", "\n\n", t)
    t = html.unescape(re.sub(r"<[^>]+>", "", t))
    return "\n\n".join(re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n", t))


_MAN_DROP = set("TH Dd Dt Os de ie el if nr ds ft ad nh hy RS RE nf fi in ta Bl El TS TE EX EE PD".split())
_MAN_FONT = set("B I BR IR RB RI BI IB SM SB Nm Fl Ar Xr Pa Em Sy Nd Ic Li Cm Dv Va Fn Ft Fa In".split())
_MAN_JOIN = set("BR IR RB RI BI IB".split())
_MAN_CHARS = (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(bu", "*"), ("\\(em", "\u2014"), ("\\(en", "\u2013"),
              ("\\(co", "\u00a9"), ("\\(lq", "\u201c"), ("\\(rq", "\u201d"), ("\\(Bq", "\u201e"), ("\\(Fo", "\u00ab"),
              ("\\(Fc", "\u00bb"), ("\\e", "\\"), ("\\&", ""), ("\\|", ""), ("\\/", ""), ("\\c", ""), ("\\ ", " "))


def from_man(data):
    """roff and mdoc, near enough: it keeps the words, not the layout."""
    out = []
    for line in data.decode("utf-8", "replace").split("\n"):
        if line.startswith(('.\\"', "'\\\"", ".so ")):
            continue
        m = re.match(r"[.']\s*([A-Za-z]{1,3})\b ?(.*)", line)
        if not m:
            out.append(line + " " if line.strip() else "\n\n")
            continue
        macro, rest = m.groups()
        if macro in ("SH", "SS", "Sh", "Ss"):
            out.append("\n\n" + rest.strip('"') + "\n\n")
        elif macro in ("PP", "P", "LP", "TP", "IP", "Pp", "It", "HP", "sp"):
            out.append("\n\n" + (rest + "\n" if macro in ("IP", "It") else ""))
        elif macro in _MAN_FONT:
            out.append((rest.replace(" ", "") if macro in _MAN_JOIN else rest).replace('"', "") + " ")
    t = "".join(out)
    for a, b in _MAN_CHARS:
        t = t.replace(a, b)
    t = re.sub(r"\\f(\[[^]]*\]|\(..|.)|\\s[+-]?\d|\\m\[[^]]*\]|\\%", "", t)
    return re.sub(r"[ \t]+", " ", t)


def from_pod(data):
    t = data.decode("utf-8", "replace")
    t = re.sub(r"(?m)^=(head\d|item)\s+(.*)$", r"\2", t)
    t = re.sub(r"(?m)^=\w+.*$", "", t)
    for _ in range(3):
        t = re.sub(r"[BCEFILSXZ]<+ ?([^<>]*?) ?>+", r"\1", t)
    return t


def from_brown(data):
    """The Brown corpus: words with part-of-speech tags, `word/tag`."""
    paragraphs = re.split(r"\n\s*\n", data.decode("latin-1"))
    paragraphs = [" ".join(w.rsplit("/", 1)[0] for w in p.split()) for p in paragraphs]
    t = "\n\n".join(p for p in paragraphs if p)
    t = t.replace("`` ", '"').replace(" ''", '"')
    return re.sub(r" ([.,;:?!)])", r"\1", t).replace("( ", "(")


def from_text(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def from_fortune(data):
    return "\n\n".join(d.strip() for d in re.split(r"(?m)^%$", from_text(data)))


KINDS = {"html": from_html, "xml": from_xml, "man": from_man, "pod": from_pod, "brown": from_brown, "text": from_text, "fortune": from_fortune}


def paragraphs(text):
    """Its paragraphs, without surrounding blanks, those of one character dropped."""
    for p in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        p = re.sub(r"[ \t]+\n", "\n", p).strip("\n ")
        if len(p) >= 2:
            yield p


class Unseen:
    """Passes every paragraph once: this removes navigation bars, licence headers and other repeated boilerplate."""

    def __init__(self):
        self.seen = set()

    def __call__(self, paragraph):
        h = hashlib.md5(paragraph.encode("utf-8", "replace"), usedforsecurity=False).digest()
        new = h not in self.seen
        self.seen.add(h)
        return new


# ---- SWORD Bible modules -------------------------------------------------------------------------------------------------

def _verses(path, testament):
    """The entries of a zText module in the order of its canon. `.bzs`: blocks (offset, size, unpacked size); `.bzv`: entries
    (block u32, offset u32, size u16). An entry may repeat its predecessor's place (a link): that is the same text, given once."""
    read = lambda ext: open(f"{path}/{testament}.{ext}", "rb").read()
    index, data, verses = read("bzs"), read("bzz"), read("bzv")
    entries = [e for e in struct.iter_unpack("<IIH", verses[:len(verses) // 10 * 10]) if e[2]]
    starts = {}
    for block, offset, _ in entries:
        starts.setdefault(block, set()).add(offset)
    blocks, previous = {}, None
    for entry in entries:
        block, offset, size = entry
        if entry == previous:
            continue
        previous = entry
        if block not in blocks:
            start, length, _ = struct.unpack("<3I", index[12 * block:12 * block + 12])
            blocks[block] = zlib.decompress(data[start:start + length])
        # Sizes wrap at 2^16: a longer entry goes on to where the next one starts.
        end = min((o for o in starts[block] if o > offset), default=len(blocks[block]))
        while offset + size + 65536 <= end:
            size += 65536
        yield blocks[block][offset:offset + size].decode("utf-8", "replace")


def _osis_text(t):
    """OSIS markup -> text: notes and cross-references go, prose paragraphs and lines of verse stay apart."""
    t = re.sub(r"(?s)<note\b.*?</note>", "\x01", t)
    # A note may stand where the blank between two words would be.
    blank = lambda m: m[1] + (" " if m[1] and m[3] and m[1] not in "(\u201c\u2018\u2014" else "") + m[2] + m[3]
    t = re.sub(r"([^\s>\x01]?)((?:</[^>]*>)*\x01(?:<[^>]*>|\x01)*)(\w?)", blank, t).replace("\x01", "")
    t = t.replace("\n", " ")
    t = re.sub(r'<div [^>]*x-preverse[^>]*>', "", t)
    t = re.sub(r"<(div|lg|/?title|chapter|/?list|/?speaker)\b[^>]*>", "\n\n", t)
    t = re.sub(r"<l [^>]*sID[^>]*>|<(lb|/?item)\b[^>]*>|<milestone [^>]*type=\"line\"[^>]*>", "\n", t)
    t = re.sub(r"<milestone [^>]*marker=\"\u00b6\"[^>]*>", "\n\n", t)
    t = html.unescape(re.sub(r"<[^>]+>", "", t)).replace("\x00", "")
    t = re.sub(r"[ \t]+", " ", t)
    t = re.sub(r" ?\n ?", "\n", t)
    return re.sub(r"\n{3,}", "\n\n", t).strip()


def sword_chapters(path):
    """(name, text) of every chapter of a SWORD zText module with OSIS markup, e.g. `("Gen.1", "In the beginning ...")`.
    A book's titles stand at the head of its first chapter; text before the first book is named `front`."""
    chapters = [["front", []]]
    marks = re.compile(r'(<div [^>]*type="book"[^>]*>)|<chapter [^>]*osisID="([^"]+)"[^>]*>')
    for testament in ("ot", "nt"):
        for verse in _verses(path, testament):
            end, title = 0, []
            for m in marks.finditer(verse):
                before = verse[end:m.start()]
                end = m.end()
                if m[1]:                                   # a book begins: what follows, up to its first chapter, is its title
                    if 'sID="' in m[1] or "osisID" in m[1]:
                        chapters[-1][1].append(before)
                        chapters.append([None, []])
                    continue
                if "eID=" in m[0] and "sID=" not in m[0].replace("osisID=", ""):
                    chapters[-1][1].append(before)
                    continue
                if m[2] == chapters[-1][0]:
                    chapters[-1][1].append(before)
                elif chapters[-1][0] is None:
                    chapters[-1][0] = m[2]
                    chapters[-1][1].append(before)
                else:
                    chapters[-1][1].append(before)
                    chapters.append([m[2], []])
            chapters[-1][1].append(verse[end:])
    for name, parts in chapters:
        text = _osis_text(" ".join(parts))
        if text:
            yield name or "?", text
