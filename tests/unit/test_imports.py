"""Imports without a look for garbage."""

import gc

import pytest

from advisor.imports import quick_imports, set_imports_aside


def test_garbage_is_not_looked_for_inside_and_is_afterwards():
    with quick_imports(), quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_whoever_turned_it_off_finds_it_off():
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_import_that_fails_leaves_it_on():
    with pytest.raises(ImportError), quick_imports():
        raise ImportError("no such module")
    assert gc.isenabled()


def test_what_is_set_aside_is_not_looked_through_later():
    class Thing:
        pass

    thing = Thing()
    assert any(one is thing for one in gc.get_objects())
    try:
        set_imports_aside()
        assert not any(one is thing for one in gc.get_objects())
    finally:
        gc.unfreeze()
