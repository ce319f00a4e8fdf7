"""A training step of a small character-level GPT on the CPU, beside nanoGPT's model in PyTorch in the same run.

    tests/parity/run.sh python -m benchmarks.gpt_step [--rounds 9]

4 layers of 128, 4 heads, 65 characters, 12 rows of 64, no dropout, float32, two threads: the settings that nanoGPT's
README gives for a laptop. Forward, loss, backward, clipping of the global norm and AdamW. Ours is the compiled step of
the training loop, with packed documents and summed figures; the peer is a model written as nanoGPT's is, in eager mode:
one linear map for queries, keys and values, `scaled_dot_product_attention`, exact GELU, a tied head, fused AdamW.
Each side is a process of its own, with large pages, so that its peak of memory is its own. They take turns.
"""

import math

import numpy as np

from benchmarks.turns import compare_steps

BATCH, LENGTH, VOCAB, THREADS = 12, 64, 65, 2
LAYERS, WIDTH, HEADS = 4, 128, 4
STEPS = 20


def main():
    compare_steps(
        "benchmarks.gpt_step",
        __doc__.split("\n")[0],
        (ours, peer),
        calls=STEPS,
        title=f"GPT, {LAYERS} x {WIDTH}, {BATCH} x {LENGTH} characters, float32, {THREADS} threads",
        items=BATCH * LENGTH,
        unit="tokens",
        operations=flops(),
    )


def flops():
    """Floating-point operations of a step's matrix products; the backward pass has two for each of the forward."""
    layer = 12 * WIDTH**2 + 2 * LENGTH * WIDTH
    return 3 * 2 * BATCH * LENGTH * (LAYERS * layer + WIDTH * VOCAB)


def rows():
    """Characters, and the ones after them."""
    text = np.random.default_rng(0).integers(0, VOCAB, (BATCH, LENGTH + 1))
    return text[:, :-1].astype(np.int32), text[:, 1:].astype(np.int32)


def ours():
    from dataclasses import replace

    import jax

    from experiments.gpt2 import OFFLINE, build
    from ssl_jax.models.gpt2 import Gpt2Config
    from ssl_jax.training.compiling import Program
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    model = Gpt2Config(
        vocab_size=VOCAB,
        positions=LENGTH,
        layers=LAYERS,
        width=WIDTH,
        heads=HEADS,
        mlp_width=4 * WIDTH,
        dropout=0.0,
        attention_dropout=0.0,
        activation="gelu",
    )
    built = build(
        replace(OFFLINE, model=model, length=LENGTH, train=replace(OFFLINE.train, batch_size=BATCH))
    )
    mesh = make_mesh(built.mesh)
    program = Program(built, mesh)
    train_step = program.train_step(built.phases[0])
    tokens, targets = rows()
    batch = {"tokens": tokens, "targets": targets, "segment_ids": np.ones_like(tokens)}
    batch |= {"positions": np.broadcast_to(np.arange(LENGTH, dtype=np.int32), tokens.shape)}
    batch |= {"weights": np.ones(tokens.shape, np.float32), "example_weight": np.ones(BATCH, np.float32)}
    batch = jax.device_put(batch, batch_sharding(mesh))
    state = [program.initial_state()]

    def step(calls):
        for _ in range(calls):
            state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state[0])

    return step


def peer():
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(THREADS)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            batch, length, width = x.shape
            parts = self.qkv(self.attention_norm(x)).split(width, dim=2)
            q, k, v = (part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in parts)
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
            return x + self.down(functional.gelu(self.up(self.mlp_norm(x))))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.position = nn.Embedding(VOCAB, WIDTH), nn.Embedding(LENGTH, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)
            self.head.weight = self.token.weight

        def forward(self, tokens, targets):
            x = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
            for block in self.blocks:
                x = block(x)
            logits = self.head(self.norm(x))
            return functional.cross_entropy(logits.view(-1, VOCAB), targets.view(-1))

    model = Gpt().train()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02 / math.sqrt(LAYERS))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1, fused=True
    )
    tokens, targets = (torch.tensor(part, dtype=torch.long) for part in rows())

    def step(calls):
        for _ in range(calls):
            optimizer.zero_grad(set_to_none=True)
            model(tokens, targets).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return step


if __name__ == "__main__":
    main()
