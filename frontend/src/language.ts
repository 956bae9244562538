// Names of GoogleSQL and of the macros, for completion.

export const MACROS = [
  { text: '$__timeFilter(', detail: 'column: within the range, half-open' },
  { text: '$__timeGroup(', detail: 'column, interval: the bucket of a time' },
  { text: '$__timeGroupAlias(', detail: 'the same, named time' },
  { text: '$__timeFrom()', detail: "the range's start" },
  { text: '$__timeTo()', detail: "the range's end" },
  { text: '$__millisTimeFrom()', detail: "the range's start" },
  { text: '$__millisTimeTo()', detail: "the range's end" },
  { text: '$__unixEpochFilter(', detail: 'column of seconds: within the range' },
  { text: '$__unixEpochGroup(', detail: 'column of seconds, interval: the bucket' },
  { text: '$__interval', detail: "the panel's interval: 5m" },
  { text: '$__interval_ms', detail: "the panel's interval in milliseconds" },
  { text: '$__table', detail: "the query's table" },
];

/** Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all */
export const FUNCTIONS = (
  'ABS ANY_VALUE APPROX_COUNT_DISTINCT APPROX_QUANTILES APPROX_TOP_COUNT ARRAY_AGG ARRAY_CONCAT ARRAY_LENGTH ' +
  'ARRAY_REVERSE ARRAY_TO_STRING AVG BYTE_LENGTH CAST CEIL CHAR_LENGTH COALESCE CONCAT CORR COUNT COUNTIF ' +
  'CURRENT_DATE CURRENT_DATETIME CURRENT_TIMESTAMP DATE DATE_ADD DATE_DIFF DATE_SUB DATE_TRUNC DATETIME DATETIME_ADD ' +
  'DATETIME_DIFF DATETIME_SUB DATETIME_TRUNC DENSE_RANK DIV ENDS_WITH EXP EXTRACT FARM_FINGERPRINT FIRST_VALUE FLOOR ' +
  'FORMAT FORMAT_DATE FORMAT_TIMESTAMP FROM_BASE64 GENERATE_ARRAY GENERATE_DATE_ARRAY GENERATE_TIMESTAMP_ARRAY ' +
  'GREATEST IEEE_DIVIDE IF IFNULL INITCAP INSTR JSON_EXTRACT JSON_QUERY JSON_VALUE LAG LAST_VALUE LEAD LEAST LENGTH ' +
  'LN LOG LOG10 LOGICAL_AND LOGICAL_OR LOWER LPAD LTRIM MAX MAX_BY MD5 MIN MIN_BY MOD NULLIF NTH_VALUE NTILE ' +
  'PARSE_DATE PARSE_TIMESTAMP PERCENT_RANK PERCENTILE_CONT PERCENTILE_DISC POW RAND RANK REGEXP_CONTAINS ' +
  'REGEXP_EXTRACT REGEXP_EXTRACT_ALL REGEXP_REPLACE REPEAT REPLACE REVERSE ROUND ROW_NUMBER RPAD RTRIM SAFE_CAST ' +
  'SAFE_DIVIDE SHA256 SIGN SPLIT SQRT STARTS_WITH STDDEV STRING_AGG STRPOS SUBSTR SUM TIME TIMESTAMP TIMESTAMP_ADD ' +
  'TIMESTAMP_DIFF TIMESTAMP_MICROS TIMESTAMP_MILLIS TIMESTAMP_SECONDS TIMESTAMP_SUB TIMESTAMP_TRUNC TO_BASE64 ' +
  'TO_JSON_STRING TRIM TRUNC UNIX_MICROS UNIX_MILLIS UNIX_SECONDS UNNEST UPPER VARIANCE'
).split(' ');

export const KEYWORDS = (
  'SELECT FROM WHERE GROUP_BY ORDER_BY HAVING QUALIFY LIMIT WITH AS JOIN LEFT_JOIN CROSS_JOIN ON USING UNION_ALL CASE ' +
  'WHEN THEN ELSE END AND OR NOT IN IS_NULL IS_NOT_NULL BETWEEN DISTINCT OVER PARTITION_BY INTERVAL'
)
  .split(' ')
  .map((word) => word.replace(/_/g, ' '));
