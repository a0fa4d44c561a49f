"""Reports for people: read records and run folders, import no torch."""
