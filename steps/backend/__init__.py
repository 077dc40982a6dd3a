"""From embeddings to error rates: LDA, PLDA, scoring, score normalisation, metrics and their intervals, plots."""
