"""Fine-tuning BERT-mini to classify sentences, and applying it, beside transformers on PyTorch in the same run.

    tests/parity/run.sh python -m benchmarks.fine_tuning [--rounds 7] [--length 128] [--without compiled]

Training: forward, loss, backward, clipping of the global norm and AdamW, with dropout 0.1; prediction: logits. 32 rows
of 128 tokens without padding, a vocabulary of 30,522, three classes, float32, two threads. Ours are the compiled step
of the training loop, which also sums the metrics, and the function of `ssl_jax.predict`; the peers are
`BertForSequenceClassification` with scaled dot-product attention, eager and through `torch.compile`. Each side is a
process of its own, so that its peak of memory is its own. They take turns.
"""

import argparse
import statistics

import numpy as np

from benchmarks.turns import Side, ratio, serve, take_turns, timed

BATCH, VOCAB, THREADS, CLASSES, DROPOUT = 32, 30522, 2, 3, 0.1
LAYERS, WIDTH, HEADS, MLP_WIDTH = 4, 256, 4, 1024
CLS, SEP, FIRST = 101, 102, 104
OURS, PEERS = "ssl_jax", ("eager", "compiled")
CALLS = {"train": 2, "predict": 4}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--without", choices=PEERS, nargs="*", default=[], help="peers to leave out")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        make = ours if arguments.serve == OURS else peer
        functions = make(arguments.serve, arguments.length)
        serve(
            {what: lambda many=many, what=what: timed(many, CALLS[what]) for what, many in functions.items()}
        )
        return
    names = [OURS, *(name for name in PEERS if name not in arguments.without)]
    sides = {
        name: Side("benchmarks.fine_tuning", "--serve", name, "--length", str(arguments.length))
        for name in names
    }
    print(
        f"BERT-mini, {BATCH} x {arguments.length} tokens, vocabulary {VOCAB}, dropout {DROPOUT}, {THREADS} threads"
    )
    for what in CALLS:
        asked = {name: lambda side=side, what=what: side.ask(what) for name, side in sides.items()}
        show(what, take_turns(asked, arguments.rounds), arguments.length)
    memory = ", ".join(f"{name} {side.ask('memory'):,.0f}" for name, side in sides.items())
    print(f"MiB at most: {memory}")
    for side in sides.values():
        side.close()


def show(what, seconds, length):
    """Prints the medians of the sides, and how much faster ours is than each peer."""
    rounds = len(seconds[OURS])
    print(f"{what}, medians of {rounds} rounds")
    for name, times in seconds.items():
        middle = statistics.median(times)
        faster = "" if name == OURS else f"   ssl_jax is {ratio(times, seconds[OURS]):.2f} times as fast"
        print(
            f"  {name:9} {middle * 1e3:7.1f} ms  {BATCH / middle:7.1f} sentences/s  "
            f"{flops(what, length) / middle / 1e9:5.0f} GFLOP/s{faster}"
        )


def flops(what, length):
    """Floating-point operations of the matrix products; the backward pass has two for each of the forward."""
    layer = 4 * WIDTH**2 + 2 * WIDTH * MLP_WIDTH + 2 * length * WIDTH
    return (3 if what == "train" else 1) * 2 * BATCH * length * LAYERS * layer


def rows(length):
    """(tokens, classes) of a batch."""
    chance = np.random.default_rng(0)
    tokens = chance.integers(FIRST, VOCAB, (BATCH, length), dtype=np.int32)
    tokens[:, 0], tokens[:, -1] = CLS, SEP
    return tokens, chance.integers(0, CLASSES, BATCH, dtype=np.int32)


def experiment(length):
    """BERT-mini with a classifier, as experiments.sequence_classification builds it."""
    from dataclasses import replace

    from experiments import bert
    from experiments.sequence_classification import OFFLINE, build
    from ssl_jax.models.bert import SIZES
    from ssl_jax.recipes.fine_tuning import EncoderConfig

    model = replace(SIZES["mini"], vocab_size=VOCAB)
    return build(
        replace(
            OFFLINE,
            from_scratch=True,
            length=length,
            labels=tuple("abcdefgh"[:CLASSES]),
            bert=replace(bert.OFFLINE, model=model),
            encoder=EncoderConfig(dropout=DROPOUT, attention_dropout=DROPOUT, head_dropout=DROPOUT),
            train=replace(OFFLINE.train, batch_size=BATCH),
        )
    )


def ours(name, length):
    import jax

    from ssl_jax.training.compiling import Program
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    built = experiment(length)
    mesh = make_mesh(built.mesh)
    program = Program(built, mesh)
    train_step = program.train_step(built.phases[0])
    tokens, label = rows(length)
    batch = {"tokens": tokens, "token_type_ids": np.zeros_like(tokens), "segment_ids": np.ones_like(tokens)}
    batch |= {"label": label, "example_weight": np.ones(BATCH, np.float32)}
    batch = jax.device_put(batch, batch_sharding(mesh))
    state, function = [program.initial_state()], jax.jit(built.predictor.function)
    params = jax.tree.map(lambda x: x.copy(), state[0].params)

    def train(calls):
        for _ in range(calls):
            state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state[0])

    def predict(calls):
        for _ in range(calls):
            jax.block_until_ready(function(params, {}, batch))

    return {"train": train, "predict": predict}


def peer(name, length):
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.set_num_threads(THREADS)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP_WIDTH,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        attn_implementation="sdpa",
        num_labels=CLASSES,
    )
    model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, fused=True)
    called = torch.compile(model) if name == "compiled" else model
    tokens, label = (torch.tensor(values, dtype=torch.long) for values in rows(length))
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    def train(calls):
        model.train()
        for _ in range(calls):
            optimizer.zero_grad(set_to_none=True)
            called(**inputs, labels=label).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    def predict(calls):
        model.eval()
        with torch.inference_mode():
            for _ in range(calls):
                called(**inputs)

    return {"train": train, "predict": predict}


if __name__ == "__main__":
    main()
