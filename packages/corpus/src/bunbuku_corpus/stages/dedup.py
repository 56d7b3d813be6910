"""Drop documents that repeat others."""

from collections.abc import Iterable, Iterator

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Config, Corpus, Draft, stage
from pydantic import NonNegativeInt, model_validator

from bunbuku_corpus.clusters import AnyRule, Longest
from bunbuku_corpus.dedup_output import Tally, WriteShards
from bunbuku_corpus.dedup_report import dedup_report, dedup_sections
from bunbuku_corpus.dedup_steps import COPIES, Adopt, Sign
from bunbuku_corpus.duplicates import Deduplication, Search, Sources
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.minhash import NearDuplicates
from bunbuku_corpus.reports import write_report
from bunbuku_corpus.settling import Settle
from bunbuku_corpus.shards import RowGroup, renumbered, row_groups
from bunbuku_corpus.writing import by_shard, count_rows

INDEX = "index"
_SETTINGS = b"bunbuku.near"
_SIGNED = ("id", "text", "source", COPIES)


class DedupConfig(Config):
    """Which documents are duplicates, and which of them stay."""

    near: NearDuplicates = NearDuplicates()
    """Size of n-grams, threshold, and how thoroughly near-duplicates are looked for."""
    exact_only: bool = False
    """Drop equal texts only; `near` is of no account then."""
    representative: AnyRule = Longest()
    """Which of several duplicates stays: the `longest`, the `first`, the one `from_source`s in an order of preference, or
    the one with the `highest` number in a column. What is equal in that is decided by length, then by a hash of the text; of equal texts the one with the least id stays."""
    index: bool = False
    """Keep the signatures of what stays, so that a later run `--against` this one need not compute them again."""
    samples: NonNegativeInt = 10
    """Near-duplicates that the report shows."""

    @model_validator(mode="after")
    def _an_index_has_something(self) -> "DedupConfig":
        if self.index and self.exact_only:
            raise ValueError("`index` holds what near-duplicates are found by, and `exact_only` looks for none")
        return self


_HERE = EngineRun()


@stage("corpus.dedup", revision=2, resumable=True)
def dedup(
    draft: Draft,
    config: DedupConfig,
    corpus: Artifact[Corpus],
    against: dict[str, Artifact[Corpus]] | None = None,
    *,
    run: EngineRun = _HERE,
) -> Corpus:
    """Drop documents that repeat another one, exactly or nearly: the best of them stays.

    Texts are compared without white space and in NFKC. Near-duplicates are nominated by MinHash and decided by the
    Jaccard similarity of their character n-grams. What stays has the columns `cluster`, `cluster_size` and `copies` (how
    many documents it stands for); its order and its shards are those of the corpus. What goes is kept in the part
    `dropped` with its reason, `duplicate_of` and `similarity`. `report.json` and the sections count it all.

    Documents that repeat one of the corpora `--against` go as well: `--against january=DIR --against february=DIR`.
    """
    what = Deduplication(None if config.exact_only else config.near, config.representative)
    sources = _sources(corpus, list((against or {}).values()), what)
    with open_engine(run, draft.scratch) as engine:
        found = Search(engine, sources, what, draft.scratch, _tracked(draft))()
        fresh = [group for group in sources.texts if group.first >= sources.old]
        write = WriteShards(
            Settle(found.decisions),
            draft.dir,
            config.samples,
            signatures=draft.scratch / "signatures" if config.index else None,
            settings=_settings(what.near),
        )
        tally = Tally()
        for written in _tracked(draft)(engine.each(write, by_shard(fresh)), "write", len(by_shard(fresh))):
            tally.add(written, samples=config.samples)
    if not tally.documents["kept"]:
        raise BunbukuError(
            f"not one of {tally.documents.total()} documents in {corpus.dir} is new",
            hint="leave out what --against names, or this corpus",
        )
    count_rows(draft, tally.files)
    report = dedup_report(tally, found, earlier=sources.old)
    write_report(draft, report, dedup_sections(report, what.near))
    for name in ("seen", "kept", "exact_duplicates", "near_duplicates"):
        amount = getattr(report, name)
        draft.metrics |= {f"{name}.documents": amount.documents, f"{name}.characters": amount.characters}
    draft.metrics |= {f"pairs.{name}": float(number) for name, number in report.pairs.model_dump().items()}
    draft.metrics["earlier.documents"] = float(sources.old)
    return Corpus(languages=tuple(sorted(tally.languages)))


def _tracked(draft: Draft):
    def track[T](results: Iterable[T], what: str, total: int) -> Iterator[T]:
        return draft.track(results, unit="steps", total=total, label=f"{draft.label}: {what}")

    return track


def _sources(corpus: Artifact[Corpus], against: list[Artifact[Corpus]], what: Deduplication) -> Sources:
    """The row groups of all, numbered through.

    Raises:
        ArtifactError: An index was made with other settings, or lacks documents.
    """
    sources = Sources()
    old = place = 0
    for earlier in against:
        groups = row_groups(earlier, first=old, place=len(sources.texts), columns=_SIGNED)
        signed, step = renumbered(groups, place), Sign(what.near, what.rule, old=True)
        if INDEX in earlier.manifest.parts and earlier.part in (None, "data") and what.near:
            _refuse_other_settings(earlier, what.near)
            signed, step = row_groups(earlier, INDEX, first=old, place=place, needed=("id", "digest")), Adopt()
            _refuse_what_is_incomplete(earlier, signed, groups)
        sources.signing.append((step, signed))
        sources.texts.extend(groups)
        place += len(signed)
        old += sum(group.rows for group in groups)
    fresh = row_groups(corpus, first=old, place=len(sources.texts))
    sources.signing.append((Sign(what.near, what.rule), renumbered(fresh, place)))
    return Sources(sources.signing, [*sources.texts, *fresh], old)


def _settings(near: NearDuplicates | None) -> dict[bytes, bytes]:
    """What an index says of how it was made."""
    return {_SETTINGS: near.model_dump_json(include={"ngram", "bands", "rows"}).encode()} if near else {}


def _refuse_other_settings(earlier: Artifact[Corpus], near: NearDuplicates) -> None:
    wanted = _settings(near)[_SETTINGS]
    found = (pq.read_schema(earlier.path(earlier.files(INDEX)[0])).metadata or {}).get(_SETTINGS, b"no settings")
    if found != wanted:
        raise ArtifactError(
            f"the index of {earlier.dir} was made with {found.decode()}, and `near` is {wanted.decode()}",
            hint="take the same `near`, or deduplicate that corpus anew",
        )


def _refuse_what_is_incomplete(earlier: Artifact[Corpus], signed: list[RowGroup], groups: list[RowGroup]) -> None:
    """An index that holds too little finds too few duplicates, and nobody would notice."""
    found, documents = (sum(group.rows for group in some) for some in (signed, groups))
    said = sum(file.rows or 0 for file in earlier.files(INDEX))
    if not found or not found == said == documents:
        raise ArtifactError(
            f"the index of {earlier.dir} has {found:,} documents, where its manifest says {said:,} and the corpus has {documents:,}",
            hint=f"`bunbuku verify {earlier.dir}`; deduplicate that corpus anew",
        )
