"""What megatron-core 0.19.2 needs in order to train without CUDA, and repairs of its optimizer that it needs anywhere.

Every private name of Megatron that this project touches is in this file, and the version is pinned exactly for its
sake. `install` must run before a model is built. Line numbers are those of megatron-core 0.19.2, paths are relative to
`megatron/core`.

Without CUDA:

1. functions of `torch.cuda` that are called whatever the device is get an answer that is true of the CPU,
2. `device="cuda"` written into the code means the CPU, by a `TorchFunctionMode` that stays on for the process,
3. the all-to-all token dispatcher of the mixture gets a stream that does nothing, and numbers where it counts tokens.

Anywhere:

4. saving collects its results in this process, without the server process that Megatron would spawn for them,
5. the distributed optimizer resumes rightly where torch's own AdamW does the work (three defects), and any optimizer from
   before its first step,
6. gradients of matrices are added into their buffer by the product that makes them, and clipped where they lie, without
   Apex,
7. what an optimizer moves, and where it keeps gradients, is said for whoever measures it or sets it back,
8. the rotary base of a model under Transformer Engine can be changed,
9. a save is copied first and written by whoever wants to, as its request for another process has it.
"""

import contextlib
import importlib
import logging
import queue
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

_CPU = torch.device("cpu")
_modes: list[TorchFunctionMode] = []


def install() -> None:
    """Make megatron-core usable in this process. A second call does nothing."""
    if _modes:
        return
    mode = _CudaMeansCpu()
    _modes.append(mode)
    if not torch.cuda.is_available():
        _answer_for_cuda()
        mode.__enter__()
        _back_in_plain_torch()
        _dispatch_on_cpu()
    _collect_results_here()
    _repair_distributed_optimizer()
    _load_what_has_not_stepped()
    _clip_in_place()


# 1. Functions of torch.cuda -------------------------------------------------------------------------------------------


class _NoStream:
    """A stream, or an event, on which nothing ever waits."""

    def __getattr__(self, name: str) -> Callable[..., "_NoStream"]:
        return lambda *_args, **_kwargs: self


_NO_STREAM = _NoStream()


def _answer_for_cuda() -> None:
    cuda: Any = torch.cuda
    # About 150 calls ask for the current device; the first that is met is
    # models/common/embeddings/rotary_pos_embedding.py:162.
    cuda.current_device = lambda: _CPU
    cuda.synchronize = lambda *_args, **_kwargs: None  # pipeline_parallel/p2p_communication.py:263, 419
    cuda.current_stream = lambda *_args, **_kwargs: _NO_STREAM  # distributed/param_and_grad_buffer.py:632
    cuda.stream = lambda _stream: contextlib.nullcontext()  # transformer/moe/token_dispatcher.py:930
    # Recomputing saves the GPU's random state beside the CPU's, tensor_parallel/random.py:104, 137.
    states: Any = importlib.import_module("megatron.core.tensor_parallel.random")
    states._get_cuda_rng_state = lambda *_args, **_kwargs: torch.get_rng_state()
    states._set_cuda_rng_state = lambda *_args, **_kwargs: None


# 2. device="cuda" in the code -----------------------------------------------------------------------------------------


class _CudaMeansCpu(TorchFunctionMode):
    """Reads "cuda" as the CPU, and names the type of a tensor as if it lay on a GPU.

    The device is a literal in pipeline_parallel/schedules.py:749, 1121, 2292; optimizer/optimizer.py:315, 690, 698,
    702, 1249; optimizer/clip_grads.py:108, 112, 180, 231. The type is compared with 'torch.cuda.FloatTensor' in
    optimizer/clip_grads.py:174; optimizer/optimizer.py:1009, 1028; optimizer/distrib_optimizer.py:401, 466, 758.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if "device" in named and str(named["device"]).startswith("cuda"):
            named["device"] = _CPU
        if func is torch.Tensor.cuda:
            return args[0]
        answer = func(*args, **named)
        asks_for_its_type = func is torch.Tensor.type and len(args) == 1 and not named
        return answer.replace("torch.", "torch.cuda.", 1) if asks_for_its_type else answer


def plain_torch() -> contextlib.AbstractContextManager[Any]:
    """Torch without that mode, for code that needs none of it and calls torch by the thousand: a model's two passes."""
    return torch._C.DisableTorchFunction() if _modes else contextlib.nullcontext()


def _back_in_plain_torch() -> None:
    """Gradients that are written in Python would pass through the mode: half a percent of a small model's step."""
    schedules: Any = importlib.import_module("megatron.core.pipeline_parallel.schedules")
    back = schedules.backward_step  # looked up by this name in each schedule

    def backward_step(*given: Any, **named: Any) -> Any:
        with plain_torch():
            return back(*given, **named)

    schedules.backward_step = backward_step


