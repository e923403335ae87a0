"""The contract of all model families: vectors in, vectors out. B sources, N rows (k beams a source: N = k * B), S, T time, D d_model."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias, Union

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

Nested: TypeAlias = Union[Tensor, tuple["Nested", ...]]  # noqa: UP007  a string cannot be or-ed
State: TypeAlias = Nested
Shared: TypeAlias = Nested


class Backbone(nn.Module, ABC):
    """A network without words: the task embeds tokens (or sounds) before it and projects its vectors to whatever is predicted.

    With `n_encoder_layer == 0` it is a decoder-only language model, with `n_decoder_layer == 0` an encoder.
    Padding is on the right only, and every `pad` is True where padded.
    """

    d_model: int
    n_encoder_layer: int
    n_decoder_layer: int

    @property
    def longest(self) -> int | None:
        """The most positions that it can tell apart; None where there is no such limit."""
        limits = [getattr(module, "max_length", None) for module in self.modules()]
        return min((limit for limit in limits if limit is not None), default=None)

    def blocks(self) -> list[nn.Module]:
        """Modules whose weights are gathered one after the other where each process holds a part of them: none for all at once."""
        return []

    def check_encode(self) -> None:
        """Raise ValueError where there is no encoder."""
        if not self.n_encoder_layer:
            raise ValueError("n_encoder_layer=0 leaves nothing to encode with; raise it, or call decode alone")

    def check_decode(self, memory: Shared | None) -> None:
        """Raise ValueError where there is no decoder, or a memory without an encoder, or the other way round."""
        if not self.n_decoder_layer:
            raise ValueError("n_decoder_layer=0 leaves nothing to decode with; raise it, or call encode alone")
        if (memory is None) != (self.n_encoder_layer == 0):
            raise ValueError(f"memory must be given exactly if there is an encoder, but n_encoder_layer={self.n_encoder_layer}")

    def split(self, mesh: "DeviceMesh") -> None:
        """Spread the work of each layer over the processes of `mesh`, by the network's own plan.

        Raises:
            ValueError: it has none, or its sizes do not share out evenly.
        """
        raise ValueError(f"{type(self).__name__} has no plan for tensor parallelism: set tensor_parallel_size=1")

    @abstractmethod
    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Memory (B, S, D) of a source x (B, S, D) with pad (B, S); what stands where the source is padded means nothing."""

    @abstractmethod
    def remember(self, memory: Tensor) -> Shared:
        """What decoding needs of a memory (B, S, D), computed once a source: a nested tuple of batch-first tensors."""

    @abstractmethod
    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: Shared | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Outputs (N, T, D) for the next T inputs x (N, T, D), each seeing only itself and what came before, and the state after them.

        The state is a nested tuple of batch-first tensors. Reorder its rows at will, but pass it on only once: the call may write into it.
        Where `pad` (N, T) is True nothing is added to it: the next input of that row follows its last real one.

        Args:
            memory: of `encode` (B, S, D), or what `remember` made of it; None exactly if there is no encoder.
                N may be k * B: rows i * k to i * k + k - 1 then read source i.
            memory_pad: (B, S).
            state: None starts anew.
        """
