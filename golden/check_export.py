#!/usr/bin/env python3
"""Does an exported Hugging Face directory give transformers the logits that it should?

    DIR/bin/python golden/check_export.py EXPORT golden/gpt_neox/a        # an export of (untouched) golden weights: against golden logits
    DIR/bin/python golden/check_export.py EXPORT OTHER --same             # two exports of one model, against each other
    DIR/bin/python golden/check_export.py EXPORT                          # any export: does it load completely, is its loss sane

Prints the largest difference relative to the largest logit; exit code 1 if it exceeds --tolerance, or if transformers misses a tensor,
finds a surplus one, or reads the rotary settings differently from how config.json has them.
"""
import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPTNeoXForCausalLM
from transformers.utils import logging


def load(folder):
    model, info = GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = {k: v for k, v in info.items() if v}
    if wrong:
        sys.exit(f"{folder}: not a clean load: {wrong}")
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    nested = config.get("rope_parameters") or {}
    read = model.config.rope_parameters
    for ours, names in (("partial_rotary_factor", ("partial_rotary_factor", "rotary_pct")), ("rope_theta", ("rope_theta", "rotary_emb_base"))):
        written = [source[name] for source in (nested, config) for name in names if name in source]
        if written and any(w != read[ours] for w in written):
            sys.exit(f"{folder}: config.json says {ours} = {written}, transformers read {read[ours]}")
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export")
    parser.add_argument("golden", nargs="?")
    parser.add_argument("--same", action="store_true", help="the second folder is an export too")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = load(args.export)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (2, min(128, model.config.max_position_embeddings)), generator=generator)
    if args.golden and not args.same:
        golden = load_file(pathlib.Path(args.golden) / "golden.safetensors")
        ids, expected = golden["input_ids"][:, :-1], golden["logits"]
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
        if args.golden and args.same:
            expected = load(args.golden)(input_ids=ids, use_cache=False).logits
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{args.export}: {parameters} parameters, all tensors matched")
    if (pathlib.Path(args.export) / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(args.export)
        print(f"tokenizer: {len(tokenizer)} entries; 'Hello' -> {tokenizer('Hello')['input_ids']}")
    if not args.golden:
        print(f"random ids: largest logit {logits.abs().max():.4g}, finite {bool(logits.isfinite().all())}")
        sys.exit(0 if logits.isfinite().all() else 1)
    difference = ((logits - expected).abs().max() / expected.abs().max()).item()
    print(f"max |logits - expected| / max |expected| = {difference:.2e} (tolerance {args.tolerance:.0e})")
    sys.exit(0 if difference <= args.tolerance else 1)


if __name__ == "__main__":
    main()
