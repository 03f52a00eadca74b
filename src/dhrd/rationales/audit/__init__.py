"""The audit of rationales: do they name the label, are they about their row, are they whole?"""
