"""The shuffled order in which examples are read: that of Grain, for many places at once.

Grain permutes the numbers of the examples by a block cipher, anew in each epoch, so that any place of any epoch is
known without a list. Its blocks have at least 16 bits. Where there are few examples, most blocks are no number of an
example, and each is enciphered again until one is: 45 times for 1,437 digits, 13 us for a place, more than the rest
of the reading takes. Here all blocks of an epoch are enciphered at once, 0.02 us for each, and kept. Data sets of one
seed and about one size, such as the classes of images, share the work.
"""

import functools

import grain
import numpy as np

BITS = 16
"""Of a block, if there are no more examples than such blocks."""
ROUNDS = 4
EPOCHS_KEPT = 4
"""Threads that read ahead are in one epoch or in the next one."""
EPOCHS_SHARED = 64
"""Of several data sets, the smaller ones are some epochs ahead of the others. 8 MB at most."""


class ShuffledOrder:
    """The order of `grain.MapDataset.range(count).seed(seed).shuffle().repeat()`.

    Args:
      count: of the examples, at least 1.
      seed: of the order.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._grain = grain.MapDataset.range(count).seed(seed).shuffle()
        # As Grain derives the seed of a shuffle from that of a data set, one operation before.
        self._seed = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
        self._permutation = functools.lru_cache(EPOCHS_KEPT)(functools.partial(permutation, count))

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Numbers of the examples at these places of the endless order, int64 as the places."""
        if self._count > 2**BITS:  # so many that a block seldom has to be enciphered again
            return np.array([self._grain[int(place)] % self._count for place in places], np.int64)
        epochs, within = np.divmod(np.asarray(places, np.int64), self._count)
        numbers = np.empty(len(epochs), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            numbers[here] = self._permutation((self._seed + int(epoch)) % 2**32)[within[here]]
        return numbers


def permutation(count: int, seed: int) -> np.ndarray:
    """uint16 `[count]`, where Grain's shuffle puts each of at most 2^16 numbers."""
    if count == 1:
        return np.zeros(1, np.uint16)
    return _among(_permutation_of_bits((count - 1).bit_length(), seed), count)


@functools.lru_cache(EPOCHS_SHARED)
def _permutation_of_bits(bits: int, seed: int) -> np.ndarray:
    """`permutation(2**bits, seed)`."""
    numbers = _encipher(np.arange(2**BITS), _round_keys(seed))
    # Halved time and again, few blocks have to be followed for long.
    for fewer in range(BITS - 1, bits - 1, -1):
        numbers = _among(numbers, 2**fewer)
    return numbers.astype(np.uint16)


def _among(permutation: np.ndarray, count: int) -> np.ndarray:
    """Where the first numbers come to when each is permuted until it is one of the first `count` again."""
    numbers = permutation[:count].copy()
    beyond = np.flatnonzero(numbers >= count)
    while len(beyond):
        numbers[beyond] = further = permutation[numbers[beyond]]
        beyond = beyond[further >= count]
    return numbers


def _encipher(blocks: np.ndarray, keys: list[int]) -> np.ndarray:
    """The Simon cipher (https://eprint.iacr.org/2013/404) of words of 8 bits, with few rounds and given keys."""
    left, right = (blocks >> 8).astype(np.uint8), blocks.astype(np.uint8)
    for key in keys:
        # A rotation by 8 bits changes nothing.
        left, right = right, left ^ (_rotated(right, 1) & right) ^ _rotated(right, 2) ^ np.uint8(key & 0xFF)
    return left.astype(np.int64) << 8 | right


def _rotated(words: np.ndarray, bits: int) -> np.ndarray:
    """Rotated to the left."""
    return words << np.uint8(bits) | words >> np.uint8(8 - bits)


def _round_keys(seed: int) -> list[int]:
    """The keys of the rounds: the numbers that C++'s `std::seed_seq` generates from a seed of 32 bits."""
    words, mask, (p, q) = [0x8B8B8B8B] * ROUNDS, 2**32 - 1, (1, 2)
    added = [1, 1 + seed, *range(2, ROUNDS)]
    for k in range(ROUNDS):
        mixed = words[k] ^ words[(k + p) % ROUNDS] ^ words[k - 1]
        first = 1664525 * (mixed ^ mixed >> 27) & mask
        second = first + added[k] & mask
        words[(k + p) % ROUNDS] = words[(k + p) % ROUNDS] + first & mask
        words[(k + q) % ROUNDS] = words[(k + q) % ROUNDS] + second & mask
        words[k] = second
    for k in range(ROUNDS):
        mixed = words[k] + words[(k + p) % ROUNDS] + words[k - 1] & mask
        first = 1566083941 * (mixed ^ mixed >> 27) & mask
        second = first - k & mask
        words[(k + p) % ROUNDS] ^= first
        words[(k + q) % ROUNDS] ^= second
        words[k] = second
    return words
