"""What each stage wants, submits and writes down: one file per stage."""
