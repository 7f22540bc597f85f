"""The shapes of inference requests, one module each: which paths a model has and what they mean."""
