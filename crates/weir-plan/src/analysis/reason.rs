//! Stable codes of why a text is answered in its mode: for metrics, headers and `explain`.

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $code:literal;)+) => {
        $($(#[$doc])+ pub const $name: &str = $code;)+

        /// Every code.
        pub const ALL: &[&str] = &[$($name),+];
    };
}

reasons! {
    /// Delta: whole buckets of one source.
    BUCKETS = "buckets";
    /// Rows: raw rows of one source with their time.
    RAW_ROWS = "raw_rows";

    /// None: no code at all.
    EMPTY = "empty";
    /// None: DML, DDL or a script's statement.
    NOT_A_QUERY = "not_a_query";
    /// None: more than one statement.
    SEVERAL_STATEMENTS = "several_statements";

    /// Longer or deeper than is analysed.
    TOO_COMPLEX = "too_complex";
    /// The parser does not understand it.
    NOT_PARSED = "not_parsed";
    /// A character that `GoogleSQL` has no use for, or a name with a backslash.
    ODD_CHARACTER = "odd_character";
    /// A clause of another SQL than `GoogleSQL`, or one that is not analysed.
    ODD_SYNTAX = "odd_syntax";
    /// Pipe syntax.
    PIPE_SYNTAX = "pipe_syntax";
    /// A name that the analysis needs for itself.
    RESERVED_NAME = "reserved_name";
    /// A variable that the front end has not replaced.
    UNEXPANDED_VARIABLE = "unexpanded_variable";
    /// An unknown or misused macro, or one glued to a word.
    ODD_MACRO = "odd_macro";
    /// A macro of the range besides the time filter.
    RANGE_MACRO = "range_macro";
    /// A macro about seconds since the epoch.
    UNIX_EPOCH = "unix_epoch";
    /// `$__interval` as text outside of a bucket.
    INTERVAL_TEXT = "interval_text";
    /// A bucket with a third argument.
    BUCKET_ARGUMENTS = "bucket_arguments";

    /// A function whose answer differs from run to run.
    VOLATILE_FUNCTION = "volatile_function";
    /// TABLESAMPLE.
    TABLESAMPLE = "tablesample";
    /// An array of all buckets of the range.
    GAP_FILL = "gap_fill";
    /// A function that is not known to depend on its arguments alone, such as the user's own.
    UNKNOWN_FUNCTION = "unknown_function";
    /// A time zone argument.
    TIME_ZONE = "time_zone";

    /// UNION, INTERSECT, EXCEPT or VALUES.
    SET_OPERATION = "set_operation";
    /// LIMIT, OFFSET or FETCH.
    LIMIT = "limit";
    /// QUALIFY.
    QUALIFY = "qualify";
    /// SELECT AS STRUCT or AS VALUE.
    VALUE_TABLE = "value_table";
    /// ROLLUP, CUBE or GROUPING SETS.
    GROUPING_SETS = "grouping_sets";
    /// A window that reaches over buckets, or any in raw rows.
    WINDOW = "window";
    /// DISTINCT without the bucket.
    DISTINCT = "distinct";
    /// ORDER BY something that is not an output (of raw rows: not the time).
    ORDER_BY = "order_by";
    /// A subquery in an expression.
    SUBQUERY = "subquery";

    /// WITH RECURSIVE.
    RECURSIVE = "recursive";
    /// WITH inside a subquery.
    NESTED_WITH = "nested_with";
    /// A common table expression that is read twice.
    CTE_REUSED = "cte_reused";
    /// A common table expression that the main query does not read.
    CTE_UNUSED = "cte_unused";
    /// An inner SELECT that groups or aggregates.
    INNER_AGGREGATE = "inner_aggregate";
    /// An inner SELECT that joins.
    INNER_JOIN = "inner_join";
    /// An inner SELECT that orders.
    INNER_ORDER = "inner_order";

    /// No table, or static ones only.
    NO_SOURCE = "no_source";
    /// A table without descriptor.
    UNKNOWN_SOURCE = "unknown_source";
    /// Two sources, or one twice.
    TWO_SOURCES = "two_sources";
    /// A wildcard table.
    WILDCARD_TABLE = "wildcard_table";
    /// FOR `SYSTEM_TIME` AS OF.
    SYSTEM_TIME = "system_time";
    /// A table function.
    TABLE_FUNCTION = "table_function";
    /// PIVOT, UNPIVOT or `MATCH_RECOGNIZE`.
    PIVOT = "pivot";
    /// A join in brackets.
    NESTED_JOIN = "nested_join";
    /// NATURAL JOIN.
    NATURAL_JOIN = "natural_join";
    /// A join of another kind than inner, cross, left or right.
    JOIN_KIND = "join_kind";
    /// A join to a table that is not static.
    JOIN_NOT_STATIC = "join_not_static";
    /// An outer join that makes rows where the source has none.
    OUTER_JOIN = "outer_join";
    /// The source has no time column.
    NO_TIME_COLUMN = "no_time_column";
    /// The source is a running total.
    PREFIX_HISTORY = "prefix_history";
    /// Nobody says what rows of the past depend on.
    OPAQUE_HISTORY = "opaque_history";
    /// Another name hides the time column.
    SHADOWED_TIME = "shadowed_time";

    /// No `$__timeFilter`.
    NO_TIME_FILTER = "no_time_filter";
    /// More than one.
    TWO_FILTERS = "two_filters";
    /// The time filter in a join's condition.
    FILTER_IN_JOIN = "filter_in_join";
    /// The time filter under OR, NOT or anything but AND.
    FILTER_NOT_CONJUNCT = "filter_not_conjunct";
    /// The time filter on something else than the time column.
    FILTER_COLUMN = "filter_column";

    /// Neither a bucket nor the raw time among the outputs.
    NO_BUCKET = "no_bucket";
    /// Two buckets.
    TWO_BUCKETS = "two_buckets";
    /// A bucket of something else than the time column.
    BUCKET_COLUMN = "bucket_column";
    /// A bucket that is not grouped by.
    BUCKET_NOT_GROUPED = "bucket_not_grouped";
    /// A bucket that is grouped by and not among the outputs.
    BUCKET_NOT_PROJECTED = "bucket_not_projected";
    /// A bucket inside another expression or clause.
    BUCKET_ELSEWHERE = "bucket_elsewhere";
    /// `*` among grouped outputs.
    WILDCARD_OUTPUT = "wildcard_output";
    /// An aggregate without a bucket.
    AGGREGATE_WITHOUT_BUCKET = "aggregate_without_bucket";
    /// Buckets that begin inside a value of the filtered column.
    STEP_SPLITS_COLUMN = "step_splits_column";
    /// The range begins before the epoch, where buckets are not equally long.
    BEFORE_EPOCH = "before_epoch";
    /// The expanded text does not say what the template was understood to say.
    EXPANSION_DIFFERS = "expansion_differs";

    /// A static table is joined whose state cannot be looked up.
    STATIC_JOIN = "static_join";
    /// Local: all that the text reads is kept here.
    LOCAL = "local";
    /// All that the text reads is kept here, but not as finely as it asks.
    FINER_THAN_KEPT = "finer_than_kept";
    /// All that the text reads is kept here, but could not be brought or run.
    LOCAL_FAILED = "local_failed";
    /// All that the text reads is kept here, but not all of it fits into memory.
    LOCAL_MEMORY = "local_memory";
    /// A view whose text does not read the tables that its descriptor names, or reads the time of day.
    VIEW_UNKNOWN = "view_unknown";
    /// A view that is not named exactly once in the text.
    VIEW_NOT_REPLACED = "view_not_replaced";
    /// A filter on the time does not keep partitions off the bill.
    NOT_PRUNED = "not_pruned";
    /// The source does not say what parts would read.
    NOT_PROBED = "not_probed";
    /// The range is a small part of the partitions that parts would have to read.
    SMALL_RANGE = "small_range";
    /// Nothing lies within the range.
    EMPTY_RANGE = "empty_range";
    /// The range has too many segments.
    MANY_SEGMENTS = "many_segments";
    /// The text does not expand.
    NOT_EXPANDED = "not_expanded";
    /// The macros are doitintl's.
    OTHER_DIALECT = "other_dialect";
    /// The partitions of the source cannot be listed.
    PARTITIONS_UNKNOWN = "partitions_unknown";
    /// The parts did not fit together.
    NOT_ASSEMBLED = "not_assembled";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_in_snake_case() {
        let codes: BTreeSet<_> = super::ALL.iter().collect();
        assert_eq!(codes.len(), super::ALL.len());
        assert!(super::ALL.iter().all(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
}
