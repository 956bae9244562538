// Dashboard variables in SQL. Macros stay for the backend, which expands them for alerts too; there too
// a suggested interval snaps, and the global times in braces are those of the answered range.
import { ScopedVars } from '@grafana/data';
import { literal } from './sql';

/** How Grafana replaces variables: `TemplateSrv.replace`. */
export type Replace = (text: string, scoped?: ScopedVars, format?: typeof value) => string;

interface Variable {
  multi?: boolean;
  includeAll?: boolean;
}

/** A variable's value in SQL: as it is, or a list of literals for a variable that may have several values. */
export function value(chosen: unknown, variable: Variable = {}): string {
  if (Array.isArray(chosen)) {
    return chosen.map((one) => literal(String(one))).join(',');
  }
  const isText = typeof chosen === 'string';
  return isText && (variable.multi || variable.includeAll) ? literal(chosen) : String(chosen ?? '');
}

/**
 * What is the backend's: macros with arguments, the interval, and the global times in braces, as far as the
 * backend knows their formats. In a literal it knows only those in braces.
 */
const MACROS =
  /(\$__\w+(?=\s*\()|\$__(?:interval_ms|interval|table|column|limitPosition)\b|\$\{__(?:interval_ms|interval|range|range_s|range_ms|from|to)\}|\$\{__(?:from|to):date(?::iso|:seconds)?\})/;

/** The text with its dashboard variables replaced and its macros left. */
export function interpolate(sql: string, replace: Replace, scoped?: ScopedVars): string {
  return sql
    .split(MACROS)
    .map((piece, index) => (index % 2 === 1 ? piece : piece && replace(piece, scoped, value)))
    .join('');
}
