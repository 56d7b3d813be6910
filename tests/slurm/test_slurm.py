"""`runs/slurm` on a real cluster of two nodes: the ranks meet, and a job that is queued anew goes on."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, Checkpoint, load

pytestmark = pytest.mark.timeout(900)

SLURM = Path(__file__).parents[2] / "runs" / "slurm"
TRAIN = """\
sequence_length = 32
batch_tokens = 256
total_tokens = {tokens}
optimizer = {{ learning_rate = 1e-2 }}

[model]
layers = 2
hidden_size = 32
ffn_size = 48
heads = 4
kv_heads = 2
"""
RUN = """\
ranks = 2
launcher = {{ type = "{launcher}"{more} }}
device = "cpu"
distributed_optimizer = true
checkpoint_interval_steps = 10
{limit}
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens, a tokenizer and configs."""
    folder = tmp_path_factory.mktemp("training")
    who, where = (
        ("狸", "和尚", "殿様", "村人", "旅人", "大工", "医者", "作家"),
        ("寺で", "山で", "町で", "橋で", "川で", "家で"),
    )
    what = ("お茶を飲んだ。", "綱を渡った。", "歌をうたった。", "本を読んだ。", "火をおこした。", "手紙を書いた。")
    rows = [{"text": f"{a}は{b}{c}"} for a, b, c in product(who, where, what)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "gather.toml").write_text('[[sources]]\ntype = "jsonl"\nlicence = "CC0-1.0"\nlanguage = "ja"\n')
    short, long = 30 * 256, 400 * 256
    (folder / "train.toml").write_text(TRAIN.format(tokens=short))
    (folder / "longer.toml").write_text(TRAIN.format(tokens=long))
    srun = ", ranks_per_node = 1"
    (folder / "here.toml").write_text(RUN.format(launcher="local", more="", limit=""))
    (folder / "cluster.toml").write_text(RUN.format(launcher="srun", more=srun, limit=""))
    rarely = RUN.format(launcher="srun", more=srun, limit="").replace("steps = 10", "steps = 1000")
    (folder / "rarely.toml").write_text(rarely)
    (folder / "limited.toml").write_text(RUN.format(launcher="srun", more=srun, limit="time_limit_seconds = 0.5"))
    for command in (
        "bunbuku-corpus gather gather.toml --source texts.jsonl --out corpus",
        "bunbuku-tokenizer train --set vocab_size=640 --set required_characters=kana --corpus corpus --out tokenizer",
        "bunbuku-pretrain tokenize --corpus corpus --tokenizer tokenizer --out tokens",
    ):
        subprocess.run(command.split(), cwd=folder, env=with_tools({}), check=True, capture_output=True)
    return folder


def with_tools(environment: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        **environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }


def arguments(config: str, run: str, out: str) -> list[str]:
    return [config, "--run", run, "--tokens", "tokens", "--tokenizer", "tokenizer", "--out", out]


def submit(folder: Path, slurm: dict[str, str], *given: str, script: str = "train") -> str:
    size = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--time=20", "--signal=B:TERM@60", "--parsable"]
    command = ["sbatch", *size, str(SLURM / f"{script}.sbatch"), *given]
    done = subprocess.run(command, cwd=folder, env=with_tools(slurm), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(slurm: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=slurm, capture_output=True, text=True, check=True).stdout


def state(job: str, slurm: dict[str, str]) -> dict[str, str]:
    parted = (word.partition("=") for word in ask(slurm, "scontrol", "show", "job", "-o", job).split())
    return {name: value for name, _, value in parted}


def wait(until: Callable[[], bool], what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def finish(job: str, folder: Path, slurm: dict[str, str], script: str = "train") -> str:
    """What the job said; it has to have succeeded."""
    ended = {"COMPLETED", "FAILED", "CANCELLED"}
    wait(lambda: state(job, slurm)["JobState"] in ended, f"{job} does not end", seconds=480)
    said = (folder / f"bunbuku-{script}-{job}.log").read_text()
    assert state(job, slurm)["JobState"] == "COMPLETED", said
    return said


def test_two_nodes_train_what_two_processes_of_one_machine_train(folder: Path, slurm: dict[str, str]) -> None:
    finish(submit(folder, slurm, *arguments("train.toml", "cluster.toml", "on-two-nodes")), folder, slurm)
    here = ["bunbuku-pretrain", "train", *arguments("train.toml", "here.toml", "here")]
    subprocess.run(here, cwd=folder, env=with_tools({}), check=True, capture_output=True)
    trained, expected = (load(folder / name, Checkpoint) for name in ("on-two-nodes", "here"))
    assert trained.content == expected.content
    assert (trained.dir / "log" / "rank-1.log").is_file()


@pytest.fixture(scope="session")
def undisturbed(folder: Path) -> Artifact[Checkpoint]:
    """The long training by two processes of this machine that nobody stops."""
    here = ["bunbuku-pretrain", "train", *arguments("longer.toml", "here.toml", "long-here")]
    subprocess.run(here, cwd=folder, env=with_tools({}), check=True, capture_output=True)
    return load(folder / "long-here", Checkpoint)


def test_a_requeued_job_goes_on_from_its_last_state(
    folder: Path, slurm: dict[str, str], undisturbed: Artifact[Checkpoint]
) -> None:
    job = submit(folder, slurm, *arguments("longer.toml", "cluster.toml", "requeued"))
    wait(lambda: any(folder.glob(".requeued.*.scratch/states/step-*")), "no state is saved")
    ask(slurm, "scontrol", "requeue", job)
    wait(lambda: int(state(job, slurm)["Restarts"]) >= 1, "it is not queued anew")
    finish(job, folder, slurm)
    requeued = load(folder / "requeued", Checkpoint)
    told = events(requeued.dir)
    assert told[0] == ("start", 0, "2 rank(s), from the beginning")
    (gone_on,) = [one for one in told if one[0] == "restart"]
    assert gone_on[1] >= 10
    assert gone_on[2] == f"2 rank(s), from the state after step {gone_on[1]}"
    assert requeued.content == undisturbed.content


@pytest.mark.parametrize("whom", ["its ranks", "its script"])
def test_a_job_that_gets_sigterm_saves_and_goes_on_from_there(
    folder: Path, slurm: dict[str, str], undisturbed: Artifact[Checkpoint], whom: str
) -> None:
    name = whom.replace(" ", "-")
    job = submit(folder, slurm, *arguments("longer.toml", "rarely.toml", name))
    history = f".{name}.*.scratch/history.jsonl"
    wait(lambda: any(path.read_text().count("\n") > 3 for path in folder.glob(history)), "no step is taken")
    # To all tasks of srun, which is what scancel does; or to the script alone, as `--signal=B:TERM@600` does.
    batch = ["--batch"] if whom == "its script" else []
    ask(slurm, "scancel", *batch, "--signal=TERM", job)
    wait(lambda: int(state(job, slurm)["Restarts"]) >= 1, "it is not queued anew")
    (saved,) = folder.glob(
        f".{name}.*.scratch/states/step-*"
    )  # no state was due: `rarely.toml` wants one in a thousand
    step = int(saved.name.removeprefix("step-"))
    said = finish(job, folder, slurm)
    assert f"after step {step} of 400" in " ".join(said.split())
    trained = load(folder / name, Checkpoint)
    (gone_on,) = [one for one in events(trained.dir) if one[0] == "restart"]
    assert gone_on == ("restart", step, f"2 rank(s), from the state after step {step}")
    assert trained.content == undisturbed.content


def events(trained: Path) -> list[tuple[str, int, str]]:
    """What happened to a training: kind, step, text; without what a busy machine adds."""
    told = [json.loads(line) for line in (trained / "log" / "events.jsonl").read_text().splitlines()]
    return [(one["kind"], one["step"], one["text"]) for one in told if one["kind"] in {"start", "restart", "failure"}]


def test_a_training_at_its_time_limit_queues_itself_anew(folder: Path, slurm: dict[str, str]) -> None:
    job = submit(folder, slurm, *arguments("longer.toml", "limited.toml", "limited"))
    wait(lambda: int(state(job, slurm)["Restarts"]) >= 1, "it is not queued anew")
    ask(slurm, "scancel", job)
    said = (folder / f"bunbuku-train-{job}.log").read_text()
    assert "stopped by `time_limit_seconds` 0.5" in said


@pytest.mark.long
def test_two_nodes_fine_tune_what_two_processes_of_one_machine_do(folder: Path, slurm: dict[str, str]) -> None:
    (folder / "short.toml").write_text(TRAIN.format(tokens=5 * 256).replace("length = 32", "length = 128"))
    (folder / "tasks.toml").write_text('[[tasks]]\ntype = "arithmetic"\ncount = 60\n')
    (folder / "sft.toml").write_text("max_tokens = 128\nmax_steps = 3\nbatch_examples = 8\nsamples = 1\n")
    divided = 'ranks = 2\ndevice = "cpu"\nthreads = 1\nsharding = { type = "fsdp" }\n'
    (folder / "two-here.toml").write_text(divided)
    (folder / "two-nodes.toml").write_text(divided + 'launcher = { type = "srun", ranks_per_node = 1 }\n')
    for command in (
        "bunbuku-pretrain train short.toml --tokens tokens --tokenizer tokenizer --out begun",
        "bunbuku-pretrain export --checkpoint begun --tokenizer tokenizer --out base",
        "bunbuku-synth generate tasks.toml --corpus corpus --out dialogues",
        "bunbuku-align sft sft.toml --run two-here.toml --checkpoint base --dialogues dialogues --out tuned-here",
    ):
        done = subprocess.run(
            command.split(), cwd=folder, env=with_tools({}), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    asked = "sft sft.toml --run two-nodes.toml --checkpoint base --dialogues dialogues --out tuned-on-two-nodes"
    finish(submit(folder, slurm, *asked.split(), script="align"), folder, slurm, "align")
    here, there = (load(folder / name, Checkpoint) for name in ("tuned-here", "tuned-on-two-nodes"))
    assert there.content == here.content
    assert (there.dir / "log" / "rank-1.log").is_file()


def test_outside_a_job_srun_is_refused(folder: Path) -> None:
    command = ["bunbuku-pretrain", "train", *arguments("train.toml", "cluster.toml", "nowhere")]
    environment = {name: value for name, value in with_tools({}).items() if not name.startswith("SLURM")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "`launcher` is srun, and this is not a Slurm job" in " ".join(done.stderr.split())
    assert not (folder / "nowhere").exists()
