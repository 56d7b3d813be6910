"""Recipes, contents and digests: equal exactly where what they name is equal."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Architecture, Corpus, Experts, File, Manifest, Recipe, Run
from bunbuku_contracts.digest import hash_files, hash_json, hash_tree
from bunbuku_contracts.errors import ArtifactError
from bunbuku_contracts.stage import changed_leaves, differences
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=10
)
digests = st.from_regex(r"[0-9a-f]{64}(#[a-z0-9]{1,5})?", fullmatch=True)
recipes = st.builds(
    Recipe,
    stage=st.just("corpus.clean"),
    revision=st.integers(1, 9),
    config=st.dictionaries(st.text(), json_values, max_size=4),
    inputs=st.dictionaries(st.text(), digests, max_size=3),
    milestone=st.none() | st.text(),
)
RUN = Run(package="p", version="1", started=datetime(2026, 1, 1, tzinfo=UTC), seconds=1.0, host="h", python="3")


def manifest(recipe: Recipe, *files: File) -> Manifest[Corpus]:
    return Manifest[Corpus](
        kind="corpus", schema_version=1, spec=Corpus(), recipe=recipe, files=files, metrics={}, run=RUN
    )


def file(name: str, **facts: Any) -> File:
    return File(path=name, bytes=1, sha256=hash_json(name), **facts)


PLAIN = Recipe(stage="s.s", revision=1, config={}, inputs={})


@given(recipes)
def test_a_manifest_survives_the_disk(recipe: Recipe):
    made = manifest(recipe, file("a"), file("train/b", part="train", rows=3))
    again = Manifest[Corpus].model_validate_json(made.model_dump_json(exclude_none=True))
    assert again == made
    assert (again.content, again.recipe.digest) == (made.content, made.recipe.digest)


@given(recipes, recipes)
def test_recipes_differ_exactly_where_their_digests_do(one: Recipe, two: Recipe):
    same = one.model_dump_json() == two.model_dump_json()
    if same:
        assert one.digest == two.digest
        assert not list(differences(one, two))
    if one.digest != two.digest:
        assert not same


@given(st.dictionaries(st.text(min_size=1), json_values, max_size=4), st.randoms(use_true_random=False))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any], shuffle: random.Random):
    keys = list(value)
    shuffle.shuffle(keys)
    assert hash_json({key: value[key] for key in keys}) == hash_json(value)
    assert hash_json(json.loads(json.dumps(value))) == hash_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"x"])
def test_what_json_cannot_spell_has_no_digest(value: object):
    with pytest.raises((TypeError, ValueError)):
        hash_json({"x": value})


@given(st.permutations([file(name) for name in "abcd"]))
def test_content_ignores_the_order_of_files(files: list[File]):
    assert manifest(PLAIN, *files).content == manifest(PLAIN, *(file(name) for name in "abcd")).content


def test_content_ignores_the_run_the_recipe_logs_and_lineage():
    bare = manifest(PLAIN, file("a"))
    later = RUN.model_copy(update={"host": "elsewhere", "seconds": 99.0})
    other = Recipe(stage="s.other", revision=2, config={"x": 1}, inputs={})
    told = manifest(other, file("a"), file("log/terminal.txt", part="log"), file("lineage/x.json", part="lineage"))
    assert told.model_copy(update={"run": later}).content == bare.content


@pytest.mark.parametrize("changed", [file("b"), file("a", part="train"), File(path="a", bytes=1, sha256="0" * 64)])
def test_content_sees_every_name_part_and_byte(changed: File):
    assert manifest(PLAIN, changed).content != manifest(PLAIN, file("a")).content


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "a//b", "./a", "", "."])
def test_a_file_stays_inside_its_artifact(path: str):
    with pytest.raises(ValidationError):
        File(path=path, bytes=0, sha256="0" * 64)


def test_a_path_is_listed_once():
    with pytest.raises(ValidationError, match="listed twice"):
        manifest(PLAIN, file("a"), file("a"))


def test_changed_leaves_reach_into_lists_and_name_what_is_absent():
    old = {"filters": [{"min": 1}, {"min": 2}], "gone": 1, "same": []}
    new = {"filters": [{"min": 1}, {"min": 3}], "new": None, "same": []}
    expected = ["filters.1.min: 2 -> 3", "gone: 1 -> (absent)", "new: (absent) -> None"]
    assert list(changed_leaves(old, new)) == expected


@given(st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "e"]), st.binary(max_size=9), min_size=1))
def test_a_folder_is_named_by_its_files_and_their_bytes(contents: dict[str, bytes]):
    import tempfile

    def lay(root: Path, order: list[str]) -> str:
        for name in order:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(contents[name])
        return hash_tree(root)

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        digest = lay(Path(one), sorted(contents))
        assert lay(Path(two), sorted(contents, reverse=True)) == digest
        (Path(two) / "more").write_bytes(b"")
        assert hash_tree(Path(two)) != digest


def test_a_file_that_changes_under_the_same_name_is_hashed_anew(tmp_path: Path):
    path = tmp_path / "words"
    seen: set[str] = set()
    for text in ("はい", "いえ", "うん"):  # equally long, written within one tick of a coarse clock
        path.write_text(text)
        seen.add(hash_tree(path))
    assert len(seen) == 3


def test_a_loop_of_links_is_refused(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "back").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match="leads back into itself"):
        hash_tree(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.raises(ArtifactError):
        hash_tree(tmp_path / "self")


def test_a_link_from_outside_is_followed(tmp_path: Path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "words").write_text("はい")
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert hash_tree(tmp_path / "here") == hash_tree(tmp_path / "there")


def test_threads_keep_the_order(tmp_path: Path):
    paths = [tmp_path / str(number) for number in range(50)]
    for path in paths:
        path.write_text(path.name * 1000)
    assert hash_files(paths) == [hash_files([path])[0] for path in paths]


def test_parameters_are_those_of_a_hand_count():
    tiny = Architecture(layers=1, hidden_size=4, ffn_size=3, heads=2, kv_heads=1, vocab_size=5)
    attention = 4 * 4 + 2 * (4 * 2) + 4 * 4
    dense = 2 * (5 * 4) + attention + 3 * 4 * 3 + 3 * 4
    assert tiny.parameters == tiny.active_parameters == dense
    moe = Architecture.model_validate(tiny.model_dump() | {"experts": Experts(count=4, active=2).model_dump()})
    assert moe.parameters == dense + 3 * (3 * 4 * 3) + 4 * 4
    assert moe.active_parameters == dense + 1 * (3 * 4 * 3) + 4 * 4


@pytest.mark.parametrize("changes", [{"heads": 3}, {"kv_heads": 3}, {"experts": {"count": 2, "active": 3}}])
def test_a_shape_that_cannot_be_is_refused_with_both_values(changes: dict[str, Any]):
    shape: dict[str, Any] = {"layers": 1, "hidden_size": 8, "ffn_size": 3, "heads": 4, "kv_heads": 2, "vocab_size": 5}
    with pytest.raises(ValidationError, match="3"):
        Architecture.model_validate(shape | changes)


def test_a_mixture_in_some_layers_with_a_shared_network_has_the_weights_it_says():
    shape = {"layers": 3, "hidden_size": 4, "ffn_size": 3, "heads": 2, "kv_heads": 1, "vocab_size": 5}
    experts = {"count": 4, "active": 2, "layers": (0, 2), "dense_ffn_size": 6, "shared_ffn_size": 5}
    model = Architecture.model_validate(shape | {"experts": experts})
    attention, norms, embeddings = 4 * 4 * 2 + 4 * 2 * 2, 2 * 4, 2 * 5 * 4 + 4
    router, expert, shared, dense = 4 * 4, 3 * 4 * 3, 3 * 4 * 5, 3 * 4 * 6
    same = 3 * (attention + norms) + embeddings + dense + 2 * (router + shared)
    assert model.parameters == same + 2 * 4 * expert
    assert model.active_parameters == same + 2 * 2 * expert
    assert model.expert_parameters == 2 * 4 * expert
    assert (model.mixture_layers, model.dense_ffn_size) == ((0, 2), 6)
    assert model.training_bytes() == 18 * model.parameters
    met = model.active_parameters - 5 * 4
    assert model.flops_per_token(7) == 6 * met + 12 * 3 * 4 * 7
    assert Architecture.model_validate(model.model_dump(mode="json")) == model


def test_what_mixtral_computes_too_is_told_from_what_it_does_not():
    assert Experts(count=4, active=2, aux_loss_coefficient=0.5).is_mixtral
    own = ({"gate_order": "softmax_first"}, {"layers": (1,)}, {"shared_ffn_size": 8}, {"normalization": {"ddof": 0}})
    for fields in own:
        assert not Experts.model_validate({"count": 4, "active": 2} | fields).is_mixtral


@pytest.mark.parametrize("layers", [(), (1, 0), (1, 1), (0, 3)])
def test_layers_that_cannot_have_experts_are_refused(layers: tuple[int, ...]):
    shape = {"layers": 3, "hidden_size": 4, "ffn_size": 3, "heads": 2, "kv_heads": 1, "vocab_size": 5}
    with pytest.raises(ValidationError, match=r"are not one or more layers|names layer 3, the last of 3 is 2"):
        Architecture.model_validate(shape | {"experts": {"count": 4, "active": 2, "layers": layers}})
