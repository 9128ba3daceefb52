"""What a model learns, one task per file: how a target is encoded, its loss, how outputs become classes or years."""
