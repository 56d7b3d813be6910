"""The shape of a model, as typed data that every package reads the same way.

`pretrain` builds it in Megatron, `moe_upcycle` and `align` in the Hugging Face layout. What is computed from it
(parameters, operations, memory) is a property, so that no two packages can disagree.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

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


type GateOrder = Literal["choice_first", "softmax_first"]


class Experts(Frozen):
    """A mixture of experts in place of feed-forward networks; each expert is `ffn_size` wide."""

    count: Annotated[int, Field(ge=2)]
    active: PositiveInt
    """Experts a token is sent to."""
    gate_order: GateOrder = "choice_first"
    """`choice_first`: the gates are a softmax over the chosen experts and sum to 1, as in Mixtral. `softmax_first`: a softmax
    over all experts, of which the chosen keep what they have; these sum to less than 1."""
    layers: tuple[NonNegativeInt, ...] | None = None
    """Layers, from 0, that have experts; the others are dense. All of them if left out."""
    dense_ffn_size: PositiveInt | None = None
    """Width of the layers without experts; that of an expert if left out."""
    shared_ffn_size: PositiveInt | None = None
    """Width of a network in every layer with experts that all tokens meet beside those chosen; none if left out."""
    normalization: RouterNormalization | None = None
    aux_loss_coefficient: NonNegativeFloat = 0.01
    """Weight of the load-balancing loss (Fedus et al. 2021, arXiv:2101.03961, eq. 4) while training."""

    @model_validator(mode="after")
    def _some_rest(self) -> Self:
        if self.active > self.count:
            raise ValueError(f"`active` {self.active} is more than `count` {self.count}")
        if self.layers is not None and (not self.layers or list(self.layers) != sorted(set(self.layers))):
            raise ValueError(f"`layers` {self.layers} are not one or more layers in their order, each once")
        return self

    @property
    def is_mixtral(self) -> bool:
        """Whether transformers' Mixtral computes the same."""
        own = (self.normalization, self.layers, self.shared_ffn_size)
        return self.gate_order == "choice_first" and not any(one is not None for one in own)


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
    def mixture_layers(self) -> tuple[int, ...]:
        """Layers, from 0, that have experts."""
        if self.experts is None:
            return ()
        return tuple(range(self.layers)) if self.experts.layers is None else self.experts.layers

    @property
    def dense_ffn_size(self) -> int:
        """Width of the feed-forward network of a layer without experts."""
        return (self.experts and self.experts.dense_ffn_size) or self.ffn_size

    @property
    def expert_parameters(self) -> int:
        """Weights of all experts that tokens are chosen for, without routers and shared networks."""
        return len(self.mixture_layers) * self._experts_of_a_layer(self.experts.count if self.experts else 0)

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
        mixtures, dense = len(self.mixture_layers), self.layers - len(self.mixture_layers)
        mixture = self._experts_of_a_layer(experts)
        if self.experts:
            mixture += self.hidden_size * (self.experts.count + 3 * (self.experts.shared_ffn_size or 0))
        feed_forward = mixtures * mixture + dense * 3 * self.hidden_size * self.dense_ffn_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)
        return self.layers * (attention + 2 * self.hidden_size) + feed_forward + embeddings + self.hidden_size

    def _experts_of_a_layer(self, experts: int) -> int:
        return 3 * self.hidden_size * self.ffn_size * experts

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"`hidden_size` {self.hidden_size} is not a multiple of `heads` {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"`heads` {self.heads} is not a multiple of `kv_heads` {self.kv_heads}")
        return self

    @model_validator(mode="after")
    def _layers_exist(self) -> Self:
        if self.mixture_layers and self.mixture_layers[-1] >= self.layers:
            raise ValueError(
                f"`experts.layers` names layer {self.mixture_layers[-1]}, the last of {self.layers} is {self.layers - 1}"
            )
        return self
