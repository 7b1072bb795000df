#!/usr/bin/env python3
"""Writes the reference numbers of golden/gpt_neox: transformers' GPTNeoXForCausalLM and torch's AdamW, fp32, CPU, one thread.

    sh golden/make_env_torch.sh DIR && DIR/bin/python golden/gpt_neox.py golden/gpt_neox

README.md in this folder says what every file holds and how closely to agree with it. Prints, for every configuration, how far the
same computation in fp64 is from the numbers written: the room that rounding alone takes.
"""
import copy
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.utils import logging

LEARNING_RATES = [2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 9.7e-4, 8.8e-4, 7.5e-4, 5.9e-4, 4.1e-4]
ADAMW = dict(betas=(0.9, 0.95), eps=1e-8)
WEIGHT_DECAY, CLIP = 0.1, 1.0

# B, T: batch and sequence length. `ids` < vocab_size: a vocabulary padded beyond the tokenizer's. `scale` of the weight matrices: so
# small in "d" that its gradients are sometimes clipped and sometimes not.
CONFIGS = {
    "a": dict(B=2, T=32, ids=96, vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, rotary_pct=0.25,
              use_parallel_residual=True, tie_word_embeddings=False, hidden_act="gelu"),
    "b": dict(B=3, T=24, ids=112, vocab_size=112, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, rotary_pct=1.0,
              use_parallel_residual=False, tie_word_embeddings=True, hidden_act="gelu"),
    "c": dict(B=2, T=40, ids=141, vocab_size=160, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, rotary_pct=0.5,
              rotary_emb_base=5000, use_parallel_residual=True, tie_word_embeddings=False, hidden_act="gelu_new"),
    "d": dict(B=2, T=33, ids=96, scale=0.42, vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, rotary_pct=0.25,
              use_parallel_residual=False, tie_word_embeddings=False, hidden_act="gelu"),
}


def make_model(spec, seed):
    """Random weights, biases and LayerNorm gains included, so that nothing that could be wrong is multiplied by zero or one."""
    shape = {k: v for k, v in spec.items() if k not in ("B", "T", "ids", "scale")}
    config = GPTNeoXConfig(intermediate_size=4 * spec["hidden_size"], max_position_embeddings=64, bos_token_id=0, eos_token_id=0, **shape)
    config._attn_implementation = "eager"
    model = GPTNeoXForCausalLM(config).train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if "layernorm" in name or "layer_norm" in name:
                p.copy_(1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise)
            elif name.endswith("bias"):
                p.copy_(0.1 * noise)
            elif "embed_in" in name and not config.tie_word_embeddings:
                p.copy_(0.5 * noise)
            else:
                p.copy_(spec.get("scale", 1.0) * noise / p.shape[1] ** 0.5)
    return model


