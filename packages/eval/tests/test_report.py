"""The page: what must be on it, that it asks for nothing, and that a browser opens it without complaint."""

import re
import shutil
import subprocess
import tomllib
from html.parser import HTMLParser

import pytest
from bunbuku_contracts import BunbukuError, read_sections
from bunbuku_eval import (
    BaselineConfig,
    ChoiceConfig,
    GenerateConfig,
    PerplexityConfig,
    Prompt,
    ReportConfig,
    Sample,
    baseline,
    choice,
    generate,
    perplexity,
    report,
)
from bunbuku_eval.run import EvalRun
from bunbuku_inference import Sampling, TransformersEngine

ON_ONE_THREAD = EvalRun(engine=TransformersEngine(threads=1, device="cpu"))
SAMPLE = Sample(documents=12)


@pytest.fixture(scope="module")
def evaluated(make, place, models, tokens, tokenizer, held_out, items):
    """Everything there is to show: the checkpoints, then the reports by name."""
    checkpoints = {"first": models["first"], "mixture": make.mixture(models["first"]), "other": models["second"]}
    perplexed = perplexity(
        place("perplexity"), PerplexityConfig(sample=SAMPLE), checkpoints, held_out, run=ON_ONE_THREAD
    )
    bigram = BaselineConfig(sample=SAMPLE, discount=0.75, unigram_discount=0.5)
    prompts = (Prompt(name="cat", text="猫は"), Prompt(name="ask", style="chat", text="水が<b>好き</b>"))
    written = GenerateConfig(prompts=prompts, sampling=Sampling(max_tokens=8))
    reports = {
        "perplexity": perplexed,
        "baseline": baseline(place("baseline"), bigram, tokens, tokenizer, held_out),
        "choice": choice(place("choice"), ChoiceConfig(items=20), checkpoints, items, run=ON_ONE_THREAD),
        "generate": generate(place("generate"), written, checkpoints, run=ON_ONE_THREAD),
        "similarity": make.similarity(checkpoints["mixture"]),
    }
    return checkpoints, reports


@pytest.fixture(scope="module")
def made(place, evaluated):
    checkpoints, reports = evaluated
    config = ReportConfig(title="分福茶釜の試験", notes=("A note.",), attribution=("Sentences by nobody, CC0.",))
    return report(place("report"), config, reports, checkpoints)


@pytest.fixture(scope="module")
def html(made) -> str:
    return (made.dir / made.spec.page).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Whether tags nest, and all attributes."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


@pytest.fixture(scope="module")
def tags(html) -> Tags:
    parser = Tags()
    parser.feed(html)
    parser.close()
    return parser


