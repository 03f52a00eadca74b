"""Audits that use a trained classifier: of labels (out of fold), and of the worth of rationales."""
