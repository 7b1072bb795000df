#!/usr/bin/env python3
"""Writes golden/tokenizer_ids.json: token ids of awkward strings by Python's tokenizers, for assets/tokenizer.json.

    DIR/bin/python golden/tokenizer_ids.py assets/tokenizer.json golden/tokenizer_ids.json
"""
import json
import sys

from tokenizers import Tokenizer

STRINGS = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n ", "a", " a", "In the beginning", "In the  beginning   God", "trailing space ",
    "Das Gesetz", "§ 1 Geltungsbereich", "§§ 12 und 13 Abs. 2 Satz 1", "Übergangsvorschrift für Straßen und Maßnahmen",
    "ÄÖÜäöüß", "naïve café", "e\u0301 against \u00e9", "„Anführung“ – “quotation”—dash…", "don’t, don't, DON'T, we'll",
    "0123456789 3.14159 1,000,000", "x = a[i] + b*(c-d)/e; // code", "日本語のテキスト", "Привет, мир", "שלום", "مرحبا",
    "\U0001f642", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "flag \U0001f1e9\U0001f1ea", "a\u0000b", "\u00a0\u2003\u200b\ufeff", "\ufffd", "\U0010ffff",
    "<|endoftext|>", "a<|endoftext|>b", "<|endoftext|", "\r\n", "line one\r\nline two", "    indented", "ALL CAPS", "x" * 40, "supercalifragilisticexpialidocious",
]


def main():
    source, out = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
    tokenizer = Tokenizer.from_file(source)
    rows = []
    for s in STRINGS:
        ids = tokenizer.encode(s, add_special_tokens=False).ids
        back = tokenizer.decode(ids, skip_special_tokens=False)
        assert back == s, (s, back)
        rows.append(f'  {{"text": {json.dumps(s)}, "ids": {json.dumps(ids)}}}')
    with open(out, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(rows) + "\n]\n")
    print(f"{out}: {len(rows)} strings, vocabulary {tokenizer.get_vocab_size()}")


if __name__ == "__main__":
    main()
