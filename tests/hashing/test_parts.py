"""What a fingerprint was made of, in words."""

from __future__ import annotations

import pytest

from lightwork.hashing.parts import STORED, changes, joined, place, stored, summary, text


def said(before, now):
    return [str(each) for each in changes(before, now)]


@pytest.mark.parametrize(
    ("module", "filename", "said"),
    [
        ("features", "/a/features.py", "features.py"),
        ("package.features", "/a/package/features.py", "package/features.py"),
        ("package", "/a/package/__init__.py", "package/__init__.py"),
        ("__main__", "/a/run.py", "run.py"),
        ("__mp_main__", "/a/run.py", "run.py"),
        ("__main__", "<stdin>", "__main__"),
        ("__main__", "", "__main__"),
        ("__main__", "/tmp/ipykernel_123/456.py", "__main__"),
        ("a.b", "/a/made_elsewhere.py", "a.b"),
        ("a.b", "<string>", "a.b"),
        (None, "<string>", "no module"),
    ],
)
def test_places(module, filename, said):
    assert place(module, filename) == said


def test_several_of_one_label_are_one_part():
    one, two = text(b"1", "1"), text(b"2", "2")
    assert joined({"b": [one], "a": [one, one]}) == (("a", one), ("b", one))
    both = joined({"a": [one, two]})
    assert both == joined({"a": [two, one, two]})
    assert both != joined({"a": [one]})


def test_the_short_form_alone_is_no_change():
    assert said({"a": "0 {1, 2}"}, {"a": "0 {2, 1}"}) == []
    assert said({"a": "0 {1, 2}"}, {"a": "1 {1, 2}"}) == ["a changed"]
    assert said({"a": "0"}, {"a": "1 3"}) == ["a changed"]


def test_changes_in_one_line():
    before, now = {"a": "0 1", "b": "0", "d": "0"}, {"a": "1 2", "b": "1", "c": "0"}
    assert summary(changes(before, now)) == "a: 1 → 2, b, c is used now, d is no longer used"
    many = {str(i): "0" for i in range(9)}
    assert summary(changes(many, dict.fromkeys(many, "1"))) == "0, 1, 2, 3, 4, and 4 more"


def test_of_very_many_parts_the_first_are_stored_and_about_the_others_nothing_is_said():
    many = {f"{i:04}": "0" for i in range(STORED + 100)}
    kept = stored(many.items())
    assert len(kept) == STORED + 1
    assert kept["…"] == "100 more"
    assert changes(kept, many) == changes(many, kept) == changes(kept, kept) == []
    assert said(kept, {**many, "0000": "1", "9999": "1"}) == ["0000 changed"]
    assert said(kept, {label: said for label, said in many.items() if label != "0003"}) == [
        "0003 is no longer used"
    ]
    assert said(many, {**many, "9999": "1"}) == ["9999 is used now"]


def test_few_parts_are_stored_whole():
    assert stored([("b", "1"), ("a", "0"), ("a", "0")]) == {"a": "0", "b": "1"}
