"""Interface of all model families: vectors in, vectors out.

Axes: B sources, N rows (k beams a source: N = k * B), S source time, T time, D d_model.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn

from lslm_lightning.models.embedding import FeatureEmbedding, TokenEmbedding
from lslm_lightning.models.heads import Head
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

NestedTensors: TypeAlias = Any  # a tensor or a nested tuple of tensors, batch first
State: TypeAlias = NestedTensors
EncoderState: TypeAlias = NestedTensors


class Backbone(nn.Module, ABC):
    """Network from vectors to vectors, without embedding and output head: the task embeds tokens
    (or audio features) before it and projects its outputs to scores.

    With `n_encoder_layer == 0` it is a decoder-only language model, with `n_decoder_layer == 0` an
    encoder. Padding is on the right only, and every `pad` is True where padded.
    """

    d_model: int
    n_encoder_layer: int
    n_decoder_layer: int
    has_bounded_state = False
    """True if the state does not grow with the text, so that it can be carried through an endless
    one.
    """

    tokenizer_digest: str | None = None
    """Digest of the only tokenizer whose ids the network knows; None if it takes any."""

    resolved_config: JsonObject = {}  # noqa: RUF012 (never written to)
    """Constructor arguments that were read from files when the network was built; a run records
    them, so that it can be loaded without these files.
    """

    def embedding_and_head(
        self, vocab_size: int, head: Callable[[int, int], Head], scale_embedding: bool
    ) -> tuple[nn.Module, Head]:
        """Return the module that embeds ids (B, T) as inputs of this network, and the head that
        maps its outputs to scores of tokens.

        The embedding has a `weight` (V, D).

        Args:
            head: called with (vocab_size, d_model).
            scale_embedding: multiply token vectors by sqrt(d_model).
        """
        scale = math.sqrt(self.d_model) if scale_embedding else None
        return TokenEmbedding(vocab_size, self.d_model, scale), head(vocab_size, self.d_model)

    def feature_embeddings(self, sizes: Sequence[int]) -> nn.Module:
        """Return a module that adds embeddings of integer features, such as the segment (first or
        second text), to the inputs of this network.

        Args:
            sizes: number of values of each feature; a feature is (B, T) integers from 0 to below
                its size.

        Raises:
            ValueError: this network cannot take so many features.
        """
        return FeatureEmbedding(sizes, self.d_model)

    def load_pretrained_weights(self) -> None:
        """Load pretrained weights, unless weights were loaded already; called when training begins.
        Does nothing by default.
        """

    @property
    def max_positions(self) -> int | None:
        """Largest number of positions that the network can tell apart; None if unlimited."""
        limits = [getattr(module, "max_length", None) for module in self.modules()]
        return min((limit for limit in limits if limit is not None), default=None)

    def blocks(self) -> list[nn.Module]:
        """Return the modules whose parameters are gathered one after the other under sharded
        training (FSDP); an empty list gathers all at once.
        """
        return []

    def check_encode(self) -> None:
        """Check that there is an encoder.

        Raises:
            ValueError: there is none.
        """
        if not self.n_encoder_layer:
            raise ValueError(
                "n_encoder_layer=0 leaves nothing to encode with; raise it, or call decode alone"
            )

    def check_decode(self, memory: EncoderState | None) -> None:
        """Check that there is a decoder, and that `memory` is given exactly if there is an encoder.

        Raises:
            ValueError: one of the two is not so.
        """
        if not self.n_decoder_layer:
            raise ValueError(
                "n_decoder_layer=0 leaves nothing to decode with; raise it, or call encode alone"
            )
        if (memory is None) != (self.n_encoder_layer == 0):
            raise ValueError(
                "memory must be given exactly if there is an encoder, but "
                f"n_encoder_layer={self.n_encoder_layer}"
            )

    def apply_tensor_parallel(self, mesh: "DeviceMesh") -> None:
        """Distribute the work of each layer over the processes of `mesh` (tensor parallelism).

        Raises:
            ValueError: this network has no plan for it, or its sizes are no multiples of the number
                of processes.
        """
        raise self._lacks_plan()

    def shard_shapes(self, n: int) -> None:
        """Shrink the parameters to the shapes that each of `n` processes would hold after
        `apply_tensor_parallel`, to plan memory with.

        Raises:
            ValueError: as in `apply_tensor_parallel`.
        """
        raise self._lacks_plan()

    def _lacks_plan(self) -> ValueError:
        return ValueError(
            f"{type(self).__name__} has no plan for tensor parallelism: set tensor_parallel_size=1"
        )

    @abstractmethod
    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return the encoder output ("memory") (B, S, D) of a source x (B, S, D) with padding `pad`
        (B, S); padded positions of the output are undefined.
        """

    @abstractmethod
    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        """Return what decoding needs of a memory (B, S, D), computed once for each source: a nested
        tuple of batch-first tensors.
        """

    @abstractmethod
    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Return the outputs (N, T, D) for the next T inputs x (N, T, D), and the decoder state
        after them.

        Each output depends on its own input and on those before it. The state is a nested tuple of
        batch-first tensors. Its rows may be reordered, but it may be passed on only once: the call
        may write into it. Where `pad` (N, T) is True nothing is added to it: the next input of that
        row follows its last real one.

        Args:
            memory: encoder output (B, S, D), or what `precompute_cross_attention` made of it; None
                exactly if there is no encoder. N may be k * B: rows i * k to i * k + k - 1 then
                belong to source i.
            memory_pad: (B, S), True where the source is padded.
            state: state after earlier inputs; None at the first.
        """


def check_layers(n_encoder_layer: int, n_decoder_layer: int) -> None:
    """Check that no number of layers is negative and one of them is above 0.

    Raises:
        ValueError: one is negative, or both are 0.
    """
    if n_encoder_layer < 0 or n_decoder_layer < 0:
        raise ValueError(
            f"n_encoder_layer={n_encoder_layer} and n_decoder_layer={n_decoder_layer} must "
            "not be negative"
        )
    if n_encoder_layer + n_decoder_layer == 0:
        raise ValueError(
            "n_encoder_layer=0 and n_decoder_layer=0 leave no layer; one of them must be above 0"
        )
