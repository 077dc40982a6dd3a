"""Why a network and its scores are as they are: maps of embeddings."""
