"""What is trained and how: the config of `train`, and the circumstances it runs under.

What a step is follows from the config, see `bunbuku_pretrain.course`.
"""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from bunbuku_contracts import Architecture, BunbukuError, Config, RunSettings
from bunbuku_contracts.launch import Local
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bunbuku_pretrain.balancing import AdaptiveBalance
from bunbuku_pretrain.launching import AnyLauncher, Elastic
from bunbuku_pretrain.observations import Watch
from bunbuku_pretrain.phases import Phase, RampUp
from bunbuku_pretrain.precision import Precision
from bunbuku_pretrain.schedule import AnySchedule, Cosine
from bunbuku_pretrain.spikes import AnySpikePolicy, Warn

if TYPE_CHECKING:
    from bunbuku_pretrain.course import Course

VOCABULARY_MULTIPLE = 128
"""Rows of the embedding come in multiples of this, as Megatron has them, so that tensor parallel ranks share evenly."""


class ModelShape(Config):
    """A new model: an `Architecture` before it has met its tokenizer."""

    layers: PositiveInt
    hidden_size: PositiveInt
    ffn_size: PositiveInt
    """Width of the gated feed-forward network."""
    heads: PositiveInt
    kv_heads: PositiveInt
    rope_theta: PositiveFloat = 10_000.0
    norm_eps: PositiveFloat = 1e-5
    initial_std: PositiveFloat = 0.02
    """Standard deviation of the first weights; projections back into the residual stream get it over sqrt(2 layers)."""

    def architecture(self, *, vocabulary: int, sequence_length: int) -> Architecture:
        """The architecture with a vocabulary of this many ids, padded."""
        shape = self.model_dump(exclude={"initial_std"})
        return Architecture(**shape, vocab_size=padded(vocabulary), max_positions=sequence_length)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        self.architecture(vocabulary=1, sequence_length=1)
        return self


class AdamW(Config):
    """Loshchilov and Hutter 2019 (arXiv:1711.05101). Vectors, that is norms, are not decayed."""

    learning_rate: PositiveFloat
    """The peak; the schedule says what share of it a step gets."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    clip: PositiveFloat = 1.0
    """Largest norm of all gradients together; longer ones are scaled down to it."""


class TrainConfig(Config):
    """A training run: what model, how many tokens, at which rates."""

    model: ModelShape | None = None
    """The new model. Left out when a checkpoint to start from is given, which brings its own."""
    sequence_length: PositiveInt
    """Tokens of a training sequence."""
    batch_tokens: PositiveInt
    """Tokens of a step, a multiple of `sequence_length`."""
    total_tokens: PositiveInt | None = None
    """Tokens of a run of one phase; it ends with the last step that fits into them."""
    phases: tuple[Phase, ...] = ()
    """Parts of the run that differ in text, length of the sequences, rates; instead of `total_tokens`."""
    packing: Literal["concatenate", "best_fit"] = "concatenate"
    """How documents become sequences: cut out of one long text, or whole ones that fit together, each on its own."""
    optimizer: AdamW
    schedule: AnySchedule = Cosine()
    """Over all tokens of the run; a phase may have its own."""
    schedule_tokens: PositiveInt | None = None
    """Tokens over which `schedule` runs, if not those of the run: for a run that others will go on from."""
    ramp_up: RampUp | None = None
    """Smaller batches in the beginning."""
    shuffle_tokens: PositiveInt | None = None
    """Tokens that stay together when text is shuffled, a multiple of every `sequence_length`; the least if left out."""
    keep: tuple[Literal["optimizer", "sampler", "schedule"], ...] = ()
    """What goes on from the checkpoint that the run starts from besides its weights: the moments of the optimizer, the
    place in every part of the text, the place in the schedule."""
    seed: NonNegativeInt = 0
    """Of the first weights and of the order of the sequences."""
    precision: Precision = "fp32"
    """Numbers that are computed with; see `bunbuku_pretrain.precision`."""
    z_loss: NonNegativeFloat = 0.0
    """Coefficient of the squared logarithm of the softmax's denominator, 1e-4 where it is used. No loss shows it."""
    adaptive_balance: AdaptiveBalance | None = None
    """Lets each layer of a mixture have its own coefficient of the load-balancing loss, which follows the load."""
    validation_interval_steps: PositiveInt = 100
    """Steps between two measurements of the validation loss; it is also measured before the first and after the last."""
    validation_tokens: PositiveInt | None = None
    """Most tokens of a validation part to measure on; all of them if left out."""
    validation_parts: tuple[str, ...] | None = None
    """Parts of the tokens to measure on, each for itself; if left out, all whose names begin with `validation`."""
    overlap: Literal["refuse", "warn", "ignore"] = "warn"
    """What becomes of a training whose text has whole documents in common with a validation part."""
    milestone_tokens: tuple[PositiveInt, ...] = ()
    """Where the model is published on the way: after the first step that has seen so many tokens of this run."""
    milestone_interval_tokens: PositiveInt | None = None
    """Publishes the model each time so many more tokens have been seen."""
    spikes: AnySpikePolicy = Warn()
    """What becomes of a step whose loss or gradient is not a number, or far from what is usual."""
    skip_steps: tuple[tuple[PositiveInt, PositiveInt], ...] = ()
    """First and last steps to pass over: their text is left behind as if it had been trained on, nothing is updated."""

    @model_validator(mode="after")
    def _batch_is_whole(self) -> Self:
        if self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"`batch_tokens` {self.batch_tokens} is not a multiple of `sequence_length` {self.sequence_length}"
            )
        if self.total_tokens is not None and self.phases:
            raise ValueError(f"`total_tokens` {self.total_tokens} is given, and `phases` too: give one of the two")
        if self.total_tokens is not None and self.total_tokens < self.batch_tokens and self.ramp_up is None:
            raise ValueError(f"`total_tokens` {self.total_tokens} is less than `batch_tokens` {self.batch_tokens}")
        names = [phase.name for phase in self.phases]
        if taken := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two `phases` are called {taken[0]!r}")
        if wrong := [(first, last) for first, last in self.skip_steps if first > last]:
            raise ValueError(f"`skip_steps` {wrong[0]} ends before it begins")
        return self


