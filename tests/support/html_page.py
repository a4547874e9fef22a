"""A page as a test sees it: its tags, attributes and text; and that it needs nothing but itself."""

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "hr"}
NASTY = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\x1b[31mred\x1b[0m",
    "[red]bold[/red]",
    "n" * 300,
    '" onload="alert(2)',
    "{{ 7*7 }} $x_1$ &amp; \u202egnp.exe",
]
"""Names that would do harm if they were not escaped."""


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that what is opened is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.script = ""
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script = data
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def is_self_contained(self, text):
        """Assert that the page loads and sends nothing, and runs its own script at most."""
        assert text.startswith("<!DOCTYPE html>")
        digest = base64.b64encode(hashlib.sha256(self.script.encode()).digest()).decode()
        (policy,) = (value for _, name, value in self.attributes if name == "content" and "default-src" in value)
        assert f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:;" in policy
        assert self.tags.count("script") == 1
        assert not {"iframe", "object", "embed", "link", "base", "form"} & set(self.tags)
        loading = ("href", "src", "srcset", "data")
        loads = [value for _, name, value in self.attributes if name.split(":")[-1] in loading]
        assert loads
        assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in loads)
        assert not [name for _, name, _ in self.attributes if name.startswith("on")]
        assert not re.search(r"url\((?!#)", text)
        assert "@import" not in text
        namespaces = {value for _, name, value in self.attributes if name.startswith("xmlns")}
        assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= namespaces

    def has_sound_ids(self):
        """Assert that ids are unique and links lead somewhere."""
        ids = [value for _, name, value in self.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        targets = {value[1:] for _, name, value in self.attributes if name == "href" and value.startswith("#")}
        assert targets <= set(ids)
