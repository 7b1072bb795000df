#!/usr/bin/env python3
"""The update of `temper bench lm` in PyTorch, written the way one writes it there.

    temper bench lm --dump DUMP --json
    ENV/bin/python bench/gpt_neox_torch.py DUMP                # ENV: sh golden/make_env_torch.sh ENV
    ENV/bin/python bench/gpt_neox_torch.py DUMP --compile      # with torch.compile

GPT-NeoX with parallel residual and rotary positions, scaled_dot_product_attention, fused AdamW, gradient clipping, fp32, from the weights and
on the tokens of the dump. An update is: zero the gradients, forward, mean cross-entropy, backward, clip, optimiser. Prints one JSON object.
Only the ratio of runs made in turn on one quiet machine means anything.
"""
import json

import torch
from torch import nn
from torch.nn import functional as F

import torch_steps


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
    def __init__(self, d, hidden):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(d, hidden)
        self.dense_4h_to_h = nn.Linear(hidden, d)

    def forward(self, x):
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(c["hidden_size"], eps=c["layer_norm_eps"])
        self.post_attention_layernorm = nn.LayerNorm(c["hidden_size"], eps=c["layer_norm_eps"])
        self.attention = Attention(c["hidden_size"], c["num_attention_heads"])
        self.mlp = Mlp(c["hidden_size"], c["intermediate_size"])

    def forward(self, x, cos, sin):                          # the parallel residual of GPT-NeoX
        return x + self.attention(self.input_layernorm(x), cos, sin) + self.mlp(self.post_attention_layernorm(x))


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
        r = int(d // heads * c["rotary_pct"])
        angles = torch.outer(torch.arange(seq).float(), 1.0 / c["rotary_emb_base"] ** (torch.arange(0, r, 2).float() / r)).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, targets):                         # [B, T] each -> mean cross-entropy
        x = self.gpt_neox["embed_in"](ids)
        for layer in self.gpt_neox["layers"]:
            x = layer(x, self.cos, self.sin)
        logits = self.embed_out(self.gpt_neox["final_layer_norm"](x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main():
    args = torch_steps.arguments(__doc__).parse_args()
    settings, weights, batches = torch_steps.open_dump(args)
    config = json.loads((args.dump / "config.json").read_text())
    model = GptNeoX(config, settings["seq"])
    model.load_state_dict(weights)
    rule = settings["optimizer"]
    groups = [dict(params=[p for p in model.parameters() if p.dim() == 2], weight_decay=rule["weight_decay"]),
              dict(params=[p for p in model.parameters() if p.dim() != 2], weight_decay=0.0)]
    optimizer = torch_steps.optimizer(torch.optim.AdamW, groups, settings)
    step_model = torch.compile(model) if args.compile else model

    def update(rows):                                        # [B, T + 1]
        optimizer.zero_grad()
        loss = step_model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), rule["clip"])
        optimizer.step()
        return loss.item()

    tokens = batches["tokens"].long()                        # [steps, B, T + 1]
    torch_steps.run(args, settings, "tokens", settings["batch"] * settings["seq"], tokens, update)


if __name__ == "__main__":
    main()
