"""The largest number for which something holds, wherever the search begins."""

from hypothesis import example, given
from hypothesis import strategies as st

from advisor.predict.memory import largest

NUMBERS = st.integers(min_value=0, max_value=2**20)


@given(answer=NUMBERS, most=NUMBERS, near=st.integers(-5, 2**21), known=NUMBERS)
@example(answer=0, most=0, near=1, known=0)
@example(answer=2**20, most=2**20, near=1, known=0)
def test_it_is_found_from_everywhere_and_nothing_beyond_the_bounds_is_asked(
    answer: int, most: int, near: int, known: int
) -> None:
    answer, known = min(answer, most), min(known, answer, most)

    def holds(number: int) -> bool:
        assert known < number <= most
        return number <= answer

    assert largest(holds, most, known=known, near=near) == answer


@given(answer=st.integers(1, 2**20), off=st.sampled_from([0, 1]))
def test_near_the_answer_few_are_asked(answer: int, off: int) -> None:
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number <= answer

    assert largest(holds, 2**20, near=answer + off) == answer
    assert len(asked) <= 2
