"""What a training needs before it is paid for: operations, memory a GPU, time, checkpoints, and a layout that fits.

Operations are counted as `Architecture.flops_per_token` does, memory is what Megatron-core holds in mixed precision:
two bytes a weight, four a gradient, twelve of optimizer state (fp32 weight and two moments), and the activations that
the backward pass needs. Time is operations over what the GPUs reach; that share (MFU) is either read off a step that was
logged, or assumed, and said to be.

Symbols: b sequences of a micro batch, s tokens of a sequence, h model width, k width of keys, F feed-forward width,
L layers, t, p, e, d tensor, pipeline, expert, data parallel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Self

from bunbuku_contracts import Architecture, BunbukuError, Config
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bunbuku_pretrain.precision import WEIGHT_BYTES, optimizer_bytes, state_bytes

GIB = 2**30
SECONDS_PER_DAY = 86_400
_WEIGHT, _GRADIENT, _OPTIMIZER = WEIGHT_BYTES["bf16"], 4, optimizer_bytes("bf16")
"""Bytes a weight."""

type Recompute = Literal["none", "selective", "full"]


class Gpu(Config):
    """One accelerator. The defaults are an H100 SXM's (NVIDIA H100 data sheet, dense bf16)."""

    name: str = "H100 SXM 80 GB"
    peak_tflops: PositiveFloat = 989.4
    """bf16 without sparsity."""
    memory_gib: PositiveFloat = 79.6
    """What a process can allocate."""
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the memory left to CUDA, NCCL's buffers and fragmentation."""

    @property
    def usable_gib(self) -> float:
        return self.memory_gib * (1 - self.reserve)


class Cluster(Config):
    """What the training runs on."""

    nodes: PositiveInt
    gpus_per_node: PositiveInt = 8
    gpu: Gpu = Gpu()
    storage_gb_per_second: PositiveFloat = 10.0
    """What all nodes together write to the shared file system."""

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node


class Layout(Config):
    """How a model is divided among the GPUs; data parallel is what remains."""

    tensor: PositiveInt = 1
    pipeline: PositiveInt = 1
    expert: PositiveInt = 1
    distributed_optimizer: bool = True
    recompute: Recompute = "selective"
    """Activations made again in the backward pass: those of attention and the gate, or all but a layer's input."""

    def __str__(self) -> str:
        return f"TP{self.tensor} PP{self.pipeline} EP{self.expert}, recompute {self.recompute}"


class Phase(Config):
    """A stretch of training under the same conditions."""

    name: str
    tokens: PositiveInt
    sequence_length: PositiveInt
    batch_sequences: PositiveInt
    micro_batch_sequences: PositiveInt = 1

    @property
    def batch_tokens(self) -> int:
        return self.batch_sequences * self.sequence_length

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens


class Logged(Config):
    """A step somebody measured, of this model on this cluster."""

    seconds_per_step: PositiveFloat
    batch_sequences: PositiveInt
    sequence_length: PositiveInt


class Assumed(Config):
    """No measurement: what is hoped for."""

    mfu: Annotated[float, Field(gt=0, lt=1)]
    """Model FLOP utilisation, Chowdhery et al. 2022 (arXiv:2204.02311) appendix B."""


class PlanConfig(Config):
    """A model, a cluster, what is to be trained, and how fast it is believed to go."""

    model: Architecture
    cluster: Cluster
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    layout: Layout | None = None
    """Left out, the first of the layouts that fit, in the order of what they cost."""
    logged: Logged | None = None
    assumed: Assumed | None = None

    @model_validator(mode="after")
    def _one_speed(self) -> Self:
        if (self.logged is None) == (self.assumed is None):
            raise ValueError("give either `logged` (a step that was measured) or `assumed` (an MFU)")
        return self

    @property
    def mfu(self) -> float:
        """Share of the cluster's peak that the training's operations reach."""
        if self.assumed is not None:
            return self.assumed.mfu
        assert self.logged is not None
        tokens = self.logged.batch_sequences * self.logged.sequence_length
        done = self.model.flops_per_token(self.logged.sequence_length) * tokens / self.logged.seconds_per_step
        return done / (self.cluster.gpus * self.cluster.gpu.peak_tflops * 1e12)

    def seconds_per_step(self, phase: Phase) -> float:
        reached = self.mfu * self.cluster.gpus * self.cluster.gpu.peak_tflops * 1e12
        return self.model.flops_per_token(phase.sequence_length) * phase.batch_tokens / reached


