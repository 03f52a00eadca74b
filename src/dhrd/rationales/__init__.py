"""Rationales: asked of a teacher, converted from other shapes, audited."""
