import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from cathodeflow.science.surrogates.metrics import regression_metrics

numbers = hnp.arrays(float, st.shared(st.integers(2, 30), key="n"), elements=st.floats(-10, 10, width=32))


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_the_errors_are_those_of_scikit_learn(true, predicted):
    metrics = regression_metrics(true, predicted)
    assert metrics.mae == pytest.approx(mean_absolute_error(true, predicted))
    assert metrics.rmse == pytest.approx(root_mean_squared_error(true, predicted))
    if np.ptp(true) > 1e-3:
        assert metrics.r2 == pytest.approx(r2_score(true, predicted), rel=1e-6, abs=1e-9)


def test_one_point_or_equal_labels_have_no_r2():
    assert regression_metrics([1.0], [1.5]).r2 is None
    assert regression_metrics([1.0, 1.0], [1.5, 0.5]).r2 is None


def test_nothing_or_unequal_lengths_are_refused():
    for true, predicted in (([], []), ([1.0], [1.0, 2.0])):
        with pytest.raises(ValueError, match="cannot be compared"):
            regression_metrics(true, predicted)
