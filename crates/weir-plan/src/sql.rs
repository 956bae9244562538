//! The lexical shape of `GoogleSQL`: where code ends and strings, comments and quoted names begin.
