"""What `temper data prepare` does, with the Python `tokenizers`: tokenize_python.py CORPUS.jsonl TOKENIZER.json OUT

Every document is followed by the end-of-document token; token numbers go to OUT as little-endian u16. Prints how many there are.
Threads are what RAYON_NUM_THREADS says.
"""
import itertools
import json
import sys

import numpy
from tokenizers import Tokenizer


def main():
    corpus, tokenizer, out = sys.argv[1:]
    tokenizer, total = Tokenizer.from_file(tokenizer), 0
    eod = tokenizer.token_to_id("<|endoftext|>")
    with open(corpus, encoding="utf-8") as lines, open(out, "wb") as ids:
        while texts := [json.loads(line)["text"] for line in itertools.islice(lines, 1000)]:
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                numpy.array(encoding.ids + [eod], numpy.uint16).tofile(ids)
                total += len(encoding.ids) + 1
    print(total)


if __name__ == "__main__":
    main()
