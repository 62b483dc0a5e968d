import contextvars
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwork.errors import OptionError, OptionTypeError
from lightwork.settings import (
    ENVIRONMENT,
    Default,
    cache_folder,
    default,
    environment,
    parallel_config,
    parse_size,
    resolve,
)


class TestResolve:
    def test_said_wins_over_configured_wins_over_default(self):
        assert resolve("n_jobs", default(1)) == 1
        with parallel_config(n_jobs=2):
            assert resolve("n_jobs", default(1)) == 2
            assert resolve("n_jobs", 1) == 1

    def test_none_said_is_not_nothing_said(self):
        with parallel_config(max_nbytes="2M"):
            assert resolve("max_nbytes", None) is None
            assert resolve("max_nbytes", default("1M")) == "2M"

    def test_none_configured_is_configured(self):
        with parallel_config(max_nbytes=None):
            assert resolve("max_nbytes", default("1M")) is None

    def test_default_shows_its_value(self):
        assert repr(default("1M")) == "default('1M')"
        assert isinstance(default(None), Default)


class TestParallelConfig:
    def test_nested_add_to_the_outer_and_are_left_one_by_one(self):
        with parallel_config(n_jobs=2, verbose=1):
            with parallel_config(n_jobs=3):
                assert (resolve("n_jobs", default(1)), resolve("verbose", default(0))) == (3, 1)
            assert resolve("n_jobs", default(1)) == 2
        assert resolve("n_jobs", default(1)) == 1

    def test_left_by_an_error(self):
        with pytest.raises(ZeroDivisionError), parallel_config(n_jobs=2):
            1 / 0
        assert resolve("n_jobs", default(1)) == 1

    def test_holds_until_unregistered(self):
        config = parallel_config(backend="threads")
        assert resolve("backend", default(None)) == "threads"
        config.unregister()
        assert resolve("backend", default(None)) is None

    def test_other_threads_and_contexts_do_not_see_it(self):
        seen = []
        with parallel_config(n_jobs=2):
            thread = threading.Thread(
                target=contextvars.Context().run, args=(lambda: seen.append(resolve("n_jobs", default(1))),)
            )
            thread.start()
            thread.join()
        assert seen == [1]

    def test_what_is_set_in_a_copied_context_stays_there(self):
        contextvars.copy_context().run(parallel_config, n_jobs=7)
        assert resolve("n_jobs", default(1)) == 1

    def test_unknown_option(self):
        with pytest.raises(TypeError, match="n_job"):
            parallel_config(n_job=2)


class TestParseSize:
    @pytest.mark.parametrize(
        ("said", "bytes_"),
        [
            ("1K", 1024),
            ("1k", 1024),
            ("1M", 1 << 20),
            ("1 MB", 1 << 20),
            ("2GiB", 2 << 30),
            ("1T", 1 << 40),
            ("1.5K", 1536),
            (".5K", 512),
            ("10", 10),
            ("10B", 10),
            (0, 0),
            (123, 123),
        ],
    )
    def test_sizes(self, said, bytes_):
        assert parse_size(said) == bytes_

    @pytest.mark.parametrize("said", ["", "K", "1X", "-1K", "1KK", "1e3", "one", -1])
    def test_no_sizes(self, said):
        with pytest.raises(OptionError, match="max_nbytes"):
            parse_size(said, "max_nbytes")

    @pytest.mark.parametrize("said", [1.5, None, True, [1]])
    def test_no_sizes_at_all(self, said):
        with pytest.raises(OptionTypeError, match="max_nbytes"):
            parse_size(said, "max_nbytes")

    @given(st.integers(0, 1 << 60), st.sampled_from(["", "B"]))
    def test_whole_numbers_come_back(self, number, unit):
        assert parse_size(number) == number
        if number < 1 << 53:
            assert parse_size(f"{number}{unit}") == number


class TestPlaces:
    def test_chosen_cache_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LIGHTWORK_CACHE_DIR", str(tmp_path))
        assert cache_folder() == tmp_path

    def test_home_is_understood(self, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_CACHE_DIR", "~/there")
        assert cache_folder() == Path.home() / "there"

    def test_default_is_the_users(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LIGHTWORK_CACHE_DIR", "")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder().name == "lightwork"

    def test_only_named_variables_are_read(self, monkeypatch):
        monkeypatch.setenv("LIGHTWORK_TYPO", "1")
        with pytest.raises(KeyError, match="LIGHTWORK_TYPO"):
            environment("LIGHTWORK_TYPO")
        assert all(name.isupper() for name in ENVIRONMENT)
