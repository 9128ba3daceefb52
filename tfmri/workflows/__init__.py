"""What each command does, step by step through the rooms; a file a command. Only here are settings handed to rooms."""
