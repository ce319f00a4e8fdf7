"""BART's noise: tokens per second on the CPU, beside the paper's recipe in PyTorch, an example at a time.

    tests/parity/run.sh python -m benchmarks.noising [--rounds 9]

64 rows of 512 tokens; all sentences change places, then 30 % of the words are hidden in spans. Ours is one compiled
call on the batch. The peer is written after arXiv:1910.13461 and fairseq's denoising_dataset: whole words, Poisson
lengths, spans that grow token by token in vectorised steps, masks inserted for empty spans; then the batch is padded
and its targets shifted, in one thread, as in a worker of a data loader. The sides are processes of their own, so that
their peak memory, libraries included, can be told apart, and take turns. Target: 20 x.
"""

import argparse
import functools
import itertools
import math
import os
import statistics

import numpy as np

from benchmarks.turns import Side, ratio, serve, take_turns, timed

BATCH, LENGTH, VOCAB = 64, 512, 30522
PAD, BOS, EOS, MASK, STOP, FIRST = 0, 2, 3, 4, 5, 6
INFILLING, MEAN_SPAN = 0.3, 3.0
WORD_SHARE, SENTENCE = 0.7, 22  # of the tokens, those that begin a word; tokens in a sentence
OURS, PEER = "ssl_jax", "recipe in PyTorch"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", choices=[OURS, PEER], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        many, calls = (ours if arguments.side == OURS else peer)(*rows())
        serve({"seconds": lambda: timed(many, calls)})
        return

    sides = {name: Side("benchmarks.noising", "--side", name) for name in (OURS, PEER)}
    seconds = take_turns(
        {name: functools.partial(side.ask, "seconds") for name, side in sides.items()}, arguments.rounds
    )
    print(
        f"BART's noise on {BATCH} x {LENGTH} tokens, {len(os.sched_getaffinity(0))} cores, medians of ",
        end="",
    )
    print(f"{arguments.rounds} rounds:")
    for name, side in sides.items():
        rate = BATCH * LENGTH / statistics.median(seconds[name]) / 1e6
        beside = "" if name == OURS else f"   ours is {ratio(seconds[name], seconds[OURS]):.1f} x"
        print(f"  {name:20} {rate:8.3f} million tokens/s, {side.ask('memory'):5.0f} MiB{beside}")
        side.close()


def rows():
    """Full rows `[BATCH, LENGTH]`, and which tokens of the vocabulary begin a word."""
    chance = np.random.default_rng(0)
    begins_word = chance.random(VOCAB) < WORD_SHARE
    begins_word[STOP] = False
    tokens = chance.integers(FIRST, VOCAB, (BATCH, LENGTH), dtype=np.int32)
    tokens[chance.random(tokens.shape) < 1 / SENTENCE] = STOP
    tokens[:, 0], tokens[:, -2], tokens[:, -1] = BOS, STOP, EOS
    return tokens, begins_word


def ours(tokens, begins_word):
    import jax
    import jax.numpy as jnp

    from ssl_jax.transforms.noise import NoiseConfig, noise_batch

    text = np.ones(tokens.shape, bool)
    text[:, [0, -1]] = False
    after_stop = np.roll(tokens == STOP, 1, axis=1) | (np.arange(LENGTH) == 1)
    sentences = np.where(text, np.cumsum(after_stop & text, axis=1) - 1, -1)
    words = np.where(text, np.cumsum((begins_word[tokens] | after_stop) & text, axis=1) - 1, -1)
    arrays = [jnp.asarray(x) for x in (tokens, tokens != PAD, words, sentences)]
    config = NoiseConfig(permutation=1.0, infilling=INFILLING, mean_span=MEAN_SPAN)
    noise = jax.jit(functools.partial(noise_batch, config=config, mask_id=MASK, pad_id=PAD, start_id=EOS))
    calls = 100
    keys = itertools.cycle(jax.random.split(jax.random.key(0), calls))

    def many(calls):
        for _ in range(calls):
            corrupted = noise(next(keys), *arrays)
        jax.block_until_ready(corrupted)

    return many, calls


def peer(tokens, begins_word):
    import torch

    torch.set_num_threads(1)  # as data loaders set it; the tensors are small
    examples = [torch.from_numpy(row).long() for row in tokens]
    begins_word = torch.from_numpy(begins_word)

    def many(calls):
        for _ in range(calls):
            collate([corrupt(example, begins_word) for example in examples], examples)

    return many, 3


def corrupt(tokens, begins_word):
    """The source of one example."""
    return infill(permute(tokens), begins_word)


def permute(tokens):
    import torch

    ends = ((tokens == STOP).nonzero().squeeze(1) + 1).tolist()
    sentences = tokens[1:-1].split(np.diff([1, *ends]).tolist())
    order = torch.randperm(len(sentences)).tolist()
    return torch.cat([tokens[:1], *(sentences[i] for i in order), tokens[-1:]])


def infill(tokens, begins_word):
    import torch

    starts = begins_word[tokens]
    starts[1] = True
    starts[0] = starts[-1] = False
    places = starts.nonzero().squeeze(1)
    budget = math.ceil(INFILLING * len(places))
    lengths = torch.poisson(torch.full((budget,), MEAN_SPAN)).long()
    while lengths.sum() < budget:
        lengths = torch.cat([lengths, torch.poisson(torch.full((budget,), MEAN_SPAN)).long()])
    total = lengths.cumsum(0)
    last = int((total < budget).sum())
    lengths = lengths[: last + 1]
    lengths[last] -= total[last] - budget
    inserted = int((lengths == 0).sum())
    left = lengths[lengths > 0]

    at = places[torch.randperm(len(places))[: len(left)]]
    source, kept = tokens.clone(), torch.ones(len(tokens), dtype=torch.bool)
    source[at] = MASK
    ends_here = starts.clone()
    ends_here[-1] = True
    while len(at):  # every span grows by a token, until it has its words or meets the end
        at = at + 1
        left = left - ends_here[at].long()
        growing = (left > 0) & (at < len(tokens) - 1)
        at, left = at[growing], left[growing]
        kept[at] = False
    source = source[kept]
    if inserted:
        mask = torch.zeros(len(source) + inserted, dtype=torch.bool)
        mask[torch.randperm(len(mask) - 2)[:inserted] + 1] = True
        longer = torch.full((len(mask),), MASK)
        longer[~mask] = source
        source = longer
    return source


def collate(sources, targets):
    """Padded sources, decoder inputs and targets, `[BATCH, longest]`."""
    from torch.nn.utils.rnn import pad_sequence

    target = pad_sequence(targets, batch_first=True, padding_value=PAD)
    inputs = target.roll(1, dims=1)
    inputs[:, 0] = EOS
    return pad_sequence(sources, batch_first=True, padding_value=PAD), inputs, target


if __name__ == "__main__":
    main()
