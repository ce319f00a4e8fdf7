"""A training step of BERT-mini on the CPU, beside transformers on PyTorch in the same run.

    tests/parity/run.sh python -m benchmarks.bert_step [--rounds 7] [--dropout 0.1 0.0]

Forward, both losses, backward, clipping of the global norm and AdamW; 32 rows of 128 tokens, a vocabulary of 30,522,
float32, two threads. Ours is the compiled step of the training loop, which also draws the masks and sums the metrics;
the peer is `BertForPreTraining` with scaled dot-product attention on rows that are masked already.

Gathered: ours computes the logits of the 20 predictions a row that its losses need, the peer those of all 128
positions, as it always does. Dense: ours is given room for 128 predictions a row, so that both compute 4,096 rows.
Each side is a process of its own, with large pages, so that its peak of memory is its own. They take turns.
"""

import argparse
import functools
import statistics

import numpy as np

from benchmarks.turns import Side, ratio, serve, timed

BATCH, LENGTH, VOCAB, THREADS = 32, 128, 30522, 2
LAYERS, WIDTH, HEADS, MLP_WIDTH = 4, 256, 4, 1024
CLS, SEP, MASK, FIRST = 101, 102, 103, 104
PREDICTIONS = 20
STEPS = 2
PRODUCTS = {
    "MLP block": (BATCH * LENGTH, WIDTH, MLP_WIDTH),
    "logits": (BATCH * PREDICTIONS, WIDTH, VOCAB),
    "2048 cubed": (2048, 2048, 2048),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.1, 0.0])
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(answers(*arguments.serve))
        return
    print(f"BERT-mini, {BATCH} x {LENGTH} tokens, vocabulary {VOCAB}, float32, {THREADS} threads")
    for dropout in arguments.dropout:
        compare(dropout, arguments.rounds)


def compare(dropout, rounds):
    """Prints speed, memory and share of the peak of the three sides at one rate of dropout."""
    names = ("peer", "gathered", "dense")
    sides, memory = {}, {}
    for name in names:
        predictions = PREDICTIONS if name == "gathered" else LENGTH
        sides[name] = Side("benchmarks.bert_step", "--serve", name, str(dropout), str(predictions))
        sides[name].ask("step")  # warms up
        memory[name] = sides[name].ask("memory")  # of the step, before any product is asked for
    peaks = {name: [] for name in ("peer", "gathered")}
    times = {name: [] for name in names}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(side.ask("step"))
        for name in peaks:
            peaks[name].append([sides[name].ask(what) for what in PRODUCTS])
    for side in sides.values():
        side.close()

    print(f"\ndropout {dropout}, medians of {rounds} rounds")
    peak = {name: np.median(values, axis=0) for name, values in peaks.items()}
    for name, label in (("gathered", "ssl_jax"), ("peer", "PyTorch")):
        rates = ", ".join(f"{rate:.0f} ({what})" for what, rate in zip(PRODUCTS, peak[name], strict=True))
        print(f"  matrix products, {label}: GFLOP/s {rates}")
    for name in names:
        seconds = statistics.median(times[name])
        rate = flops(PREDICTIONS if name == "gathered" else LENGTH) / seconds / 1e9
        faster = ratio(times["peer"], times[name])
        best = max(peak["peer" if name == "peer" else "gathered"])
        print(
            f"  {name:9} {seconds * 1e3:7.0f} ms {BATCH * LENGTH / seconds:8.0f} tokens/s   {faster:.2f} x the peer"
            f"   {rate:4.0f} GFLOP/s, {rate / best:.0%} of its peak   {memory[name]:5.0f} MiB at most"
        )


def flops(predictions):
    """Floating-point operations of a step's matrix products; the backward pass has two for each of the forward."""
    layer = 4 * WIDTH**2 + 2 * WIDTH * MLP_WIDTH + 2 * LENGTH * WIDTH
    head = WIDTH**2 + WIDTH * VOCAB
    return 3 * 2 * BATCH * (LENGTH * LAYERS * layer + predictions * head)


