"""Values in lists, tuples and dictionaries: as PyTorch's own, slower way has them."""

from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree

from advisor.predict.nested import leaves, mapped

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=2),
    lambda inside: st.lists(inside) | st.lists(inside).map(tuple) | st.dictionaries(st.text(max_size=2), inside),
)


@given(VALUES)
def test_the_leaves_are_all_values_in_order(values):
    assert leaves(values) == _pytree.tree_leaves(values)


@given(VALUES)
def test_mapping_changes_the_values_and_nothing_else(values):
    assert mapped(repr, values) == _pytree.tree_map(repr, values)


def test_an_argument_that_is_no_container_is_a_leaf():
    assert leaves(7) == [7]
    assert mapped(str, 7) == "7"
