"""From scores to decisions: calibration, fusion, thresholds, decision packs, galleries, verdicts."""
