"""Codes as bytes, and back: range coding under the probabilities of the model that wrote them.

A range coder (Martin 1979; here that of the library constriction) spends -log2 p bits on a code of probability p, up
to a few bytes at the end. Both sides must have the same probabilities to the last bit, or all that follows is lost.
Therefore both run the same compiled program, one code after the other and in batches of one shape; the coder rounds
what it gives to integers of 24 bits. Another kind of machine, or another version of the compiler, may compute others: a
file holds a checksum of its codes, so that this is an error and not another image.
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

from ssl_jax.decoding.decoder import Decoder, Memory, prepare
from ssl_jax.errors import UserError
from ssl_jax.method import Tree

ROWS = 64
"""Images that are coded side by side; a last batch is filled up."""
MAGIC = b"SJC1"
HEADER = struct.Struct(">4s8sIII")
"""Magic, fingerprint of the model, number of images, checksum of what follows, checksum of the codes."""
FAMILY = constriction.stream.model.Categorical(perfect=False)
Code = Callable[[np.ndarray, int], np.ndarray]
"""(probabilities [images, codes], the place) -> codes [images]."""


def fingerprint(variables: Tree) -> bytes:
    """Eight bytes that tell a model from others, of its arrays' names, shapes and values."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()[:8]


def compress(decoder: Decoder, params: Tree, codes: np.ndarray, *, begin: int, model: bytes) -> bytes:
    """The content of a file.

    Args:
      decoder, params: of the model.
      codes: int `[images, places]`.
      begin: the token before the first code.
      model: the model's fingerprint, 8 bytes.
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
    # The last bytes that are zero need not be written: a decoder takes what is missing for zeros.
    payload = encoder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")
    return HEADER.pack(MAGIC, model, len(codes), zlib.crc32(payload), _checksum(codes)) + payload


def decompress(
    decoder: Decoder, params: Tree, content: bytes, *, places: int, begin: int, model: bytes, name: str
) -> np.ndarray:
    """int32 `[images, places]`, the codes that `compress` was given.

    Args:
      name: of the file, for errors.

    Raises:
      UserError: the content is no such file, truncated or damaged, of another model, or decodes to other codes than
        were written, because this machine computes other probabilities.
    """
    if len(content) < HEADER.size or content[:4] != MAGIC:
        raise UserError(
            f"{name}: not a file of codes, or cut off within its header of {HEADER.size} bytes; expected one that "
            "experiments.compression wrote."
        )
    _, written_by, images, payload_sum, codes_sum = HEADER.unpack_from(content)
    payload = content[HEADER.size :]
    if zlib.crc32(payload) != payload_sum:
        raise UserError(
            f"{name}: truncated or damaged ({len(payload)} bytes of codes, whose checksum is not that of its header); "
            "copy it anew."
        )
    if written_by != model:
        raise UserError(
            f"{name}: written by model {written_by.hex()}, and this one is {model.hex()}; its codes mean nothing to "
            "another model. Give the run and checkpoint that wrote it."
        )
    words = np.frombuffer(payload + b"\0" * (8 + -len(payload) % 4), ">u4").astype(np.uint32)
    coder, params = constriction.stream.queue.RangeDecoder(words), prepare(decoder, params)
    found = [np.zeros((0, places), np.int32)]
    for first in range(0, images, ROWS):
        rows = np.zeros((min(ROWS, images - first), places), np.int32)

        def get(probabilities: np.ndarray, place: int, rows: np.ndarray = rows) -> np.ndarray:
            rows[:, place] = coder.decode(FAMILY, probabilities)
            return rows[:, place]

        _walk(decoder, params, begin, rows.shape, get)
        found.append(rows)
    codes = np.concatenate(found)
    if _checksum(codes) != codes_sum:
        raise UserError(
            f"{name}: the model's probabilities differ from those it was written with, as they may on another kind of "
            "machine or with other versions of jax; decode it where it was written. The file is sound."
        )
    return codes


def _walk(decoder: Decoder, params: Tree, begin: int, shape: tuple[int, int], code: Code) -> None:
    """Calls `code` for place after place of `shape` [images, places], with the probabilities given those before."""
    images, places = shape
    tokens = np.zeros(ROWS, np.int32)
    probabilities, memory = _begin(decoder, places - 1, params, np.full((ROWS, 1), begin, np.int32))
    for place in range(places):
        tokens[:images] = code(np.asarray(probabilities)[:images], place)
        if place + 1 < places:
            probabilities, memory = _next(decoder, params, tokens.copy(), memory)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(decoder: Decoder, room: int, params: Tree, prompts: jax.Array) -> tuple[jax.Array, Memory]:
    logits, memory = decoder.start(params, prompts, jnp.ones(len(prompts), jnp.int32), room)
    return jax.nn.softmax(logits), memory


@functools.partial(jax.jit, static_argnums=0)
def _next(decoder: Decoder, params: Tree, tokens: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
    logits, memory = decoder.step(params, tokens, memory)
    return jax.nn.softmax(logits), memory


def _checksum(codes: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(codes, ">i4").tobytes())
