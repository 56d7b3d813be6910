"""The fixed prompts that every model of a run goes on from, so that their texts can be read side by side."""

from typing import Literal

from bunbuku_contracts import Config
from bunbuku_inference import Message
from pydantic import Field


class Prompt(Config):
    """One prompt. Its name labels the answers."""

    name: str = Field(min_length=1)
    style: Literal["plain", "chat"] = "plain"
    """`plain` text is gone on with; `chat` is an instruction, rendered with the model's chat template."""
    text: str = Field(min_length=1)
    japanese: bool = True
    """Whether the answer should be in Japanese; one that is not gets a flag."""

    @property
    def asked(self) -> str | tuple[Message, ...]:
        return self.text if self.style == "plain" else (Message(role="user", content=self.text),)


DEFAULT_PROMPTS: tuple[Prompt, ...] = (
    Prompt(name="morning", text="今朝は早く起きて、"),
    Prompt(name="rain", text="雨が降っていたので、"),
    Prompt(name="she", text="彼女は毎日"),
    Prompt(name="book", text="この本は"),
    Prompt(name="tokyo", text="東京は日本の"),
    Prompt(name="tea", text="お茶を飲みながら、"),
    Prompt(name="translate", style="chat", text="次の英語を日本語に訳してください。\nI have two cats."),
    Prompt(
        name="translate-back",
        style="chat",
        text="次の日本語を英語に訳してください。\n私は毎朝コーヒーを飲みます。",
        japanese=False,
    ),
    Prompt(name="arithmetic", style="chat", text="三足す四はいくつですか。"),
    Prompt(name="greeting", style="chat", text="はじめまして。自己紹介をしてください。"),
)