def test_tags_nest_and_ids_are_there_once_and_every_link_leads_somewhere(tags) -> None:
    assert tags.open == []
    ids = [value for _, name, value in tags.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    inner = [value[1:] for tag, name, value in tags.attributes if (tag, name) == ("a", "href")]
    assert inner and set(inner) <= set(ids)


def test_the_page_asks_for_nothing(tags, html) -> None:
    for tag, name, value in tags.attributes:
        if name in ("src", "href", "action", "data"):
            assert value.startswith(("#", "data:")), f"{tag} {name}={value}"
    assert "default-src 'none'" in html
    assert not re.search(r"@import|url\(", html)


def test_what_artifacts_say_is_text_and_never_markup(html) -> None:
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "水が&lt;b&gt;好き&lt;/b&gt;" in html


def test_the_headline_has_every_model_and_the_bigram_table(made, evaluated) -> None:
    _, reports = evaluated
    metrics, source = made.manifest.metrics, reports["perplexity"].manifest.metrics
    for model in ("first", "mixture", "other"):
        assert metrics[f"bits_per_byte.{model}"] == source[f"bits_per_byte.{model}.total"]
    assert metrics["tokens_seen.other"] == 200
    bigram = reports["baseline"].manifest.metrics["bits_per_byte.kneser_ney.total"]
    assert metrics["to_baseline.first"] == pytest.approx(metrics["bits_per_byte.first"] - bigram)
    assert metrics["chance"] == 0.25


def test_a_mixture_with_its_parents_weights_does_not_differ_from_it(made, html) -> None:
    assert made.manifest.metrics["to_parent.mixture"] == 0.0
    assert "to_parent.first" not in made.manifest.metrics  # nothing measured is above it
    assert "mixture needs the bits per byte of first, which it was made from, to three decimals." in html
    (section,) = read_sections(made)
    assert [row[0] for row in section.tables[0].rows] == ["kneser_ney", "first", "mixture", "other"]


def test_curves_of_ancestors_are_found_where_they_lay(html) -> None:
    chart = re.search(r'<h3>pretrain.export</h3>.*?<svg class="chart lines".*?</svg>', html, re.S)
    assert chart
    assert chart[0].count("<polyline") == 2  # two trainings; the mixture has no log of its own
    assert "layers/gradient_norm" not in html  # every layer is a matter of the training's own page


def test_sections_of_stages_it_does_not_know_are_drawn(html) -> None:
    assert "隣り合う専門家の類似度。" in html
    assert 'src="data:image/svg+xml;base64,' in html
    assert "cosine over expert" in html


def test_all_texts_stand_side_by_side(html, evaluated) -> None:
    import pyarrow.parquet as pq

    shown = re.findall(r'<p class="said"[^>]*>', html)
    assert len(shown) == pq.read_table(evaluated[1]["generate"].dir / "items.parquet").num_rows == 6


def test_the_commands_give_the_recorded_configs_back(html, evaluated) -> None:
    from html import unescape

    script = unescape(re.findall(r"<code>(.*?)</code>", html, re.S)[-2])
    configs = {}
    for name, text in re.findall(r"cat > (\S+) <<'TOML'\n(.*?)TOML\n", unescape(html), re.S):
        configs[name] = tomllib.loads(text)
    for made in evaluated[1].values():
        recorded = {key: value for key, value in made.manifest.recipe.config.items() if value is not None}
        assert configs.get(f"{made.dir.name}.toml", {}) == recorded
    line = re.search(r"bunbuku-eval perplexity.*?--run \S+", unescape(html), re.S)
    assert line
    for word in ("--checkpoints first=first-", "--corpus 'split-", "#validation'", "--out perplexity-"):
        assert word in line[0]
    assert script


def test_licences_and_attribution_are_named(html) -> None:
    assert "CC0-1.0" in html
    assert "Sentences by nobody, CC0." in html


def test_the_same_artifacts_give_the_same_page(place, made, evaluated) -> None:
    checkpoints, reports = evaluated
    config = ReportConfig.model_validate(made.manifest.recipe.config)
    again = report(place("report"), config, reports, checkpoints)
    assert again.content == made.content


def test_an_ancestor_that_is_gone_is_named_from_its_manifest(make, place, tokenizer, tmp_path) -> None:
    gone = make.model(tokenizer, seed=7)
    mixture = make.mixture(gone)
    shutil.rmtree(gone.dir)
    page = report(place("report"), ReportConfig(), {}, {"mixture": mixture})
    text = (page.dir / "index.html").read_text(encoding="utf-8")
    assert f"{gone.dir.name} (no longer there as it was)" in text
    assert "No two measurements on the same documents were given" in text


def test_nothing_to_show_is_one_sentence(place) -> None:
    with pytest.raises(BunbukuError, match="nothing to show"):
        report(place("report"), ReportConfig(), {}, {})


@pytest.mark.chromium
def test_a_browser_opens_it_without_a_word_on_its_console(made, tmp_path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    quiet = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
    rest = ("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000")
    url = (made.dir / "index.html").resolve().as_uri() + "#a-" + made.manifest.recipe.inputs["checkpoints.first"][:12]
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", *quiet, *rest, "--enable-logging=stderr", "--v=0", "--dump-dom", url],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert re.search(r'<details class="artifact kind-checkpoint" id="a-[0-9a-f]{12}" open', done.stdout)
