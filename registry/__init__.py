"""What is declared before it is used: regime events and specifications, curated by hand and versioned."""
