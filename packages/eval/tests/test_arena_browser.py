"""The arena in headless Chromium, as voters meet it: with a mouse, with the keyboard alone, and with hostile texts."""

import os
import shutil
import time
from pathlib import Path

import pytest
from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.tables import Pool
from bunbuku_eval.stages.arena import by_question

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs headless Chromium"),
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-sync",
]
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Opens a page of a voter of its own, in Japanese; whatever goes wrong in it is an error."""
    contexts, faults = [], []

    def open_page(arena, voter: str, locale: str = "ja-JP"):
        context = chromium.new_context(locale=locale, viewport={"width": 1100, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(arena.url(arena.link(voter)), timeout=PATIENCE_MS)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def _shot(page, name: str) -> None:
    if folder := os.environ.get("BUNBUKU_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def ready(page) -> None:
    # The page's own policy forbids what `wait_for_function` does: it evaluates a string.
    page.wait_for_selector("#duel:not([hidden]) [data-choice=left]:enabled")


@pytest.mark.slow
def test_three_voters_cast_sixty_votes_see_the_names_and_the_leaderboard(open_arena, arenas, opened) -> None:
    arena = open_arena()
    for name in ("猫田", "犬山", "鳥居"):
        page = opened(arena, name)
        for number in range(20):
            ready(page)
            body = page.inner_text("#duel")
            assert not any(model in body for model in arenas.MODELS)
            left, right = page.inner_text(".text.left"), page.inner_text(".text.right")
            better = "left" if left.count("よい") > right.count("よい") else "right"
            page.get_by_label("日本語が自然").check()
            if number == 0:
                page.get_by_role("button", name=f"{'A' if better == 'left' else 'B'}がよい").click()
            else:
                page.keyboard.press("1" if better == "left" else "2") if not page.evaluate(
                    "document.activeElement.matches('input')"
                ) else page.click(f"[data-choice={better}]")
            page.wait_for_selector("#next:not([hidden])")
            told = {side: page.inner_text(f"[data-side={side}]").rpartition(": ")[2] for side in ("left", "right")}
            worse = "left" if better == "right" else "right"
            assert arenas.MODELS.index(told[better]) > arenas.MODELS.index(told[worse])
            assert told["left"] in page.inner_text("#status")
            if number == 19 and name == "鳥居":
                _shot(page, "arena-revealed")
                break
            page.click("#next")
    page.wait_for_selector("#board:not([hidden])")
    rows = page.locator("#board tbody th").all_inner_texts()
    assert rows == ["budou", "ringo", "mikan"]
    assert "60" in page.inner_text("#board-note")
    page.select_option("#category", "chat")
    page.check("#style")
    page.locator("#board tbody tr").nth(2).wait_for()
    _shot(page, "arena-leaderboard")
    store = Store(arena.database)
    votes = list(store.votes())
    store.close()
    assert len(votes) == 60
    assert {vote.reasons for vote in votes} == {"natural"}


def test_one_can_vote_by_keyboard_alone_and_every_control_has_a_name(arena, opened) -> None:
    page = opened(arena, "keys", locale="en-GB")
    ready(page)
    # Tab reaches everything once, in the order in which it is read.
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "(e => e === document.body ? '' : e.id || e.dataset.choice || e.value || e.className)(document.activeElement)"
            )
        )
        if order[-1] == "refresh":
            break
    wanted = ["language", "text left", "text right", "correct", "useful", "natural", "concise", "harmless"]
    assert order == [*wanted, "left", "right", "tie", "both_bad", "category", "style", "ties", "refresh"]
    # Every control has a role and a name that a screen reader tells, and the page tells where it is.
    tree = page.locator("body").aria_snapshot()
    for told in (
        'heading "Which answer is better?" [level=1]',
        'heading "Answer A" [level=3]',
        'button "A is better (1)"',
        'button "Both are bad (4)"',
        'checkbox "natural Japanese"',
        'group "Reasons (any number, or none)"',
        'combobox "Category"',
        'checkbox "Without length and layout"',
        'group "Vote"',
        "status: Choose the better answer.",
    ):
        assert told in tree, (told, tree)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator(".text.left").get_attribute("lang") == "ja"
    # Space ticks a reason, a digit votes, the focus then waits on the next pair.
    page.locator("#reasons input").first.focus()
    page.keyboard.press("Space")
    assert page.locator("#reasons input").first.is_checked()
    page.keyboard.press("3")  # not while a box has the focus
    assert page.locator("#next").is_hidden()
    page.locator("[data-choice=tie]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#next:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("Enter")
    ready(page)
    assert page.evaluate("document.activeElement.classList.contains('left')")
    page.keyboard.press("2")
    page.wait_for_selector("#next:not([hidden])")
    assert "Your vote counts." in page.inner_text("#status")
    page.keyboard.press("Shift+Tab")
    page.locator("#language").focus()
    page.keyboard.press("Enter")
    assert page.title() == "回答くらべ"


def test_hostile_answers_are_text(arena, arenas, opened) -> None:
    # The only question that is open for this voter is the hostile one.
    store = Store(arena.database)
    hostile = "chat/q0/0"
    duel = store.duel("target", Pool({hostile: by_question({"all": arena.reports}, degenerate=True)[hostile]}))
    store.close()
    assert duel is not None
    page = opened(arena, "target")
    ready(page)
    assert page.inner_text(".text.question") == arenas.HOSTILE
    assert page.inner_text(".text.left").startswith(arenas.HOSTILE)
    assert page.title() != "owned"
    assert page.locator("#turns script, #turns img").count() == 0


def test_two_tabs_of_a_voter_have_one_duel_and_one_vote(arena, opened) -> None:
    first, second = opened(arena, "tabs"), opened(arena, "tabs")
    ready(first)
    ready(second)
    assert first.inner_text(".text.left") == second.inner_text(".text.left")
    first.keyboard.press("1")
    first.wait_for_selector("#next:not([hidden])")
    before = second.inner_text(".text.question")
    second.keyboard.press("2")
    second.locator(".text.question").filter(has_not_text=before).wait_for()
    assert "もう投票できません" in second.inner_text("#status")
    store = Store(arena.database)
    assert [vote.voter for vote in store.votes()].count("tabs") == 1
    store.close()


@pytest.mark.slow
def test_live_answers_grow_side_by_side_and_are_voted_on(arenas, talk, tmp_path, opened) -> None:
    says = {"aka": f"{arenas.HOSTILE}赤い答えです。" * 3, "ao": "青い答えはもう少し長く続きます。" * 6}
    engines = {
        name: talk(lambda prompt, seed, text=text: text, pause_seconds=0.1).engine for name, text in says.items()
    }
    served = arenas.Served(tmp_path, run=arenas.servers(engines), most_turns=2)
    try:
        served.start()
        page = opened(served, "watcher")
        page.wait_for_selector("#asking:not([hidden])")
        page.get_by_label("質問を書いてください。").fill("色について教えて。" + arenas.HOSTILE)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#duel:not([hidden])")
        seen = []
        for _ in range(400):
            lengths = [len(page.locator(f".text.{side}").text_content() or "") for side in ("left", "right")]
            if not seen or seen[-1] != lengths:
                seen.append(lengths)
                if len(seen) == 3:
                    _shot(page, "arena-live-writing")
            if page.locator("[data-choice=left]").is_enabled():
                break
            time.sleep(0.03)
        ready(page)
        texts = {page.locator(f".text.{side}").text_content() for side in ("left", "right")}
        assert texts == set(says.values())
        assert page.locator("#turns script, #turns img").count() == 0
        assert page.title() == "回答くらべ"
        page.locator("#again").fill("もう一度")
        page.keyboard.press("Control+Enter")
        page.locator(".text.question").nth(1).wait_for()
        ready(page)
        page.locator(".text.left").last.focus()
        page.keyboard.press("1")
        page.wait_for_selector("#next:not([hidden])")
        assert {page.locator(f"[data-side={side}]").first.inner_text()[5:] for side in ("left", "right")} == set(says)
        _shot(page, "arena-live-revealed")
        page.keyboard.press("Enter")
        page.wait_for_selector("#asking:not([hidden])")
        assert page.evaluate("document.activeElement.id") == "prompt"
    finally:
        served.stop()
