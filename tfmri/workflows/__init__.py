"""What each command does, step by step through the rooms; a file a command. The only code that hands settings to rooms."""
