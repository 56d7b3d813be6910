"""What is done to a document before it is looked at: normalization, edits, and finding out its language.

Normalization comes before the edits, all but those that are for a text as it came.
"""

from dataclasses import replace

from bunbuku_contracts import Config

from bunbuku_corpus.document import UNDETERMINED, Document
from bunbuku_corpus.edits import AnyEdit
from bunbuku_corpus.language import identify
from bunbuku_corpus.normalization import Changes, Normalization, normalize


class Preparation(Config):
    """How documents are prepared."""

    normalization: Normalization = Normalization()
    """Form (NFC), newlines and control characters; what is done is counted in the report."""
    edits: tuple[AnyEdit, ...] = ()
    """What is repaired, masked or cut off, in this order; those of the preset if left out, and none with `[]`."""
    identify_unknown: bool = True
    """Identify the language of documents whose source does not state it (`und`)."""

    def prepare(self, document: Document, changes: Changes) -> Document:
        """The document as it is measured and let through; what was changed is added to `changes`."""
        text = self._edited(document.text, changes, as_it_came=True)
        text = normalize(text, self.normalization, changes)
        text = self._edited(text, changes, as_it_came=False)
        unknown = self.identify_unknown and document.language == UNDETERMINED
        return replace(document, text=text, language=identify(text) if unknown else document.language)

    def _edited(self, text: str, changes: Changes, *, as_it_came: bool) -> str:
        for edit in self.edits:
            if edit.as_it_came is as_it_came:
                edited = edit.apply(text)
                changes.edited[edit.name] += edited != text
                text = edited
        return text
