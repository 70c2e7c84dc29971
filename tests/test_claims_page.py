"""The Claims page: what its build refuses, its tables, and the same data beside it."""

import pytest
from sphinx.errors import ExtensionError


@pytest.mark.parametrize(
    ("short", "has"), [({}, "none"), ({"short": ""}, "none"), ({"short": "a" * 61}, "61: 'aaa")]
)
def test_the_build_refuses_a_claim_without_a_short_form(extension, monkeypatch, short, has):
    claim = {"part": "Causes", "wording": "It vanishes."} | short
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim})
    message = f"claim C1: .* wants short, the claim itself in at most 60 characters; it has {has}"
    with pytest.raises(ExtensionError, match=message):
        extension.fill_claims_page(None, "book/claims", ["<!-- every claim -->"])
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim | {"short": "a" * 60}})
    extension.fill_claims_page(None, "book/claims", ["<!-- every claim -->"])
