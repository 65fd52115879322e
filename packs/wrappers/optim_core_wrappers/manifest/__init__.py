"""Parts of the manifest, by families: specs only, no torch."""
