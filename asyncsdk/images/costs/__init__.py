"""What edits cost, before they are sent and after: prices as data, the tokens of an edit, and ranges of dollars."""