def make_batches(spec, seed):
    """Eleven batches of token ids, [B, T+1] each, small ids more frequent."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(11, spec["B"], spec["T"] + 1, generator=generator)
    return (u * u * spec["ids"]).long()


def stored_name(name):
    """Parameter name -> tensor name in the file (transformers 5 calls the unembedding lm_head, and stores it as embed_out)."""
    return name.replace("lm_head.", "embed_out.")


def loss_of(model, batch):
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits          # [B, T, V]
    return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def reference(model, batches):
    """({tensor name: tensor}, losses, gradient norms before clipping)."""
    logits, loss = loss_of(model, batches[0])
    loss.backward()
    out = {"input_ids": batches[0], "logits": logits.detach(), "loss": loss.detach().reshape(1)}
    for name, p in model.named_parameters():
        out["grad." + stored_name(name)] = p.grad.clone()
    plain = lambda name: name.endswith("bias") or "layernorm" in name or "layer_norm" in name
    optimizer = torch.optim.AdamW([
        dict(params=[p for n, p in model.named_parameters() if not plain(n)], weight_decay=WEIGHT_DECAY),
        dict(params=[p for n, p in model.named_parameters() if plain(n)], weight_decay=0.0),
    ], lr=0.0, **ADAMW)
    losses, norms = [], []
    for k, lr in enumerate(LEARNING_RATES):
        optimizer.zero_grad()
        _, loss = loss_of(model, batches[1 + k])
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        losses.append(loss.item())
        out[f"batch.{k}"] = batches[1 + k]
    for name, p in model.named_parameters():
        out["final." + stored_name(name)] = p.detach().clone()
    return out, losses, norms


def determined(name, tensor, config):
    """The entries of a weight that training determines. The keys' bias has no gradient outside the rotary dimensions, since softmax does
    not change when all scores of a row do; rounding leaves about 1e-9 there, which Adam scales up to whole steps of arbitrary sign."""
    if not name.endswith("query_key_value.bias"):
        return tensor
    head = config.hidden_size // config.num_attention_heads
    rotary = int(head * config.rope_parameters["partial_rotary_factor"])
    q, k, v = tensor.view(config.num_attention_heads, 3, head).unbind(1)
    return torch.cat([q.flatten(), k[:, :rotary].flatten(), v.flatten()])


def far(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def write(folder, spec, seed):
    model = make_model(spec, seed)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    batches = make_batches(spec, seed + 1000)
    exact = reference(copy.deepcopy(model).double(), batches)
    numbers, losses, norms = reference(model, batches)
    save_file({k: v.contiguous() for k, v in numbers.items()}, folder / "golden.safetensors", {"format": "pt"})
    (folder / "losses.json").write_text(json.dumps({
        "optimizer": {"name": "AdamW", **ADAMW, "weight_decay": WEIGHT_DECAY, "clip_grad_norm": CLIP},
        "learning_rates": LEARNING_RATES, "losses": losses, "grad_norms": norms}, indent=1) + "\n")
    part = lambda k, v: determined(k, v, model.config) if k.startswith("final.") else v
    rounding = {kind: max(far(part(k, v), part(k, exact[0][k])) for k, v in numbers.items() if k.startswith(kind))
                for kind in ("logits", "grad.", "final.")}
    rounding["losses"] = max(abs(a - b) / b for a, b in zip(losses, exact[1]))
    rounding["norms"] = max(abs(a - b) / b for a, b in zip(norms, exact[2]))
    print(folder.name, "losses", [round(x, 4) for x in losses], "norms", [round(x, 3) for x in norms])
    print("  fp32 against fp64:", {k: f"{v:.1e}" for k, v in rounding.items()})


def write_formats(base, out):
    """The same weights in every form that a reader may meet."""
    shutil.rmtree(out, ignore_errors=True)
    model = GPTNeoXForCausalLM.from_pretrained(base)
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        copy.deepcopy(model).to(dtype).save_pretrained(out / name)
    model.save_pretrained(out / "sharded", max_shard_size="50KB")
    tensors = load_file(base / "model.safetensors")
    positions, rotary = model.config.max_position_embeddings, model.gpt_neox.rotary_emb.inv_freq
    for i in range(model.config.num_hidden_layers):
        at = f"gpt_neox.layers.{i}.attention."
        tensors[at + "bias"] = torch.tril(torch.ones(positions, positions, dtype=torch.bool)).view(1, 1, positions, positions)
        tensors[at + "masked_bias"] = torch.tensor(-1e9)
        tensors[at + "rotary_emb.inv_freq"] = rotary.clone()
    (out / "old_buffers").mkdir()
    save_file(tensors, out / "old_buffers" / "model.safetensors", {"format": "pt"})
    shutil.copy(base / "config.json", out / "old_buffers")
    # One meaning, three spellings. (transformers 5.23 itself does not read the second one for this model: it takes its defaults.)
    config = json.loads((base / "config.json").read_text())
    del config["rope_parameters"]
    spellings = {
        "rotary_pct": dict(rotary_pct=0.5, rotary_emb_base=5000),
        "partial_rotary_factor": dict(partial_rotary_factor=0.5, rope_theta=5000.0),
        "rope_parameters": dict(rope_parameters=dict(partial_rotary_factor=0.5, rope_theta=5000.0, rope_type="default")),
    }
    for name, rotary in spellings.items():
        (out / f"config_{name}.json").write_text(json.dumps(dict(sorted({**config, **rotary}.items())), indent=2) + "\n")
    for f in out.glob("*/generation_config.json"):
        f.unlink()
    for f in out.parent.rglob("*.safetensors"):
        f.chmod(0o644)


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    for i, (name, spec) in enumerate(CONFIGS.items()):
        write(out / name, spec, seed=i + 1)
    write_formats(out / "a", out / "formats")


if __name__ == "__main__":
    main()
