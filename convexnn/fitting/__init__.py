"""Networks of any depth and number of outputs, fitted with one budget over all layers."""
