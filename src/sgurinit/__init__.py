"""Training-free, model-agnostic starts for the users of multimodal recommenders (SG-URInit)."""
