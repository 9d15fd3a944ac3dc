"""How the demo model is made: its text (data files), its tokenizer, its training, its card."""
