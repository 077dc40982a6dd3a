"""What runs without torch: packs, recordings, verdicts, galleries, who speaks when, and a page to try it on."""
