"""Audits that a trained classifier makes: of labels, out of fold, and of what rationales are worth."""
