"""Masking: tokens per second on the CPU, beside transformers' DataCollatorForLanguageModeling in the same run.

    tests/parity/run.sh python -m benchmarks.masking

Rows have equal lengths, so that the collator pads nothing. Its call on tokenized examples is what a data loader runs;
`torch_mask_tokens` alone starts from a tensor and a ready-made mask of special tokens, and draws a Bernoulli count.
Ours starts from arrays, finds the special tokens, draws an exact count and gathers the predictions. Sides take turns.
"""

import functools
import itertools
import os
import statistics
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.turns import take_turns, timed
from ssl_jax.transforms.masking import MaskingConfig, mask_batch

BATCH, LENGTH, VOCAB, THREADS = 32, 128, 30522, 2
CLS, SEP, MASK, FIRST = 101, 102, 103, 104
CALLS, ROUNDS = 100, 9


def main():
    tokens = np.random.default_rng(0).integers(FIRST, VOCAB, (BATCH, LENGTH), dtype=np.int32)
    tokens[:, 0], tokens[:, -1] = CLS, SEP
    sides = ours(tokens)
    try:
        sides |= peers(tokens)
    except ImportError as error:
        print(f"no peer to compare with: {error}")
    seconds = take_turns({name: lambda many=many: timed(many, CALLS) for name, many in sides.items()}, ROUNDS)
    rates = {name: BATCH * LENGTH / statistics.median(times) for name, times in seconds.items()}

    print(
        f"masking {BATCH} x {LENGTH} tokens, {len(os.sched_getaffinity(0))} cores; million tokens per second:"
    )
    best = rates["ssl_jax, tokens"]
    for name, rate in rates.items():
        print(f"  {name:36} {rate / 1e6:7.2f}" + (f"   ours is {best / rate:.1f} x" if name in PEERS else ""))


def ours(tokens):
    words = jnp.asarray(np.cumsum(np.random.default_rng(1).random(tokens.shape) < 0.7, axis=1), jnp.int32)
    arrays = (jnp.asarray(tokens), jnp.ones(tokens.shape, jnp.int32), words)
    keys = itertools.cycle(jax.random.split(jax.random.key(0), CALLS))

    def side(unit):
        config = MaskingConfig(unit=unit)
        mask = jax.jit(
            functools.partial(
                mask_batch, config=config, mask_id=MASK, special_ids=(0, CLS, SEP), vocab_size=VOCAB
            )
        )

        def many(calls):
            for _ in range(calls):
                masked = mask(next(keys), *arrays)
            jax.block_until_ready(masked)

        return many

    return {f"ssl_jax, {unit}s": side(unit) for unit in ("token", "word", "ngram")}


PEERS = ("collator, tokenized examples", "collator, lists of tokens", "collator, torch_mask_tokens alone")


def peers(tokens):
    import torch
    from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

    torch.set_num_threads(THREADS)
    special = np.isin(tokens, (CLS, SEP)).astype(int)
    rows = tokens.tolist()
    examples = [
        {"input_ids": row, "special_tokens_mask": mask}
        for row, mask in zip(rows, special.tolist(), strict=True)
    ]
    tensors = torch.tensor(tokens, dtype=torch.long), torch.tensor(special)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        vocabulary += [f"word{i}" for i in range(VOCAB - len(vocabulary))]
        file = Path(folder, "vocab.txt")
        file.write_text("\n".join(vocabulary))
        collator = DataCollatorForLanguageModeling(BertTokenizerFast(str(file)))

    def side(call):
        def many(calls):
            for _ in range(calls):
                call()

        return many

    calls = (
        lambda: collator(examples),
        lambda: collator(rows),
        lambda: collator.torch_mask_tokens(tensors[0].clone(), tensors[1]),
    )
    return {name: side(call) for name, call in zip(PEERS, calls, strict=True)}


if __name__ == "__main__":
    main()
