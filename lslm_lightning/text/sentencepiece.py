"""Reader of SentencePiece unigram models that does not need the package `sentencepiece`."""

from pathlib import Path

import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from lslm_lightning.text.tokenizer import rust_errors

# of SentencePiece's own enumerations
UNIGRAM = 1
NORMAL = 1
USER_DEFINED = 4
UNKNOWN = "\0"  # a name that no text has: normalization drops it


def read_pieces(path: Path) -> tokenizers.Tokenizer:
    """Return a tokenizer backend whose tokens are the pieces of a `.spm` file.

    Text that no piece covers becomes a separate token. The ids have no meaning; callers map the
    pieces to the ids of their model.

    Raises:
        ValueError: the file is not a SentencePiece model, or the model is not a unigram model.
    """
    from google.protobuf.message import DecodeError
    from transformers.utils import sentencepiece_model_pb2_new as layout

    proto = layout.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError:
        raise ValueError(f"{path} is no model of SentencePiece; fetch it again") from None
    if proto.trainer_spec.model_type != UNIGRAM:
        raise ValueError(f"{path} is no unigram model of SentencePiece: only these are supported")
    pieces = [
        (piece.piece, piece.score) for piece in proto.pieces if piece.type in (NORMAL, USER_DEFINED)
    ]
    rules = proto.normalizer_spec
    with rust_errors(f"{path} is no model of SentencePiece", "fetch it again"):
        backend = tokenizers.Tokenizer(models.Unigram([(UNKNOWN, 0.0), *pieces], unk_id=0))
        steps: list[normalizers.Normalizer] = (
            [normalizers.Precompiled(rules.precompiled_charsmap)]
            if rules.precompiled_charsmap
            else []
        )
    if rules.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        "▁", "always" if rules.add_dummy_prefix else "never", split=False
    )
    return backend
