"""From features, or from an audio file, to embeddings."""
