"""Questions become tasks of the labelling tool, each once; moot ones leave it."""
