"""One adapter a model family: from the fields of a Hugging Face config.json to a ModelSpec."""
