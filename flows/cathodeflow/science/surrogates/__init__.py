"""Graph surrogates: the MEGNet network, data sets, splits, training, metrics and prediction over the space."""