def answers(name, dropout, predictions):
    """What a side can be asked for: seconds a `step`, and GFLOP/s of each of the products."""
    step, product = peer(float(dropout)) if name == "peer" else ours(float(dropout), int(predictions))

    def rate(m, k, n):
        return 2e-9 * m * k * n / timed(product(m, k, n), 4)

    return {
        "step": lambda: timed(step, STEPS),
        **{what: functools.partial(rate, *sizes) for what, sizes in PRODUCTS.items()},
    }


def rows():
    chance = np.random.default_rng(0)
    tokens = chance.integers(FIRST, VOCAB, (BATCH, LENGTH), dtype=np.int32)
    tokens[:, 0], tokens[:, 64], tokens[:, -1] = CLS, SEP, SEP
    segments = np.broadcast_to(np.arange(LENGTH) > 64, tokens.shape).astype(np.int32)
    return chance, tokens, segments, chance.integers(0, 2, BATCH, dtype=np.int32)


def experiment(dropout, predictions, layers=LAYERS):
    """BERT-mini as experiments.bert builds it, with AdamW and a constant batch."""
    from dataclasses import replace

    from experiments.bert import OFFLINE, PhaseConfig, build
    from ssl_jax.models.bert import SIZES
    from ssl_jax.transforms.masking import MaskingConfig

    return build(
        replace(
            OFFLINE,
            model=replace(
                SIZES["mini"], layers=layers, vocab_size=VOCAB, dropout=dropout, attention_dropout=dropout
            ),
            masking=MaskingConfig(max_predictions=predictions),
            steps=1000,
            phases=(PhaseConfig(length=LENGTH),),
            train=replace(OFFLINE.train, batch_size=BATCH, micro_batches=1),
        )
    )


def ours(dropout, predictions):
    import jax
    import jax.numpy as jnp

    from ssl_jax.training.compiling import Program
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    built = experiment(dropout, predictions)
    mesh = make_mesh(built.mesh)
    program = Program(built, mesh)
    train_step = program.train_step(built.phases[0])
    _, tokens, segments, label = rows()
    words = np.broadcast_to(np.arange(LENGTH, dtype=np.int32), tokens.shape)
    batch = {"tokens": tokens, "token_type_ids": segments, "segment_ids": np.ones_like(tokens)}
    batch |= {"words": words, "label": label, "vocab_size": np.full(BATCH, VOCAB, np.int32)}
    batch |= {"example_weight": np.ones(BATCH, np.float32)}
    batch = jax.device_put(batch, batch_sharding(mesh))
    state = [program.initial_state()]

    def step(calls):
        for _ in range(calls):
            state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state[0])

    multiply = jax.jit(jnp.matmul)

    def product(m, k, n):
        a, b = jnp.ones((m, k)), jnp.ones((k, n))

        def many(calls):
            for _ in range(calls):
                multiply(a, b).block_until_ready()

        return many

    return step, product


def peer(dropout):
    import torch
    from transformers import BertConfig, BertForPreTraining

    torch.set_num_threads(THREADS)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP_WIDTH,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation="sdpa",
    )
    model = BertForPreTraining(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
    chance, tokens, segments, label = rows()
    predicted = chance.random(tokens.shape) < 0.15
    labels = np.where(predicted, tokens, -100)
    masked = np.where(predicted, MASK, tokens)
    inputs = {"input_ids": masked, "token_type_ids": segments, "attention_mask": np.ones_like(tokens)}
    inputs |= {"labels": labels, "next_sentence_label": label}
    inputs = {name: torch.tensor(value, dtype=torch.long) for name, value in inputs.items()}

    def step(calls):
        for _ in range(calls):
            optimizer.zero_grad(set_to_none=True)
            model(**inputs).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    def product(m, k, n):
        a, b = torch.ones(m, k), torch.ones(k, n)

        def many(calls):
            for _ in range(calls):
                torch.mm(a, b)

        return many

    return step, product


if __name__ == "__main__":
    main()
