"""The contract of all model families: vectors in, vectors out. B sources, N rows (k beams a source:
N = k * B), S, T time, D d_model.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from torch import Tensor, nn

from lslm_lightning.models.embedding import Marked, TokenEmbedding
from lslm_lightning.models.heads import Head

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

Nested: TypeAlias = Union[Tensor, tuple["Nested", ...]]  # noqa: UP007  a string cannot be or-ed
State: TypeAlias = Nested
Shared: TypeAlias = Nested


class Backbone(nn.Module, ABC):
    """A network without words: the task embeds tokens (or sounds) before it and projects its
    vectors to whatever is predicted.

    With `n_encoder_layer == 0` it is a decoder-only language model, with `n_decoder_layer == 0` an
    encoder. Padding is on the right only, and every `pad` is True where padded.
    """

    d_model: int
    n_encoder_layer: int
    n_decoder_layer: int
    has_bounded_state = False
    """Whether the state keeps its size, however much was read: it can be carried through a text
    without an end.
    """

    tokenizer_digest: str | None = None
    """Of the only tokenizer whose ids mean anything to it; None where any will do."""

    settled: dict[str, Any] = {}  # noqa: RUF012 (never written to)
    """Settings that were read elsewhere when it was built; a run keeps them, so as not to need that
    place again.
    """

    def words(
        self, vocab_size: int, head: Callable[[int, int], Head], scale_embedding: bool
    ) -> tuple[nn.Module, Head]:
        """What turns ids (B, T) into its inputs, by a `weight` (V, D), and its outputs into scores
        of words.

        Args:
            head: called with (vocab_size, d_model).
            scale_embedding: multiply token vectors by sqrt(d_model).
        """
        scale = math.sqrt(self.d_model) if scale_embedding else None
        return TokenEmbedding(vocab_size, self.d_model, scale), head(vocab_size, self.d_model)

    def marks(self, sizes: Sequence[int]) -> nn.Module:
        """What adds to its inputs the marks that each bears, each (B, T) integers below its size:
        which of two texts it belongs to, say.

        Raises:
            ValueError: it has no place for so many.
        """
        return Marked(sizes, self.d_model)

    def begin(self) -> None:
        """Called where training begins: take weights that were trained before, unless some were
        loaded already.
        """

    @property
    def longest(self) -> int | None:
        """The most positions that it can tell apart; None where there is no such limit."""
        limits = [getattr(module, "max_length", None) for module in self.modules()]
        return min((limit for limit in limits if limit is not None), default=None)

    def blocks(self) -> list[nn.Module]:
        """Modules whose weights are gathered one after the other where each process holds a part of
        them: none for all at once.
        """
        return []

    def check_encode(self) -> None:
        """Raise ValueError where there is no encoder."""
        if not self.n_encoder_layer:
            raise ValueError(
                "n_encoder_layer=0 leaves nothing to encode with; raise it, or call decode alone"
            )

    def check_decode(self, memory: Shared | None) -> None:
        """Raise ValueError where there is no decoder, or a memory without an encoder, or the other
        way round.
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

    def split(self, mesh: "DeviceMesh") -> None:
        """Spread the work of each layer over the processes of `mesh`, by the network's own plan.

        Raises:
            ValueError: it has none, or its sizes do not share out evenly.
        """
        raise self._lacks_plan()

    def part(self, n: int) -> None:
        """Cut down to what each of `n` processes would compute of every layer after `split`, as
        shapes to plan with.

        Raises:
            ValueError: as for `split`.
        """
        raise self._lacks_plan()

    def _lacks_plan(self) -> ValueError:
        return ValueError(
            f"{type(self).__name__} has no plan for tensor parallelism: set tensor_parallel_size=1"
        )

    @abstractmethod
    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Memory (B, S, D) of a source x (B, S, D) with pad (B, S); what stands where the source is
        padded means nothing.
        """

    @abstractmethod
    def remember(self, memory: Tensor) -> Shared:
        """What decoding needs of a memory (B, S, D), computed once a source: a nested tuple of
        batch-first tensors.
        """

    @abstractmethod
    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: Shared | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Outputs (N, T, D) for the next T inputs x (N, T, D), each seeing only itself and what
        came before, and the state after them.

        The state is a nested tuple of batch-first tensors. Reorder its rows at will, but pass it on
        only once: the call may write into it. Where `pad` (N, T) is True nothing is added to it:
        the next input of that row follows its last real one.

        Args:
            memory: of `encode` (B, S, D), or what `remember` made of it; None exactly if there is
                no encoder. N may be k * B: rows i * k to i * k + k - 1 then read source i.
            memory_pad: (B, S).
            state: None starts anew.
        """
