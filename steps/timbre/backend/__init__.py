"""From embeddings to scores: transforms, cosine, PLDA and its adaptation, scoring, score normalisation."""
