"""Token ids to class logits, as fast as the machine allows."""
