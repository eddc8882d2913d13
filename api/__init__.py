"""HTTP: checks the shape, journals to the intake, answers; the order's life happens elsewhere."""