class Memory(NamedTuple):
    """Bytes on the GPU that holds most."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return sum(self)

    @property
    def largest(self) -> str:
        """The part that takes most."""
        return max(self._fields, key=lambda name: getattr(self, name))


@dataclass(frozen=True)
class Fit:
    """A layout, and whether it holds the model."""

    layout: Layout
    memory: Memory
    usable: float
    problem: str | None
    """Why it cannot be; `None` if it can."""
    divides: bool
    """Whether it is memory alone that can forbid it."""
    bubble: float
    """Share of the time in which pipeline stages wait: (p - 1) / (m + p - 1) for m micro batches."""


def memory(model: Architecture, layout: Layout, phase: Phase, data_parallel: int) -> Memory:
    """What the fullest GPU holds: the first pipeline stage, or the last, which has the logits.

    Activations per layer follow Korthikanti et al. 2022 (arXiv:2205.05198) section 4, counted anew for a gated
    feed-forward network, grouped-query attention computed without its score matrix, and no dropout.
    """
    dense, experts = _local_weights(model, layout)
    spread = data_parallel if layout.distributed_optimizer else 1
    expert_spread = max(1, data_parallel // layout.expert) if layout.distributed_optimizer else 1
    stage = model.layers / layout.pipeline
    layer = _layer_activations(model, layout, phase)
    in_flight = min(layout.pipeline, micro_batches(phase, data_parallel))
    tokens = phase.micro_batch_sequences * phase.sequence_length
    logits = 2 * 4 * tokens * model.vocab_size / layout.tensor  # fp32, and their gradient
    first = stage * layer * in_flight
    last = stage * layer + logits
    fullest = (first, 0.0) if first >= last and layout.pipeline > 1 else (stage * layer, logits)
    return Memory(
        weights=_WEIGHT * (dense + experts),
        gradients=_GRADIENT * (dense + experts),
        optimizer=_OPTIMIZER * (dense / spread + experts / expert_spread),
        activations=fullest[0],
        logits=fullest[1],
    )


def _local_weights(model: Architecture, layout: Layout) -> tuple[float, float]:
    """Weights on one GPU, those of experts apart; the embedding and the head lie on the first and last stage."""
    experts = model.expert_parameters
    embedding = model.vocab_size * model.hidden_size
    ends = embedding * (2 if layout.pipeline == 1 and not model.tied_embeddings else 1)
    layers = model.parameters - experts - embedding * (1 if model.tied_embeddings else 2)
    return (
        (layers / layout.pipeline + ends) / layout.tensor,
        experts / (layout.pipeline * layout.tensor * layout.expert),
    )


def _layer_activations(model: Architecture, layout: Layout, phase: Phase) -> float:
    """Bytes of one layer for one micro batch, bf16, divided over tensor parallel ranks (with sequence parallelism)."""
    tokens = phase.micro_batch_sequences * phase.sequence_length
    width, keys = model.hidden_size, model.kv_heads * model.head_size
    if layout.recompute == "full":
        return 2 * tokens * width / layout.tensor
    active = model.experts.active if model.experts else 1
    # Of a model whose layers differ the largest one: a stage may be of these alone.
    mixed = active * model.ffn_size + ((model.experts.shared_ffn_size or 0) if model.experts else 0)
    widths = max(mixed, model.dense_ffn_size)
    norms = 2 * 2 * width  # what goes into either norm
    attention = 2 * (width + width + 2 * keys + width)  # normed input; queries, keys and values; what comes out
    into_experts = 2 * width * (active if model.experts else 1)
    feed_forward = 2 * (2 * widths) + (0 if layout.recompute == "selective" else 2 * widths)
    return tokens * (norms + attention + into_experts + feed_forward) / layout.tensor


def micro_batches(phase: Phase, data_parallel: int) -> int:
    """How many a data parallel rank computes in a step."""
    return phase.batch_sequences // (data_parallel * phase.micro_batch_sequences)


def fit(model: Architecture, cluster: Cluster, phases: Sequence[Phase], layout: Layout) -> Fit:
    """Whether a layout can be and holds the model in every phase; the memory is that of the hungriest phase."""
    split = layout.tensor * layout.pipeline
    problem = next(_impossible(model, cluster, phases, layout), None)
    data_parallel = max(1, cluster.gpus // split)
    most = max((memory(model, layout, phase, data_parallel) for phase in phases), key=lambda each: each.total)
    usable = cluster.gpu.usable_gib * GIB
    divides = problem is None
    if divides and most.total > usable:
        part = getattr(most, most.largest)
        problem = (
            f"a GPU would hold {most.total / GIB:.1f} GiB and has {usable / GIB:.1f} GiB to use; "
            f"the largest part is {most.largest} with {part / GIB:.1f} GiB"
        )
    batches = min(max(1, micro_batches(phase, data_parallel)) for phase in phases)
    bubble = (layout.pipeline - 1) / (batches + layout.pipeline - 1)
    return Fit(layout, most, usable, problem, divides, bubble)


def _impossible(model: Architecture, cluster: Cluster, phases: Sequence[Phase], layout: Layout) -> Iterator[str]:
    """What forbids a layout before memory is looked at."""
    split = layout.tensor * layout.pipeline
    experts = model.experts.count if model.experts else 1
    data_parallel = cluster.gpus // split
    if layout.tensor > cluster.gpus_per_node:
        yield f"tensor parallel {layout.tensor} leaves the node, which has {cluster.gpus_per_node} GPUs"
    for what, number, by, divisor in (
        ("GPUs", cluster.gpus, "tensor x pipeline parallel", split),
        ("layers", model.layers, "pipeline parallel", layout.pipeline),
        ("key-value heads", model.kv_heads, "tensor parallel", layout.tensor),
        ("experts", experts, "expert parallel", layout.expert),
        ("data parallel ranks", data_parallel, "expert parallel", layout.expert),
    ):
        if number % divisor:
            yield f"{number} {what} are no multiple of {by} {divisor}"
    for phase in phases:
        together = data_parallel * phase.micro_batch_sequences
        if data_parallel and phase.batch_sequences % together:
            yield (
                f"the {phase.batch_sequences} sequences of a batch in {phase.name!r} are no multiple of "
                f"data parallel x micro batch {together}"
            )


def layouts(model: Architecture, cluster: Cluster) -> list[Layout]:
    """All there are to try, those that cost least first: little made again, then little to wait and to send.

    Tensor parallel ranks send activations twice a layer and pipeline stages wait; both grow with the number of ranks, and
    expert parallel ranks send every token to its experts and back.
    """
    powers = [2**power for power in range(11)]
    experts = model.experts.count if model.experts else 1
    recomputes: tuple[Recompute, ...] = ("none", "selective", "full")
    found = [
        Layout(tensor=tensor, pipeline=pipeline, expert=expert, recompute=recompute)
        for recompute in recomputes
        for tensor in powers
        for pipeline in powers
        for expert in powers
        if tensor <= cluster.gpus_per_node and pipeline <= model.layers and expert <= experts
        and tensor * pipeline <= cluster.gpus
    ]  # fmt: skip
    return sorted(found, key=lambda each: _cost(each, recomputes))


def _cost(layout: Layout, recomputes: Sequence[Recompute]) -> tuple[float, int, int, int]:
    extra = {"none": 0.0, "selective": 0.02, "full": 0.33}[layout.recompute]
    ranks = layout.tensor * layout.pipeline
    return (
        extra + 0.04 * (layout.tensor - 1) + 0.02 * (layout.pipeline - 1) + 0.01 * (layout.expert - 1),
        ranks,
        layout.tensor,
        recomputes.index(layout.recompute),
    )


def choose(config: PlanConfig) -> Fit:
    """The layout that is asked for, or the cheapest that fits.

    Raises:
        BunbukuError: It does not fit, or none does; with the part that is too large.
    """
    if config.layout is not None:
        found = fit(config.model, config.cluster, config.phases, config.layout)
        if found.problem:
            raise BunbukuError(
                f"the layout {config.layout} does not fit: {found.problem}",
                hint="leave `layout` out to see one that does, or divide that part further",
            )
        return found
    tried = [
        fit(config.model, config.cluster, config.phases, layout) for layout in layouts(config.model, config.cluster)
    ]
    for each in tried:
        if each.problem is None:
            return each
    closest = min(tried, key=lambda each: (not each.divides, each.memory.total))
    raise BunbukuError(
        f"no layout fits {config.cluster.gpus} GPUs; closest is {closest.layout}: {closest.problem}",
        hint="take more nodes, a smaller micro batch or a smaller model",
    )


def rejected(config: PlanConfig, chosen: Fit, limit: int = 5) -> list[Fit]:
    """Cheaper layouts than the chosen one and why they cannot be, the cheapest first."""
    found: list[Fit] = []
    for layout in layouts(config.model, config.cluster):
        if layout == chosen.layout or len(found) == limit:
            break
        each = fit(config.model, config.cluster, config.phases, layout)
        if each.problem:
            found.append(each)
    return found


def checkpoint_bytes(model: Architecture) -> int:
    """A whole state on disk: weights in bf16, and in fp32 with both moments."""
    return model.parameters * state_bytes("bf16")
