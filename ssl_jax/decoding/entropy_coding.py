"""Lossless compression of discrete codes, by range coding with the probabilities of an autoregressive model.

A range coder (Martin 1979; here that of the library constriction) needs -log2 p bits for a code of probability p, plus
a few bytes at the end. Encoder and decoder must have the same probabilities to the last bit, otherwise all following
codes are wrong. Therefore both run the same compiled program, one code at a time and in batches of one shape, and the
coder rounds the probabilities to integers of 24 bits. Another type of machine or another version of the compiler may
compute other probabilities. A file has a checksum of its codes, so that this is detected.
"""

import functools
import hashlib
import struct
import zlib
from collections.abc import Callable

import constriction
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder, DecodingState, prepare
from ssl_jax.errors import UserError
from ssl_jax.method import Tree

ROWS = 64
"""Number of images that are coded in parallel; the last batch is padded."""
MAGIC = b"SJC2"
HEADER = struct.Struct(">4s8sIII")
"""Magic number, fingerprint of the model, number of images, checksum of the codes, checksum of header and payload."""
FAMILY = constriction.stream.model.Categorical(perfect=False)
Code = Callable[[np.ndarray, int], np.ndarray]
"""`(probabilities [images, codes], place) -> codes [images]`."""


def fingerprint(variables: Tree) -> bytes:
    """Eight bytes of a hash of the names, shapes and values of a model's arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()[:8]


def compress(decoder: Decoder, params: Tree, codes: np.ndarray, *, begin: int, model: bytes) -> bytes:
    """Encodes codes as the content of a file.

    Args:
      decoder: decoder of the model.
      params: parameters of the model.
      codes: int `[images, places]`.
      begin: the token before the first code.
      model: fingerprint of the model, 8 bytes.
    """
    codes, params = np.asarray(codes, np.int32), prepare(decoder, params)
    encoder = constriction.stream.queue.RangeEncoder()
    for first in range(0, len(codes), ROWS):
        rows = codes[first : first + ROWS]

        def put(probabilities: np.ndarray, place: int, rows: np.ndarray = rows) -> np.ndarray:
            column = np.ascontiguousarray(rows[:, place])
            encoder.encode(column, FAMILY, probabilities)
            return column

        _walk(decoder, params, begin, rows.shape, put)
    # Trailing zero bytes need not be written: the decoder reads missing bytes as zeros.
    payload = encoder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")
    return _header(model, len(codes), _checksum(codes), payload) + payload


def decompress(
    decoder: Decoder,
    params: Tree,
    content: bytes,
    *,
    most: int,
    places: int,
    begin: int,
    model: bytes,
    name: str,
) -> np.ndarray:
    """Decodes the content of a file: the int32 codes `[images, places]` that `compress` was given.

    Args:
      decoder: decoder of the model.
      params: parameters of the model.
      content: content of the file.
      most: largest number of images that is accepted. The size of a file does not bound it: images that the model
        expects take next to nothing.
      places: number of codes per image.
      begin: the token before the first code.
      model: fingerprint of the model, 8 bytes.
      name: name of the file in errors.

    Raises:
      UserError: the content is not such a file, is truncated or damaged, or belongs to another model; or the decoded
        codes differ from those encoded, because this machine computes other probabilities.
    """
    if len(content) < HEADER.size or content[:4] != MAGIC:
        raise UserError(
            f"{name}: not a file of codes, or truncated within its header of {HEADER.size} bytes; expected a file that "
            "experiments.compression wrote."
        )
    _, written_by, images, codes_sum, _ = HEADER.unpack_from(content)
    payload = content[HEADER.size :]
    if content[: HEADER.size] != _header(written_by, images, codes_sum, payload):
        raise UserError(
            f"{name}: truncated or damaged (the checksum of its {len(content)} bytes is not that in its header); copy "
            "it again."
        )
    if written_by != model:
        raise UserError(
            f"{name}: written by model {written_by.hex()}, and this one is {model.hex()}, which cannot decode it. Give "
            "the run and checkpoint that wrote it."
        )
    if images > most:
        raise UserError(f"{name}: has {images:,} images; expected at most {most:,}.")
    other_probabilities = UserError(
        f"{name}: the model's probabilities differ from those it was written with, as they may on another type of "
        "machine or with another version of jax; decode it where it was written. The file is not damaged."
    )
    words = np.frombuffer(payload + b"\0" * (8 + -len(payload) % 4), ">u4").astype(np.uint32)
    coder, params = constriction.stream.queue.RangeDecoder(words), prepare(decoder, params)
    found = [np.zeros((0, places), np.int32)]
    for first in range(0, images, ROWS):
        rows = np.zeros((min(ROWS, images - first), places), np.int32)

        def get(probabilities: np.ndarray, place: int, rows: np.ndarray = rows) -> np.ndarray:
            try:
                rows[:, place] = coder.decode(FAMILY, probabilities)
            except AssertionError:  # no codes of these probabilities are coded like this
                raise other_probabilities from None
            return rows[:, place]

        _walk(decoder, params, begin, rows.shape, get)
        found.append(rows)
    codes = np.concatenate(found)
    if _checksum(codes) != codes_sum:
        raise other_probabilities
    return codes


def _header(model: bytes, images: int, codes_sum: int, payload: bytes) -> bytes:
    """The header of a file. Its last checksum finds any change of the header and of the payload."""
    first = HEADER.pack(MAGIC, model, images, codes_sum, 0)[:-4]
    return first + struct.pack(">I", zlib.crc32(payload, zlib.crc32(first)))


def _walk(decoder: Decoder, params: Tree, begin: int, shape: tuple[int, int], code: Code) -> None:
    """Calls `code` for each place, with the probabilities given the codes before it; `shape` is [images, places]."""
    images, places = shape
    tokens = np.zeros(ROWS, np.int32)
    probabilities, state = _begin(decoder, places - 1, params, np.full((ROWS, 1), begin, np.int32))
    for place in range(places):
        tokens[:images] = code(np.asarray(probabilities)[:images], place)
        if place + 1 < places:
            probabilities, state = _next(decoder, params, tokens.copy(), state)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(decoder: Decoder, room: int, params: Tree, prompts: jax.Array) -> tuple[jax.Array, DecodingState]:
    logits, state = decoder.start(params, prompts, jnp.ones(len(prompts), jnp.int32), room)
    return jax.nn.softmax(logits), state


@functools.partial(jax.jit, static_argnums=0)
def _next(
    decoder: Decoder, params: Tree, tokens: jax.Array, state: DecodingState
) -> tuple[jax.Array, DecodingState]:
    logits, state = decoder.step(params, tokens, state)
    return jax.nn.softmax(logits), state


def _checksum(codes: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(codes, ">i4").tobytes())
