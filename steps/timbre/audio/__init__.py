"""Audio: read, resampled, filtered, changed by effects and codecs, put into rooms."""
