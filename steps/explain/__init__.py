"""Why a network and its scores are as they are: maps of embeddings, the page of a run. Nothing below imports it."""
