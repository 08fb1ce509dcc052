from hypothesis import given
from hypothesis import strategies as st

from kdbench.methods.warmup import warmed


@given(st.integers(0, 1000), st.floats(0, 500))
def test_a_warm_up_only_grows_and_ends_at_one(epoch, length):
    assert 0 < warmed(epoch, length) <= warmed(epoch + 1, length) <= 1
    assert warmed(int(length) + 1, length) == 1
