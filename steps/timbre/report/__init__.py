"""The page of a run, report.html. It reads what other rooms have left in exp/RUN."""
