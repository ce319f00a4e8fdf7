"""Greedy generation with GPT-2 small on the CPU, beside `transformers.generate` on PyTorch in the same run.

    tests/parity/run.sh python -m benchmarks.generation [--rounds 5] [--prompt 16] [--new 64]

The shape of GPT-2 small (12 layers of 768, a vocabulary of 50,257) with random weights, float32, a batch of 8 prompts,
two threads. Ours is `ssl_jax.decoding.generate`, weights prepared once; the peer is eager PyTorch with its key-value
cache. Each side is a process of its own with large pages; they take turns. The time is that of the whole call, reading
the prompts included. CPU seconds, over all threads, stand beside it: they say less about speed, since threads wait for
each other, but suffer less from other programs on the machine.

The limit beside them: at every token the weights and the cache are read once from memory. Their bytes over the
bandwidth with which either side reads an array far larger than the processor's caches give the most tokens/s that any
program can reach here at this batch size.
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks.turns import Side, ratio, serve, timed

BATCH, THREADS = 8, 2
LAYERS, WIDTH, HEADS, VOCAB, POSITIONS = 12, 768, 12, 50257, 1024
READ = 128 * 2**20
"""Elements of the array whose reading gives the bandwidth: 512 MiB."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=16)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        name, prompt, new = arguments.serve
        serve({"ssl_jax": ours, "PyTorch": peer}[name](int(prompt), int(new)))
        return
    compare(arguments.rounds, arguments.prompt, arguments.new)


def compare(rounds, prompt, new):
    """Prints speed and memory of both sides, and how near to the limit of the memory they are."""
    sides, memory = {}, {}
    for name in ("PyTorch", "ssl_jax"):
        sides[name] = Side("benchmarks.generation", "--serve", name, str(prompt), str(new))
        sides[name].ask("generate")  # warms up
        memory[name] = sides[name].ask("memory")  # before the array that the bandwidth is measured with
    times = {name: [] for name in sides}
    spent = {name: [] for name in sides}
    bandwidths = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(side.ask("generate"))
            spent[name].append(side.ask("cpu"))
        for name, side in sides.items():
            bandwidths[name].append(side.ask("bandwidth"))
    for side in sides.values():
        side.close()

    bandwidth = max(statistics.median(each) for each in bandwidths.values())
    limit = BATCH * bandwidth * 1e9 / bytes_read(prompt, new)
    print(
        f"GPT-2 small, {BATCH} x {new} new tokens after {prompt}, float32, {THREADS} threads, {rounds} rounds"
    )
    for name in sides:
        rate = BATCH * new / statistics.median(times[name])
        print(
            f"  {name:8} {rate:6.1f} tokens/s   {ratio(times['PyTorch'], times[name]):.2f} x the peer"
            f"   {rate / limit:.0%} of the limit   {statistics.median(spent[name]):5.2f} CPU s"
            f"   {memory[name]:5.0f} MiB at most"
        )
    print(
        f"  limit    {limit:6.1f} tokens/s: {bytes_read(prompt, new) / 1e6:.0f} MB a step at {bandwidth:.1f} GB/s"
    )


def bytes_read(prompt, new):
    """Bytes of weights and, on average over the tokens, of the cache that a step has to read."""
    layer = 12 * WIDTH**2 + 13 * WIDTH
    weights = LAYERS * layer + 2 * WIDTH + VOCAB * WIDTH
    cache = 2 * LAYERS * BATCH * (prompt + new / 2) * WIDTH
    return 4 * (weights + cache)


def clocked(write):
    """`generate`: seconds that `write()` takes; `cpu`: seconds of processor that it took the last time."""
    cpu = []

    def generate():
        before, start = time.process_time(), time.perf_counter()
        write()
        cpu.append(time.process_time() - before)
        return time.perf_counter() - start

    return {"generate": generate, "cpu": lambda: cpu[-1]}


def prompts(prompt):
    return np.random.default_rng(0).integers(0, VOCAB, (BATCH, prompt), dtype=np.int32)


def ours(prompt, new):
    """What our side can be asked for: see `clocked`; and GB/s of reading as `bandwidth`."""
    import jax
    import jax.numpy as jnp

    from ssl_jax.decoding.decoder import causal_decoder, prepare
    from ssl_jax.decoding.generate import generate
    from ssl_jax.models.gpt2 import SIZES, Gpt2

    model = Gpt2(SIZES["small"])
    decoder = causal_decoder(model)
    token = jnp.zeros((1, 1), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), token)["params"]
    chance = np.random.default_rng(0)
    params = jax.tree.map(lambda x: 0.02 * chance.standard_normal(x.shape, np.float32), shapes)
    params = prepare(decoder, params)
    tokens, lengths = prompts(prompt), np.full(BATCH, prompt)

    def write():
        generate(decoder, params, tokens, lengths, max_new_tokens=new, end=None)

    multiply = jax.jit(jnp.matmul)

    def bandwidth():
        matrix, vector = jnp.ones((READ // 4096, 4096)), jnp.ones(4096)

        def read(calls):
            for _ in range(calls):
                multiply(matrix, vector).block_until_ready()

        return READ * 4e-9 / timed(read, 4)

    return clocked(write) | {"bandwidth": bandwidth}


def peer(prompt, new):
    """The same of PyTorch."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(THREADS)
    sizes = {
        "vocab_size": VOCAB,
        "n_positions": POSITIONS,
        "n_layer": LAYERS,
        "n_embd": WIDTH,
        "n_head": HEADS,
    }
    model = GPT2LMHeadModel(GPT2Config(**sizes)).eval()
    tokens = torch.tensor(prompts(prompt), dtype=torch.long)
    mask = torch.ones_like(tokens)

    def write():
        model.generate(
            tokens,
            attention_mask=mask,
            do_sample=False,
            use_cache=True,
            min_new_tokens=new,
            max_new_tokens=new,
            pad_token_id=0,
            eos_token_id=None,
        )

    def bandwidth():
        array = torch.ones(READ)

        def read(calls):
            for _ in range(calls):
                array.sum()

        return READ * 4e-9 / timed(read, 4)

    return clocked(write) | {"bandwidth": bandwidth}


if __name__ == "__main__":
    main()