class TrainRun(RunSettings):
    """How the work is spread and watched. Another layout gives the same model up to rounding."""

    ranks: PositiveInt = 1
    """Processes in all."""
    launcher: AnyLauncher = Local()
    """Where they run: on this machine, on the nodes of a Slurm allocation, or under an agent of torchrun on each node."""
    tensor_parallel: PositiveInt = 1
    """Ranks that share every matrix."""
    pipeline_parallel: PositiveInt = 1
    """Ranks that share the layers, one after the other."""
    expert_parallel: PositiveInt = 1
    """Ranks that share the experts of a mixture; they read different sequences."""
    context_parallel: PositiveInt = 1
    """Ranks that share every sequence. Needs Transformer Engine."""
    sequence_parallel: bool = True
    """Lets tensor parallel ranks share what lies between the matrices too, along the sequence. Mixtures need it."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations that are computed again instead of kept: those of attention, or all but the inputs of layers."""
    layers: Literal["auto", "local", "transformer_engine"] = "auto"
    """Whose modules compute a layer; `auto` is Transformer Engine's on a GPU where it is installed."""
    distributed_optimizer: bool = False
    """Shares the optimizer's state among the ranks that read different sequences (ZeRO-1)."""
    threads: PositiveInt | None = 1
    """Threads of a rank on the CPU; part of what makes two runs equal to the bit. `None` leaves it to torch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    micro_batch_sequences: PositiveInt = 1
    """Sequences that a rank computes at once."""
    checkpoint_interval_steps: PositiveInt = 100
    """Steps between two states that a killed run goes on from."""
    keep_checkpoints: PositiveInt = 2
    """States kept while running, the newest ones."""
    keep_every_steps: PositiveInt | None = None
    """Keeps the states of steps that are multiples of this, too, until the run is published."""
    background_saving: bool = True
    """Writes states while training goes on, from a copy in memory."""
    milestone_command: str | None = None
    """Shell command run on every milestone, its path in the environment as `MILESTONE`. Its failure is only noted."""
    milestone_timeout_seconds: PositiveFloat = 3600.0
    """After so long the milestone's command is ended."""
    time_limit_seconds: PositiveFloat | None = None
    """Saves and stops after so long; the same command goes on later."""
    collective_timeout_seconds: PositiveFloat = 1800.0
    """How long a rank waits for the others before it gives up."""
    watch: Watch = Watch()
    """How closely the run is looked at."""
    step_timeout_seconds: PositiveFloat = 1800.0
    """A rank that says nothing for so long is ended with all others, and the run restarted."""
    validation_timeout_seconds: PositiveFloat = 1800.0
    """Most seconds of measuring one held-out part: what was read by then counts, and that it was cut short is noted."""
    save_timeout_seconds: PositiveFloat = 1800.0
    """The same while a state is written."""
    slow_step_factor: Annotated[float, Field(gt=1)] = 3.0
    """A step that takes so many times the usual is noted."""
    restarts: NonNegativeInt = 3
    """How often, within `restart_window_seconds`, the ranks are started again after one died."""
    restart_window_seconds: PositiveFloat = 3600.0
    restart_delay_seconds: NonNegativeFloat = 1.0
    """Wait before the first restart; twice as long before each further one."""
    excluded_hosts: tuple[str, ...] = ()
    """Hosts on which no rank is started."""
    exclude_after_failures: NonNegativeInt = 2
    """A host whose ranks died or hung so often is excluded too, where another can take its place; 0 leaves that to you."""
    verify_tokens: Literal["sizes", "hashes"] = "sizes"
    """Whether the token files are hashed before the ranks start, or only measured."""
    required_processes: tuple[str, ...] = ()
    """Names of processes without which nothing is started, such as a daemon that the network needs."""
    expected_bandwidth_gb: PositiveFloat | None = None
    """Gigabytes a second that ranks must sum over the network; measured before the first step if given."""

    @property
    def data_parallel(self) -> int:
        return self.ranks // (self.tensor_parallel * self.pipeline_parallel * self.context_parallel)

    @model_validator(mode="after")
    def _layout_fits(self) -> Self:
        split = self.tensor_parallel * self.pipeline_parallel * self.context_parallel
        if self.ranks % split:
            raise ValueError(f"`ranks` {self.ranks} is not a multiple of tensor x pipeline x context parallel {split}")
        if isinstance(self.launcher, Elastic) and self.ranks % self.launcher.most_nodes:
            raise ValueError(f"`ranks` {self.ranks} is not a multiple of `most_nodes` {self.launcher.most_nodes}")
        return self