# 3. The token dispatcher ----------------------------------------------------------------------------------------------


def _dispatch_on_cpu() -> None:
    module: Any = importlib.import_module("megatron.core.transformer.moe.token_dispatcher")
    # transformer/moe/token_dispatcher.py:469 makes a CUDA stream unless the class has one.
    module.MoEAlltoAllTokenDispatcher.cuda_dtoh_stream = _NO_STREAM
    # transformer/moe/moe_utils.py:1184 makes numbers of split sizes only if they lie on a GPU.
    module.maybe_move_tensor_to_cpu = _numbers_if_asked


def _numbers_if_asked(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
    del record_stream
    return tensor.numpy() if as_numpy and isinstance(tensor, torch.Tensor) else tensor


# 4. Saving ------------------------------------------------------------------------------------------------------------


def _collect_results_here() -> None:
    """Give the writer a queue of this process.

    dist_checkpointing/strategies/filesystem_async.py:53 starts a server process for its queue, even when saving is not
    asynchronous. That process imports the main module again, and outlives a rank that is killed.
    """
    writer: Any = importlib.import_module("megatron.core.dist_checkpointing.strategies.filesystem_async")
    writer._results_queue = queue.Queue()
    saver = logging.getLogger("megatron.core.dist_checkpointing.strategies.torch")
    saver.addFilter(lambda record: "async save is deprecated" not in record.getMessage())


# 5. DistributedOptimizer with torch's AdamW ---------------------------------------------------------------------------


def _repair_distributed_optimizer() -> None:
    module: Any = importlib.import_module("megatron.core.optimizer.distrib_optimizer")
    optimizer = module.DistributedOptimizer
    copy_states, load = optimizer._set_main_param_and_optimizer_states, optimizer.load_state_dict

    def copy_states_but_step(self: Any, model_param: torch.Tensor, tensors: dict[str, Any]) -> None:
        # optimizer/distrib_optimizer.py:1223 wants every state tensor among `tensors`; 'step' is never there.
        group, place = self.model_param_group_index_map[model_param]
        held = self.optimizer.state[self.optimizer.param_groups[group]["params"][place]]
        copy_states(self, model_param, {**{name: held[name] for name in ("step",) if name in held}, **tensors})

    def load_with_a_step_each(self: Any, state_dict: dict[str, Any]) -> None:
        # optimizer/distrib_optimizer.py:1028-1032 hands one and the same 'step' tensor to all parameters, which then
        # advances once a parameter at every step: silent, and wrong from the second step after loading.
        load(self, state_dict)
        for held in self.optimizer.state.values():
            if isinstance(held.get("step"), torch.Tensor):
                held["step"] = held["step"].clone()

    optimizer._set_main_param_and_optimizer_states = copy_states_but_step
    optimizer.load_state_dict = load_with_a_step_each


def _load_what_has_not_stepped() -> None:
    """A state saved before the first step has no number of steps: optimizer/optimizer.py:1187 and 1376 leave out a 0."""
    module: Any = importlib.import_module("megatron.core.optimizer.optimizer")
    for kind in (module.FP32Optimizer, module.Float16OptimizerWithFloat16Params):
        _count_from_zero(kind)


def _count_from_zero(kind: Any) -> None:
    load = kind.load_state_dict

    def load_counted(self: Any, state_dict: dict[str, Any]) -> None:
        held = state_dict.get("optimizer", state_dict)["state"]
        if isinstance(self.optimizer, torch.optim.AdamW) and "common_step" not in held:
            held["common_step"] = torch.tensor(0.0)
        load(self, state_dict)

    kind.load_state_dict = load_counted


# 6. Gradients of matrices ---------------------------------------------------------------------------------------------


class _GradientProducts:
    """What Apex's extension of this name does for `gradient_accumulation_fusion`: a pass over all gradients is saved."""

    @staticmethod
    def wgrad_gemm_accum_fp32(given: torch.Tensor, grad: torch.Tensor, main_grad: torch.Tensor) -> None:
        if grad.dtype == main_grad.dtype:
            main_grad.addmm_(grad.t(), given)
        else:
            main_grad.add_(grad.t() @ given)

    wgrad_gemm_accum_fp16 = wgrad_gemm_accum_fp32


def _clip_in_place() -> None:
    """Scale in one pass. Megatron's stand-in for Apex's kernel makes a copy and copies it back, utils.py:1337."""
    clipping: Any = importlib.import_module("megatron.core.optimizer.clip_grads")
    ours: Any = importlib.import_module("megatron.core.utils").local_multi_tensor_scale
    if clipping.multi_tensor_scale_impl is ours:
        clipping.multi_tensor_scale_impl = _scale


def _scale(_chunk: int, _overflow: Any, tensors: list[list[torch.Tensor]], factor: float) -> None:
    for source, target in zip(*tensors, strict=True):
        torch.mul(source, factor, out=target)


def add_gradients_in_place(model: torch.nn.Module) -> None:
    """Let matrices of a model that has its gradient buffers (that data parallelism holds) add to them directly."""
    layers: Any = importlib.import_module("megatron.core.tensor_parallel.layers")
    if not layers._grad_accum_fusion_available:  # tensor_parallel/layers.py:49, 680
        layers.fused_weight_gradient_mlp_cuda = _GradientProducts
    for module in model.modules():
        if hasattr(module, "gradient_accumulation_fusion"):
            module.gradient_accumulation_fusion = True  # type: ignore[assignment]


def fuse_adam(optimizer: Any) -> None:
    """Let torch's AdamW update each weight in one pass over memory instead of eight; Megatron does not pass that on."""
    for part in parts(optimizer):
        if isinstance(part.optimizer, torch.optim.AdamW):
            for group in part.optimizer.param_groups:
                group |= {"fused": True, "foreach": False}


def give_adam_its_zeros(optimizer: Any) -> None:
    """Create the state of a torch AdamW that has not stepped, so that a checkpoint can be loaded into it.

    optimizer/distrib_optimizer.py:839 asserts that there is one 'step' among the states; the plain optimizer would take
    a step on zero gradients to get them, and weight decay would move the weights.
    """
    for part in parts(optimizer):
        inner = part.optimizer
        if not isinstance(inner, torch.optim.AdamW):
            continue  # Transformer Engine's and Apex's are given theirs by Megatron
        for group in inner.param_groups:
            for parameter in group["params"]:
                if not inner.state[parameter]:
                    inner.state[parameter] = {
                        "step": torch.tensor(0.0, device=parameter.device),
                        "exp_avg": torch.zeros_like(parameter.data),
                        "exp_avg_sq": torch.zeros_like(parameter.data),
                    }


# 7. What is inside its optimizers -------------------------------------------------------------------------------------


def parts(optimizer: Any) -> list[Any]:
    """The optimizers that one is made of: experts have their own."""
    return getattr(optimizer, "chained_optimizers", [optimizer])


def is_shared(part: Any) -> bool:
    """Whether every rank has another slice of what it moves: the distributed optimizer."""
    return hasattr(part, "model_param_group_index_map")


def held(part: Any, parameter: torch.nn.Parameter) -> Any:
    """What a part moves for `parameter`: itself, its copy in fp32, or this rank's slice of either; `None` if nothing."""
    if not is_shared(part):
        return getattr(parameter, "main_param", parameter)
    if parameter not in part.model_param_group_index_map:
        return None
    group, place = part.model_param_group_index_map[parameter]
    return part.optimizer.param_groups[group]["params"][place]


def gradient(held: Any) -> torch.Tensor | None:
    """The gradient of what is moved, wherever this optimizer keeps it."""
    return held.grad if held.grad is not None else getattr(held, "decoupled_grad", None)


def is_expert(parameter: torch.nn.Parameter) -> bool:
    """Whether its gradient is added up among the ranks that share experts, not among all."""
    return not getattr(parameter, "allreduce", True)


# 8. Rotary positions of Transformer Engine's layers -------------------------------------------------------------------


def set_rotary_base(model: Any, theta: float) -> None:
    """Give Megatron's own rotary embedding, which is there under Transformer Engine's attention, another base."""
    rotary: Any = getattr(model, "rotary_pos_emb", None)
    if rotary is not None and hasattr(rotary, "inv_freq"):
        size = 2 * len(rotary.inv_freq)
        powers = torch.arange(0, size, 2, dtype=torch.float32, device=rotary.inv_freq.device) / size
        rotary.inv_freq = 1.0 / theta**powers
        rotary.forward.cache_clear()


# 9. A save taken apart ------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """What a rank has to do for a state."""

    write: Callable[[], None]
    hand_over: Callable[[], None]
    """Gives Megatron what came of it, before it is finalized."""
    files: list[Path]


def copied(request: Any) -> Work:
    """What is to be written, copied out of the model's and the optimizer's memory."""
    if request.async_fn is None:
        return Work(lambda: None, lambda: None, [])
    rank, _, results = request.async_fn_args
    buckets = [
        (path, key, (raw, [(item, tensor.clone()) for item, tensor in tensors]))
        for path, key, (raw, tensors) in request.preload_fn()
    ]

    own: queue.Queue[Any] = queue.Queue()

    def write() -> None:
        request.async_fn(rank, buckets, own)
        result = own.get()
        if isinstance(result, Exception):
            raise RuntimeError(str(result))
        own.put(result)

    def hand_over() -> None:
        # All writes of a process share one queue in Megatron: filled only when its reader is next, since a milestone may
        # be written and committed while a state is on its way.
        results.put(own.get())

    return Work(write, hand_over, [Path(path) for path, _, _ in buckets])
