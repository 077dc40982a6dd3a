"""Error rates of trials and scores, whoever made them: metrics, intervals, comparison, breakdown, results, plots."""
