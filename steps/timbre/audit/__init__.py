"""What is wrong with a corpus before anything is trained on it: faults, overlap, channel leak, and the page of it."""
