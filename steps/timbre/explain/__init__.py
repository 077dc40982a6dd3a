"""Why a network and its scores are as they are: maps over utterances, whether to believe them, maps of embeddings."""
