"""Makes dataset folders; the command is jaxtag-prep."""
