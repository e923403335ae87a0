"""Interface of all model families, which map vectors to vectors.

Axes: B sources, N rows (N = k * B for k beams per source), S source time, T time, D d_model.
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
    """Network from vectors to vectors, without embedding and output head. The task embeds tokens or
    audio features before it, and projects its outputs to scores.

    With `n_encoder_layer == 0` it is a decoder-only language model, with `n_decoder_layer == 0` an
    encoder. Padding is on the right only. All arguments `pad` are masks that are True where padded.
    """

    d_model: int
    n_encoder_layer: int
    n_decoder_layer: int
    has_bounded_state = False
    """True if the size of the decoder state does not depend on the length of the text. The state
    can then be carried along an endless text.
    """

    has_ragged_state = True
    """True if rows that have read different numbers of inputs may have one state."""

    can_compile = False
    """True if `torch.compile` makes one graph of `encode` and `decode` in training."""

    path: str | None = None
    """Folder or hub id of the pretrained weights; None if the network has none."""

    tokenizer_digest: str | None = None
    """Digest of the tokenizer whose ids the network needs; None if any tokenizer will do."""

    resolved_config: JsonObject = {}  # noqa: RUF012 (never written to)
    """Constructor arguments that were read from files when the network was built. A run records
    them, so that the network can be loaded without these files.
    """

    def embedding_and_head(
        self, vocab_size: int, head: Callable[[int, int], Head], scale_embedding: bool
    ) -> tuple[nn.Module, Head]:
        """Return the module that embeds ids (B, T) for this network, and the head that maps outputs
        of the network to scores of tokens.

        The embedding has an attribute `weight` (V, D).

        Args:
            vocab_size: V, number of tokens.
            head: class of the head, called with (vocab_size, d_model).
            scale_embedding: multiply token vectors by sqrt(d_model).
        """
        scale = math.sqrt(self.d_model) if scale_embedding else None
        return TokenEmbedding(vocab_size, self.d_model, scale), head(vocab_size, self.d_model)

    def feature_embeddings(self, sizes: Sequence[int]) -> nn.Module:
        """Return a module that adds embeddings of integer features to the inputs of this network. A
        feature, such as the segment (first or second text), is a tensor (B, T).

        Args:
            sizes: number of values of each feature; its values go from 0 to below this number.

        Raises:
            ValueError: this network cannot take so many features.
        """
        return FeatureEmbedding(sizes, self.d_model)

    def load_pretrained_weights(self) -> None:
        """Load pretrained weights, unless weights were loaded already. Called when training begins;
        does nothing by default.
        """

    @property
    def network(self) -> nn.Module:
        """Network that gets an adapter; by default this module."""
        return self

    @property
    def max_positions(self) -> int | None:
        """Largest number of positions that the network can encode; None if unlimited."""
        limits = [getattr(module, "max_length", None) for module in self.modules()]
        return min((limit for limit in limits if limit is not None), default=None)

    def blocks(self) -> list[nn.Module]:
        """Return the modules whose parameters are gathered one after the other in sharded training
        (FSDP). If the list is empty, all parameters are gathered at once.
        """
        return []

    def check_encode(self) -> None:
        """Check that there is an encoder.

        Raises:
            ValueError: `n_encoder_layer` is 0.
        """
        if not self.n_encoder_layer:
            raise ValueError(
                "n_encoder_layer=0 leaves nothing to encode with; raise it, or call decode alone"
            )

    def check_decode(self, memory: EncoderState | None) -> None:
        """Check that there is a decoder, and that `memory` is given exactly if there is an encoder.

        Raises:
            ValueError: a check fails.
        """
        if not self.n_decoder_layer:
            raise ValueError(
                "n_decoder_layer=0 leaves nothing to decode with; raise it, or call encode alone"
            )
        if (memory is None) != (self.n_encoder_layer == 0):
            raise ValueError(
                f"memory is {'missing' if memory is None else 'given'}, but n_encoder_layer="
                f"{self.n_encoder_layer}: give the output of encode() if and only if there is an "
                "encoder"
            )

    def apply_tensor_parallel(self, mesh: "DeviceMesh") -> None:
        """Distribute the work of each layer over the processes of `mesh` (tensor parallelism).

        Raises:
            ValueError: this network does not support it, or its sizes are no multiples of the
                number of processes.
        """
        raise self._lacks_plan()

    def shard_shapes(self, n: int) -> None:
        """Shrink the parameters to the shapes that each of `n` processes holds after
        `apply_tensor_parallel`. The result serves only to estimate memory.

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
        """Return the encoder output ("memory") (B, S, D) of a source x (B, S, D). Padded positions
        of the output are undefined.

        Args:
            pad: (B, S), True where x is padded.
        """

    @abstractmethod
    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        """Return the keys and values, or similar data, that decoding needs of an encoder output
        `memory` (B, S, D), as a nested tuple of batch-first tensors. They are computed once for
        each source.
        """

    def state_prefix(self, state: State, n: int) -> State:
        """Return the decoder state after the first n inputs of every row, given the state after at
        least as many; None if it does not hold it.
        """
        return None

    @abstractmethod
    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Return the outputs (N, T, D) for the next T inputs x (N, T, D), and the new decoder
        state.

        Each output depends on its own input and the inputs before it. The state is a nested tuple
        of batch-first tensors, whose rows may be reordered. It may be passed on only once, since a
        call may write into it.

        Args:
            pad: (N, T), True where x is padded. Padding is not added to the state: the next input
                of a row follows its last real input.
            memory: encoder output (B, S, D), or the result of `precompute_cross_attention`; None
                exactly if there is no encoder. N may be k * B: rows i * k to i * k + k - 1 then
                belong to source i.
            memory_pad: (B, S), True where the source is padded.
            state: state returned for the earlier inputs; None at first.
        """


def check_layers(n_encoder_layer: int, n_decoder_layer: int) -> None:
    """Check that the numbers of layers are not negative, and that at least one is above 0.

    Raises:
        ValueError: a number is negative, or both are 0.
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
