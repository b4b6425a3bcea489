//! Shows the catalogue: a table for people, JSON for programs.
