"""Named criteria, verdicts with margins, ranking and the funnel."""
