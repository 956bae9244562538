// Sizes, prices, ages and the codes of cache modes and their reasons, in words.
import type { Check } from './check';
import { Cost, Provenance } from './types';

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let at = 0;
  let left = count;
  while (left >= 1024 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return at === 0 ? `${left} B` : `${left.toFixed(left < 100 ? 1 : 0)} ${units[at]}`;
}

export function money({ amount, currency }: Cost): string {
  const digits = amount === 0 ? 0 : Math.max(2, Math.min(8, 1 - Math.floor(Math.log10(Math.abs(amount)))));
  return `${amount.toFixed(digits)} ${currency}`;
}

export function age(seconds: number): string {
  const steps: Array<[number, string]> = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
  ];
  const [size, unit] = steps.find(([size]) => seconds >= 2 * size) ?? [1, 's'];
  return `${Math.round(seconds / size)} ${unit}`;
}

const MODES: Record<string, string> = {
  local: 'no job of its own',
  delta: 'settled days are never billed again',
  rows: 'settled days are never billed again',
  whole: 'one job for the whole range',
};

/** Why an answer is not in parts; codes that are not here are shown as words. */
export const REASONS: Record<string, string> = {
  limit: 'LIMIT',
  no_source: 'no table that changes over time',
  unknown_source: 'a view, a table without partitions, or a name without its project',
  two_sources: 'more than one table',
  wildcard_table: 'a wildcard table',
  no_time_column: 'the table has no time column',
  no_time_filter: 'no $__timeFilter on the partitioning column',
  two_filters: 'more than one $__timeFilter',
  filter_column: '$__timeFilter is on another column than the partitions',
  filter_not_conjunct: '$__timeFilter stands under OR or NOT',
  no_bucket: 'neither $__timeGroup nor the raw time is selected',
  two_buckets: 'more than one $__timeGroup',
  bucket_column: '$__timeGroup is on another column than the partitions',
  bucket_not_grouped: 'the $__timeGroup is not grouped by',
  bucket_not_projected: 'the $__timeGroup is not selected',
  range_macro: 'the range is used outside of $__timeFilter',
  window: 'a window function over the range',
  order_by: 'ORDER BY something that is not selected',
  subquery: 'a subquery in an expression',
  set_operation: 'UNION or another set operation',
  join_not_static: 'a join',
  static_join: 'a join',
  prefix_history: 'a running total',
  volatile_function: 'a function whose answer changes from run to run',
  unknown_function: 'a function that is not known here',
  time_zone: 'a time zone',
  other_dialect: "macros of doitintl's plugin",
  partitions_unknown: 'the partitions cannot be listed',
  not_parsed: 'SQL that the analysis does not understand',
  too_complex: 'long or deeply nested SQL',
  finer_than_kept: 'finer than what is kept here',
  local_failed: 'what is kept here could not be brought up to date',
  local_memory: 'more than fits into memory here',
  many_segments: 'too many parts for the range',
  empty_range: 'an empty range',
};

/** `whole: LIMIT`, `delta: settled days are …`. */
export function mode(mode: string, reason: string): string {
  if (mode === 'whole' && reason) {
    return `whole: ${REASONS[reason] ?? reason.replace(/_/g, ' ')}`;
  }
  return `${mode}: ${MODES[mode] ?? reason.replace(/_/g, ' ')}`;
}

/** What an answer that was run came to. */
export function outcome(provenance: Provenance): string {
  const { bytes_billed, bytes_saved, cost, cost_saved, age_s, status } = provenance;
  const billed = `billed ${bytes(bytes_billed)} (${money(cost)})`;
  const saved = bytes_saved > 0 ? `, saved ${bytes(bytes_saved)} (${money(cost_saved)})` : '';
  return `${billed}${saved}, ${age(age_s)} old, ${status}`;
}

/** BigQuery's own note of a place, which is one in the expanded text. */
const PLACE = / at \[\d+:\d+\]$/;

/** What a look ahead at a query found. */
export function ahead(check: Check): string {
  switch (check.state) {
    case 'empty':
      return 'Write a query to see what it costs.';
    case 'checking':
      return 'Checking …';
    case 'invalid': {
      const { position, message } = check;
      return position ? `Line ${position.line}, column ${position.column}: ${message.replace(PLACE, '')}` : message;
    }
    case 'failed':
      return `Not checked: ${check.message}`;
    case 'valid': {
      const { bytes_processed, bytes_billed, cost, mode: way, reason, segments } = check.explanation;
      const missing = segments.filter(({ status }) => status === 'miss').reduce((sum, one) => sum + one.bytes_billed, 0);
      if (way === 'local') {
        const rows = missing > 0 ? `rows that all such queries share bill ${bytes(missing)} once` : 'its rows are here';
        return `Valid. ${mode(way, reason)}; ${rows}`;
      }
      const stored = missing < bytes_billed ? `; ${bytes(bytes_billed - missing)} of that is stored` : '';
      return `Valid. Reads ${bytes(bytes_processed)}, bills ${bytes(bytes_billed)} (${money(cost)})${stored}. ${mode(way, reason)}`;
    }
  }
}
