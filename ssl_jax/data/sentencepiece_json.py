"""A SentencePiece model as a `tokenizer.json` of the tokenizers library, which most programs read.

The library normalises grapheme by grapheme, SentencePiece by the longest match, so that a few rare sequences of
combining characters have other pieces there.
"""

import itertools
from collections.abc import Mapping

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ssl_jax.errors import UserError

_SPACE = "▁"


def sentencepiece_json(model: bytes) -> str:
    """Converts a model, unigram or BPE.

    Args:
      model: contents of its file.

    Raises:
      UserError: the model splits text into words or characters.
    """
    # Needs a newer protobuf than Apache Beam has, and tokenizers are also read where ssl_jax.prepare runs.
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    trained, normalizing = proto.trainer_spec, proto.normalizer_spec
    scores = {piece.piece: piece.score for piece in proto.pieces}
    core: models.Model
    if trained.model_type == trained.UNIGRAM:
        core = models.Unigram([*scores.items()], unk_id=trained.unk_id, byte_fallback=trained.byte_fallback)
    elif trained.model_type == trained.BPE:
        core = models.BPE(
            {piece: number for number, piece in enumerate(scores)},
            _merges(scores),
            unk_token=trained.unk_piece,
            fuse_unk=True,
            byte_fallback=trained.byte_fallback,
        )
    else:
        raise UserError(
            "the SentencePiece tokenizer splits text into words or characters; expected a unigram or BPE model, which "
            "are the ones that a tokenizer.json can hold."
        )
    converted = tokenizers.Tokenizer(core)
    steps = []
    if normalizing.precompiled_charsmap:
        steps.append(normalizers.Precompiled(normalizing.precompiled_charsmap))
    if normalizing.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    converted.normalizer = normalizers.Sequence(steps)
    # Pieces are found in the whole text, as SentencePiece does, not word by word.
    scheme = "always" if normalizing.add_dummy_prefix else "never"
    converted.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme=scheme, split=False)
    last = decoders.Strip(" ", 1, 0) if normalizing.add_dummy_prefix else decoders.Fuse()
    converted.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), last]
    )
    return converted.to_str()


def _merges(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The merges of a BPE, first those of the pieces with the highest scores."""
    by_rank = sorted(scores, key=lambda piece: -scores[piece])
    splits = itertools.chain.from_iterable(
        ((piece[:i], piece[i:]) for i in range(1, len(piece))) for piece in by_rank
    )
    return [(left, right) for left, right in splits if left in scores and right in scores]
