package pilot

// Wrote has a view take an entry as the journal does.
var Wrote = (*Live).wrote
