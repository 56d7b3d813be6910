"""The inside of the sandbox: a script of its own, which takes a program on standard input and gives what its function returned.

Run as `python -I -S confined.py`; nothing of this package is imported. Modules that programs may use are imported first, because
from then on no file can be opened: the kernel (seccomp) refuses every system call but those on memory, clocks and what is
already open. There is no file, network, process, thread, signal or terminal to be had. Limits on memory, processor time and what
can be written come before that. If any of it cannot be set up, nothing is run.
"""

import bisect
import collections
import copy
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import heapq
import itertools
import json
import math
import operator
import os
import random
import re
import resource
import statistics
import string
import struct
import sys
import textwrap
import typing
import unicodedata

ALLOWED = (
    bisect,
    collections,
    copy,
    dataclasses,
    datetime,
    decimal,
    enum,
    fractions,
    functools,
    hashlib,
    heapq,
    itertools,
    json,
    math,
    operator,
    random,
    re,
    statistics,
    string,
    struct,
    textwrap,
    typing,
    unicodedata,
)
"""What a program can import, as far as these have not been imported by them."""
_SYSCALLS = (
    0,
    1,
    3,
    5,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    24,
    25,
    28,
    35,
    39,
    60,
    96,
    131,
    186,
    201,
    202,
    228,
    229,
    230,
    231,
    318,
)
"""x86-64: read, write, close, fstat, lseek, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, sched_yield,
mremap, madvise, nanosleep, getpid, exit, gettimeofday, sigaltstack, gettid, time, futex, clock_gettime, clock_getres,
clock_nanosleep, exit_group, getrandom."""
_ARCHITECTURE = 0xC000003E
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050001, 0x7FFF0000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_RESULT = 3
"""The descriptor that results go to."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def main() -> None:
    """Read a job, lock the door, run it, say what came of it."""
    job = json.loads(sys.stdin.buffer.read())
    os.dup2(1, _RESULT)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.closerange(_RESULT + 1, 65536)
    random.seed(0)
    _limit(job["memory_bytes"], job["cpu_seconds"])
    _lock()
    _say({"locked": True})
    _run(job)
    os._exit(0)


def _run(job: dict) -> None:
    names: dict = {"__name__": "program"}
    try:
        exec(compile(job["source"], "<program>", "exec"), names)
        function = names[job["function"]]
    except BaseException as error:  # noqa: BLE001  # whatever a stranger's program raises
        _say({"error": _named(error)})
        return
    for arguments in job["calls"]:
        try:
            _say({"value": function(*copy.deepcopy(arguments))})
        except BaseException as error:  # noqa: BLE001
            _say({"error": _named(error)})


def _named(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except BaseException:  # noqa: BLE001
        return type(error).__name__


def _say(what: dict) -> None:
    os.write(_RESULT, json.dumps(what).encode() + b"\n")


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _RESULT + 1,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def _lock() -> None:
    """Refuse every system call that is not on the list, from here to the end of the process."""
    load_architecture, load_number = _Instruction(0x20, 0, 0, 4), _Instruction(0x20, 0, 0, 0)
    steps = [load_architecture, _Instruction(0x15, 1, 0, _ARCHITECTURE), _Instruction(0x06, 0, 0, _KILL), load_number]
    steps += [_Instruction(0x15, len(_SYSCALLS) - at, 0, number) for at, number in enumerate(_SYSCALLS)]
    steps += [_Instruction(0x06, 0, 0, _REFUSE), _Instruction(0x06, 0, 0, _ALLOW)]
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or kernel.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel gives no seccomp filter")


if __name__ == "__main__":
    main()
