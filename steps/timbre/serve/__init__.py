"""The page of `timbre serve`, and what answers it."""
