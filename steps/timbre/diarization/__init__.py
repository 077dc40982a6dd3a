"""Who speaks when: windows of speech, their clustering, resegmentation, error rates, simulated conversations."""
