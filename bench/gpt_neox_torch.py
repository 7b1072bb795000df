#!/usr/bin/env python3
"""The language-model training step in PyTorch, written the way one writes it there: what `temper bench` is held against.

    sh golden/make_env_torch.sh DIR
    DIR/bin/python bench/gpt_neox_torch.py --layers 6 --d-model 128 --heads 4 --vocab 8192 --batch 8 --seq 512
    DIR/bin/python bench/gpt_neox_torch.py ... --compile            # with torch.compile
    DIR/bin/python bench/gpt_neox_torch.py --init HF_DIRECTORY --tokens FILE --batch 8 --seq 512 --steps 10   # same weights, same tokens: losses to compare

GPT-NeoX with parallel residual and rotary positions, scaled_dot_product_attention, fused AdamW, gradient clipping, fp32. A step is: zero the
gradients, forward, mean cross-entropy, backward, clip, update. The first --warmup steps are not timed. FILE holds token ids as JSON
(a flat list) or bare little-endian u16 (any other ending); step k takes ids [k B T, (k+1) B T] and one more.
Only the ratio of runs made in turn on one quiet machine means anything.
"""
import argparse
import json
import math
import pathlib
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


def rotate(x, cos, sin):                                     # x: [B, H, T, D], cos and sin: [T, R], R of the D dimensions turn
    r = cos.shape[-1]
    turned, rest = x[..., :r], x[..., r:]
    a, b = turned.chunk(2, -1)
    return torch.cat((turned * cos + torch.cat((-b, a), -1) * sin, rest), -1)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(d, 3 * d)
        self.dense = nn.Linear(d, d)

    def forward(self, x, cos, sin):                          # [B, T, d]
        b, t, d = x.shape
        q, k, v = self.query_key_value(x).view(b, t, self.heads, 3 * d // self.heads).transpose(1, 2).chunk(3, -1)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.dense(y.transpose(1, 2).reshape(b, t, d))


class Mlp(nn.Module):
    def __init__(self, d, hidden, tanh):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(d, hidden)
        self.dense_4h_to_h = nn.Linear(hidden, d)
        self.approximate = "tanh" if tanh else "none"

    def forward(self, x):
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x), approximate=self.approximate))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.parallel = c["use_parallel_residual"]
        self.input_layernorm = nn.LayerNorm(c["hidden_size"], eps=c["layer_norm_eps"])
        self.post_attention_layernorm = nn.LayerNorm(c["hidden_size"], eps=c["layer_norm_eps"])
        self.attention = Attention(c["hidden_size"], c["num_attention_heads"])
        self.mlp = Mlp(c["hidden_size"], c["intermediate_size"], c["hidden_act"] != "gelu")

    def forward(self, x, cos, sin):
        h = x + self.attention(self.input_layernorm(x), cos, sin)
        return h + self.mlp(self.post_attention_layernorm(x if self.parallel else h))


