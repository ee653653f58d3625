"""The branches of a candidate's follow-ups, one job each: a static run, and what is read from it or computed on it."""
