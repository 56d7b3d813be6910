import pytest
from bunbuku_synth.tasks import Arithmetic, Cloze, MultipleChoice, QuestionAnswer, Rewrite, Translate
from bunbuku_synth.tasks.arithmetic import ArithmeticTemplate
from bunbuku_synth.tasks.cloze import ClozeTemplate
from bunbuku_synth.tasks.multiple_choice import ChoiceTemplate
from bunbuku_synth.tasks.rewrite import RewriteTemplate
from bunbuku_synth.tasks.translate import TranslateTemplate
from bunbuku_synth.templates import Template
from pydantic import ValidationError


def test_a_variable_that_there_will_not_be_is_refused_by_name():
    template = TranslateTemplate(name="mine", into="en", user="{{ txet }}")
    with pytest.raises(ValidationError, match=r"'mine' names 'txet': there are only \['answer', 'text'\]"):
        Translate(count=1, into=("en",), templates=(template,))


def test_a_template_that_does_not_parse_is_refused():
    with pytest.raises(ValidationError, match="'mine' is not valid Jinja2"):
        Template(name="mine", user="{{ text")


def test_two_templates_of_one_name_and_version_are_refused():
    template = RewriteTemplate(name="mine", language="ja", user="{{ passage }}", ask="{{ passage }}")
    with pytest.raises(ValidationError, match="two templates are called 'mine@1'"):
        Rewrite(count=1, templates=(template, template))
    newer = template.model_copy(update={"version": 2})
    assert Rewrite(count=1, templates=(template, newer)).templates[1].id == "mine@2"


@pytest.mark.parametrize(
    "build",
    [
        lambda: Translate(count=1, templates=(TranslateTemplate(name="x", into="en", user="{{ text }}"),)),
        lambda: Cloze(count=1, templates=(ClozeTemplate(name="x", hint="before", user="{{ sentence }}"),)),
        lambda: MultipleChoice(count=1, templates=(ChoiceTemplate(name="x", question="word", user="{{ text }}"),)),
        lambda: QuestionAnswer(count=1, language="en", templates=QuestionAnswer(count=1).templates[:1]),
    ],
)
def test_a_task_none_of_whose_templates_is_for_it_is_refused(build):
    with pytest.raises(ValidationError, match="none of the templates is"):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Translate(
            count=1,
            into=("en",),
            templates=(TranslateTemplate(name="x", into="en", user="{{ text }}", assistant="英語では{{ answer }}"),),
        ),
        lambda: Cloze(
            count=1,
            templates=(ClozeTemplate(name="x", hint="english", user="{{ sentence }}", assistant="答えは{{ answer }}"),),
        ),
        lambda: Arithmetic(
            count=1,
            templates=(ArithmeticTemplate(name="x", operation="add", user="{{ a }}", assistant="一番は{{ answer }}"),),
        ),
        lambda: MultipleChoice(
            count=1,
            questions=("word",),
            templates=(ChoiceTemplate(name="x", question="word", user="{{ sentence }}", assistant="はい"),),
        ),
    ],
)
def test_an_answer_that_its_own_checker_could_not_read_is_refused(build):
    with pytest.raises(ValidationError, match="answer"):
        build()


def test_too_few_labels_are_refused():
    short = ChoiceTemplate(name="short", question="word", answer_by="label", labels="アイ", user="{{ sentence }}")
    with pytest.raises(ValidationError, match="needs 4 different labels, has 'アイ'"):
        MultipleChoice(count=1, questions=("word",), templates=(short,))


def test_text_that_looks_like_a_template_is_not_run():
    assert Template(name="x", user="{{ text }}").render_user(text="{{ 1 + 1 }}") == "{{ 1 + 1 }}"