class GptNeoX(nn.Module):
    def __init__(self, c, seq):
        super().__init__()
        d, heads = c["hidden_size"], c["num_attention_heads"]
        self.gpt_neox = nn.ModuleDict({
            "embed_in": nn.Embedding(c["vocab_size"], d),
            "layers": nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"])),
            "final_layer_norm": nn.LayerNorm(d, eps=c["layer_norm_eps"]),
        })
        self.embed_out = nn.Linear(d, c["vocab_size"], bias=False)
        if c["tie_word_embeddings"]:
            self.embed_out.weight = self.gpt_neox["embed_in"].weight
        r = int(d // heads * c["rotary_pct"])
        angles = torch.outer(torch.arange(seq).float(), 1.0 / c["rotary_base"] ** (torch.arange(0, r, 2).float() / r)).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, p in self.named_parameters():              # small-init and wang-init, as Pythia
            if p.dim() == 2:
                residual = name.endswith(("attention.dense.weight", "dense_4h_to_h.weight"))
                nn.init.normal_(p, std=2 / c["num_hidden_layers"] / math.sqrt(d) if residual else math.sqrt(2 / (5 * d)))
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids, targets):                         # [B, T] each -> mean cross-entropy
        x = self.gpt_neox["embed_in"](ids)
        for layer in self.gpt_neox["layers"]:
            x = layer(x, self.cos, self.sin)
        logits = self.embed_out(self.gpt_neox["final_layer_norm"](x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def read_config(folder):
    c = json.loads((folder / "config.json").read_text())
    rope = c.get("rope_parameters") or {}
    c["rotary_pct"] = rope.get("partial_rotary_factor", c.get("partial_rotary_factor", c.get("rotary_pct")))
    c["rotary_base"] = rope.get("rope_theta", c.get("rope_theta", c.get("rotary_emb_base")))
    return c


def read_weights(model, folder, tied):
    from safetensors.torch import load_file
    tensors = {}
    for f in sorted(folder.glob("model*.safetensors")):
        tensors.update(load_file(f))
    tensors = {k: v.float() for k, v in tensors.items() if not k.endswith(("attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"))}
    if tied:
        tensors.setdefault("embed_out.weight", tensors["gpt_neox.embed_in.weight"])
    model.load_state_dict(tensors)


def read_tokens(path):
    if path.suffix == ".json":
        return torch.tensor(json.loads(path.read_text()))
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint16).long()


def make_optimizer(model, lr):
    decayed = [p for n, p in model.named_parameters() if p.dim() == 2]
    plain = [p for n, p in model.named_parameters() if p.dim() != 2]
    groups = [dict(params=decayed, weight_decay=0.1), dict(params=plain, weight_decay=0.0)]
    try:
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8, fused=True)
    except RuntimeError:                                     # an older torch has no fused AdamW on a CPU
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 6), ("d-model", 128), ("heads", 4), ("vocab", 8192), ("batch", 8), ("seq", 512), ("steps", 10), ("warmup", 2),
                          ("threads", 2), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--init", type=pathlib.Path, help="Hugging Face directory: shape and weights from there")
    parser.add_argument("--tokens", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    c = read_config(args.init) if args.init else dict(
        num_hidden_layers=args.layers, hidden_size=args.d_model, num_attention_heads=args.heads, intermediate_size=4 * args.d_model, vocab_size=args.vocab,
        rotary_pct=0.25, rotary_base=10000, use_parallel_residual=True, tie_word_embeddings=False, hidden_act="gelu", layer_norm_eps=1e-5)
    model = GptNeoX(c, args.seq)
    if args.init:
        read_weights(model, args.init, c["tie_word_embeddings"])
    optimizer = make_optimizer(model, args.lr)
    step_model = torch.compile(model) if args.compile else model

    size, total = args.batch * args.seq, args.warmup + args.steps
    tokens = read_tokens(args.tokens) if args.tokens else torch.randint(c["vocab_size"], (total * size + 1,))
    if len(tokens) < total * size + 1:
        sys.exit(f"{args.tokens}: {len(tokens)} ids, {total} steps of {args.batch} x {args.seq} need {total * size + 1}")

    losses, times = [], []
    for k in range(total):
        ids = tokens[k * size:(k + 1) * size + 1]
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = step_model(ids[:-1].view(args.batch, args.seq), ids[1:].view(args.batch, args.seq))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if k >= args.warmup:
            times.append(time.perf_counter() - start)

    median = statistics.median(times)
    result = {
        "torch": torch.__version__, "mode": "compile" if args.compile else "eager", "threads": args.threads,
        "layers": c["num_hidden_layers"], "d_model": c["hidden_size"], "heads": c["num_attention_heads"], "vocab": c["vocab_size"],
        "batch": args.batch, "seq": args.seq, "parameters": sum(p.numel() for p in model.parameters()), "steps": args.steps,
        "seconds_median": median, "seconds_min": min(times), "seconds_max": max(times), "tokens_per_second": size / median,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "losses": losses[:10],
    }
    if args.json:
        print(json.dumps(result))
        return
    print(f"torch {result['torch']} {result['mode']}, {args.threads} threads, {c['num_hidden_layers']} x {c['hidden_size']}, vocabulary {c['vocab_size']}, "
          f"batch {args.batch} x {args.seq}, {result['parameters']} parameters")
    print(f"step: median {median:.3f} s, min {min(times):.3f}, max {max(times):.3f} over {args.steps}; {size / median:.0f} tokens/s; "
          f"peak memory {result['peak_rss_mb']:.0f} MB")
    print("losses:", " ".join(f"{x:.6f}" for x in result["losses"]))


if __name__ == "__main__":
    main()
