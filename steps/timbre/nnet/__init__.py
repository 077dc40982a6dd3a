"""Networks: trunks (models/), pooling/ and objectives/, built from conf/ and loaded from a model directory."""
