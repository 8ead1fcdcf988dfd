"""Floor 5, beside the commands: pages for people, each one file of HTML that loads nothing and runs nothing."""
