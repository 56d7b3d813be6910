"""The shape of a model, as typed data that every package reads the same way.

`pretrain` builds it in Megatron, `moe_upcycle` and `align` in the Hugging Face layout. What is computed from it
(parameters, operations, memory) is a property, so that no two packages can disagree.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from bunbuku_contracts.manifest import Frozen


class RouterNormalization(Frozen):
    """Router logits z of a token become scale · (z - mean) / (std + eps), over the experts, in fp32, before softmax.

    Skywork-MoE (arXiv:2406.06563) eq. 6; its published inference code divides by the unbiased deviation, hence `ddof` 1.
    """

    scale: PositiveFloat = 1.0
    """λ of the paper: the standard deviation of the logits after normalisation."""
    ddof: Literal[0, 1] = 1
    """1 for the unbiased standard deviation, 0 for the population's."""
    eps: NonNegativeFloat = 1e-6
    """Added to the standard deviation, so that equal logits give a finite answer."""


class Experts(Frozen):
    """A mixture of experts in place of every feed-forward network; each expert is `ffn_size` wide."""

    count: Annotated[int, Field(ge=2)]
    active: PositiveInt
    """Experts a token is sent to."""
    normalization: RouterNormalization | None = None
    aux_loss_coefficient: NonNegativeFloat = 0.01
    """Weight of the load-balancing loss (Fedus et al. 2021, arXiv:2101.03961, eq. 4) while training."""

    @model_validator(mode="after")
    def _some_rest(self) -> Self:
        if self.active > self.count:
            raise ValueError(f"`active` {self.active} is more than `count` {self.count}")
        return self


class Architecture(Frozen):
    """A Llama-shaped decoder: RMSNorm, SwiGLU, rotary positions, grouped-query attention, no biases.

    >>> tanuki = Architecture(layers=32, hidden_size=4096, ffn_size=14336, heads=32, kv_heads=8, vocab_size=65024)
    >>> moe = tanuki.model_copy(update={"experts": Experts(count=8, active=2)})
    >>> f"{tanuki.parameters / 1e9:.2f} {moe.parameters / 1e9:.2f} {moe.active_parameters / 1e9:.2f}"
    '7.51 46.97 13.15'
    """

    layers: PositiveInt
    hidden_size: PositiveInt
    ffn_size: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    """Key and value heads, each shared by `heads / kv_heads` query heads."""
    vocab_size: PositiveInt
    """Rows of the embedding, padding included: at least the tokenizer's vocabulary."""
    max_positions: PositiveInt = 2048
    """Tokens of the longest sequence it was trained on."""
    rope_theta: PositiveFloat = 10_000.0
    norm_eps: PositiveFloat = 1e-5
    tied_embeddings: bool = False
    experts: Experts | None = None
    """`None` for a dense model."""

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.heads

    @property
    def parameters(self) -> int:
        """Weights in all, embeddings included."""
        return self._parameters(self.experts.count if self.experts else 1)

    @property
    def active_parameters(self) -> int:
        """Weights that one token meets, embeddings included."""
        return self._parameters(self.experts.active if self.experts else 1)

    def flops_per_token(self, sequence: int) -> float:
        """Floating-point operations of training on one token: 6 a weight met, 12·layers·hidden·sequence of attention.

        Chowdhery et al. 2022 (arXiv:2204.02311) appendix B; the input embedding is a look-up and not counted.
        """
        met = self.active_parameters - (0 if self.tied_embeddings else self.vocab_size * self.hidden_size)
        return 6.0 * met + 12.0 * self.layers * self.hidden_size * sequence

    def weight_bytes(self, bytes_per_weight: int = 2) -> int:
        """Memory of the weights alone, bf16 by default."""
        return self.parameters * bytes_per_weight

    def training_bytes(self) -> int:
        """Memory of mixed-precision Adam: bf16 weight, fp32 gradient, fp32 master copy and two moments, 18 a weight."""
        return self.parameters * 18

    def _parameters(self, experts: int) -> int:
        kv_size = self.kv_heads * self.head_size
        attention = self.hidden_size * (2 * self.hidden_size + 2 * kv_size)
        router = self.hidden_size * self.experts.count if self.experts else 0
        feed_forward = 3 * self.hidden_size * self.ffn_size * experts
        layer = attention + router + feed_forward + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)
        return self.layers * layer + embeddings + self.hidden_size

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"`hidden_size` {self.hidden_size} is not a multiple of `heads` {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"`heads` {self.heads} is not a multiple of `kv_heads` {self.kv_heads}")
        return self
