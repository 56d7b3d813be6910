"""Ways out of the sandbox, each tried: none leads anywhere."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from bunbuku_inference.sandbox import Limits, Ran, run_program
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Limits(cpu_seconds=1, wall_seconds=30)
_SYSCALL = "import ctypes\nkernel = ctypes.CDLL(None, use_errno=True)\ndef f(*a):\n    return kernel.syscall(*a)"


def tried(body: str, *arguments: object, limits: Limits = LIMITS) -> Ran:
    return run_program(body, "f", [list(arguments)], limits)


@pytest.mark.parametrize(
    "body",
    [
        "def f(path):\n    return open(path).read()",
        "def f(path):\n    return open(path, 'w').write('x')",
        "import os\ndef f(path):\n    return os.unlink(path) or 'gone'",
        "import os\ndef f(path):\n    return os.listdir(os.path.dirname(path))",
        "import os\ndef f(path):\n    return os.rename(path, path + '2') or 'moved'",
        "import os\ndef f(path):\n    return os.stat(path).st_size",
        "import os\ndef f(path):\n    return os.chmod(path, 0) or 'changed'",
        "import os\ndef f(path):\n    return os.symlink(path, path + '2') or 'linked'",
        "import os\ndef f(path):\n    return os.open('/proc/self/mem', os.O_RDWR)",
    ],
    ids=["read", "write", "remove", "list", "rename", "stat", "chmod", "link", "own-memory"],
)
def test_no_file_can_be_touched(tmp_path: Path, body: str):
    secret = tmp_path / "secret"
    secret.write_text("狸")
    before = secret.stat()
    ran = tried(body, str(secret))
    assert ran.values == () and ran.problem and "Error" in ran.problem
    assert [path.name for path in tmp_path.iterdir()] == ["secret"] and secret.read_text() == "狸"
    assert secret.stat().st_mode == before.st_mode


def test_no_connection_leaves_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        ran = tried(
            "import _socket\ndef f(port):\n    s = _socket.socket()\n    s.connect(('127.0.0.1', port))\n    return 1",
            port,
        )
        assert ran.values == ()
        ran = tried(_SYSCALL, 41, 2, 1, 0)  # socket(AF_INET, SOCK_STREAM)
        assert ran.values in ((), (-1,))
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "body",
    [
        "import os\ndef f():\n    return os.fork()",
        "import os\ndef f():\n    assert os.system('true') == 0\n    return 0",
        "import os\ndef f():\n    os.execv('/bin/true', ['true'])",
        "import posix\ndef f():\n    return posix.posix_spawn('/bin/true', ['true'], {})",
        "import _thread\ndef f():\n    return _thread.start_new_thread(print, ())",
        "import os\ndef f():\n    return os.kill(os.getppid(), 9) or 'killed'",
    ],
    ids=["fork", "system", "exec", "spawn", "thread", "kill"],
)
def test_no_process_or_thread_is_started_or_ended(body: str):
    ran = tried(body)
    assert ran.values in ((), (-1,)) and os.getpid()


def test_bare_system_calls_are_refused_too():
    for number, arguments in {
        57: (),
        58: (),
        59: (0, 0, 0),
        257: (-100, 0, 0),
        101: (0, 0, 0),
        165: (0, 0),
        435: (0, 0),
    }.items():
        assert tried(_SYSCALL, number, *arguments).values in ((), (-1,)), number


def test_memory_processor_and_clock_are_limited():
    assert tried("def f():\n    return len(bytearray(2**31))").problem == "MemoryError: "
    began = time.monotonic()
    assert tried("def f():\n    while True: pass").problem == "time"
    sleeping = Limits(wall_seconds=3)
    assert tried("import time\ndef f():\n    time.sleep(600)", limits=sleeping).problem == "time"
    assert time.monotonic() - began < 60


def test_signals_cannot_be_set_aside_to_live_longer():
    body = "import _signal\ndef f():\n    for n in range(1, 32):\n        try: _signal.signal(n, _signal.SIG_IGN)\n        except (OSError, ValueError): pass\n    while True: pass"
    assert tried(body).problem == "time"


def test_it_cannot_lift_its_own_limits():
    body = "import resource\ndef f():\n    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n    return 'lifted'"
    assert tried(body).values == ()


def test_a_flood_of_output_is_cut():
    ran = tried("import os\ndef f():\n    while True: os.write(3, b'x' * 65536)\n    return 1")
    assert ran == Ran(problem="output")


def test_endings_of_all_kinds_are_told():
    assert tried("def f():\n    return 1 / 0").problem == "ZeroDivisionError: division by zero"
    assert tried("def g(): pass").problem == "KeyError: 'f'"
    assert "SyntaxError" in str(tried("def f(:").problem)
    assert tried("import os\ndef f():\n    os._exit(0)").problem == "died"
    assert tried("def f():\n    raise SystemExit").problem == "SystemExit: "
    assert tried("def f():\n    return {1}").values == ()
    deep = "import sys\ndef f():\n    sys.setrecursionlimit(10**9)\n    def g(n): return g(n + 1)\n    return g(0)"
    assert tried(deep).values == ()


def test_results_that_a_program_forges_are_judged_like_any_other():
    body = "import os\ndef f(x):\n    os.write(3, b'{\"value\": 7}\\n')\n    return 7"
    assert not run_program(body, "f", [[1], [2]]).passes([1, 2])


@settings(max_examples=5)
@given(
    st.lists(
        st.lists(st.integers(-(10**6), 10**6) | st.text(max_size=9) | st.booleans() | st.none(), max_size=5), max_size=4
    )
)
def test_what_goes_in_comes_out(values: list[list[object]]):
    ran = run_program("def f(x):\n    return x", "f", [[value] for value in values])
    assert ran.passes(values) and list(ran.values) == values


def test_calls_do_not_see_each_other_and_programs_can_run_side_by_side():
    found: list[Ran] = []

    def run() -> None:
        found.append(run_program("def f(x):\n    x.append(1)\n    return len(x)", "f", [[[]], [[]]]))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ran.values for ran in found] == [(1, 1)] * 3
