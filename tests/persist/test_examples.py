"""The examples in the docstrings of the public functions are run."""

from __future__ import annotations

import doctest

import pytest

from lightwork import persist


@pytest.mark.parametrize("name", ["dump", "inspect_file", "load", "reseal_file", "verify_file"])
def test_the_example_shows_what_happens(name: str) -> None:
    function = getattr(persist, name)
    names = {each: getattr(persist, each) for each in persist.__all__}
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)
    assert example.examples
    result = doctest.DocTestRunner(verbose=False).run(example)
    assert result.failed == 0