def padded(vocabulary: int) -> int:
    """Rows of the embedding for so many ids.

    >>> padded(65_000), padded(128)
    (65024, 128)
    """
    return -(-vocabulary // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def check_layout(course: "Course", settings: TrainRun, architecture: Architecture) -> None:
    """Refuse a layout that cannot hold this model or one of its batches, before any rank is started.

    Raises:
        BunbukuError: naming both numbers.
    """
    if architecture.experts and settings.tensor_parallel > 1 and not settings.sequence_parallel:
        raise BunbukuError(
            f"`tensor_parallel` is {settings.tensor_parallel} and `sequence_parallel` is off, and the model is a mixture",
            hint="leave `sequence_parallel` on: Megatron's mixtures need it (transformer/moe/moe_layer.py:630)",
        )
    if architecture.experts and architecture.experts.active == 1 and architecture.experts.gate_order == "choice_first":
        raise BunbukuError(
            "the mixture sends a token to 1 expert and takes the softmax over it alone, which is 1: its router cannot learn",
            hint="upcycle with `gate_order` 'softmax_first', or with two `active` experts",
        )
    if course.config.adaptive_balance and not (architecture.experts and architecture.experts.aux_loss_coefficient):
        raise BunbukuError(
            "`adaptive_balance` is given, and the model has no experts or its `aux_loss_coefficient` is 0",
            hint="leave it out, or upcycle with a coefficient to begin with",
        )
    together = settings.data_parallel * settings.micro_batch_sequences
    experts = architecture.experts.count if architecture.experts else settings.expert_parallel
    for problem, number, divisor in (
        *(("`batch_tokens` gives {} sequences a step, data parallel x `micro_batch_sequences` is {}",
           stretch.sequences, together) for stretch in course.stretches),
        *(("sequences have {} tokens, `tensor_parallel` is {}", stretch.sequence_length, settings.tensor_parallel)
          for stretch in course.stretches),
        *(("sequences have {} tokens, twice `context_parallel` times `tensor_parallel` is {}", stretch.sequence_length,
           2 * settings.context_parallel * settings.tensor_parallel)
          for stretch in course.stretches if settings.context_parallel > 1),
        ("the model has {} layers, `pipeline_parallel` is {}", architecture.layers, settings.pipeline_parallel),
        ("the model has {} key-value heads, `tensor_parallel` is {}", architecture.kv_heads, settings.tensor_parallel),
        ("the vocabulary has {} rows, `tensor_parallel` is {}", architecture.vocab_size, settings.tensor_parallel),
        ("the model has {} experts, `expert_parallel` is {}", experts, settings.expert_parallel),
        ("`ranks` over tensor x pipeline x context parallel is {}, `expert_parallel` is {}",
         settings.data_parallel, settings.expert_parallel),
    ):  # fmt: skip
        if number % divisor:
            raise BunbukuError(problem.format(number, divisor), hint="choose numbers of which the first is a multiple")
