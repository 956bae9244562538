// Queries of other data sources as ours. Targets of the official and of doitintl's BigQuery plugins run as
// they are: the backend knows a target by its keys and gives its macros the meaning that they had there.
import { DataQuery } from '@grafana/data';
import { Format, WeirQuery } from './types';

const OFFICIAL = 'grafana-bigquery-datasource';
const DOITINTL = 'doitintl-bigquery-datasource';

/** Keys of the official plugin's editor, which are of no use here. */
const EDITOR = ['sql', 'connectionArgs', 'datasource', 'datasourceId'];

type Foreign = DataQuery & Record<string, unknown>;

/** `origin` is the id of the plugin that wrote them; queries without SQL cannot be brought over. */
export function imported(queries: DataQuery[], origin: string): WeirQuery[] {
  return queries
    .map((query) => query as Foreign)
    .filter((query) => typeof query.rawSql === 'string' && query.rawSql.trim() !== '')
    .map((query) => one(query, origin));
}

function one(query: Foreign, origin: string): WeirQuery {
  if (origin === OFFICIAL || origin === DOITINTL) {
    const { dataset, table, location } = { ...query, ...(query.connectionArgs as object | undefined) } as WeirQuery;
    const kept = Object.entries(query).filter(([key]) => !EDITOR.includes(key));
    const ours = { ...Object.fromEntries(kept), dataset, table, location } as WeirQuery;
    // Of doitintl's keys `rawQuery` says whether its editor wrote the text.
    return origin === OFFICIAL ? { ...ours, editorMode: 'code', rawQuery: true } : ours;
  }
  const { refId, hide, rawSql, format } = query;
  return { refId, hide, rawSql: rawSql as string, format: formatOf(format), editorMode: 'code', rawQuery: true };
}

function formatOf(format: unknown): Format | string {
  return typeof format === 'string' || typeof format === 'number' ? format : Format.TimeSeries;
}

/** A variable's or an annotation's query as it was saved: a query, or SQL alone. */
export function savedQuery(saved: unknown, refId: string): WeirQuery {
  const base = { refId, rawQuery: true, editorMode: 'code' as const };
  if (typeof saved === 'string') {
    return { ...base, rawSql: saved, format: Format.Table };
  }
  const query = (saved ?? {}) as WeirQuery & { query?: unknown };
  if (typeof query.query === 'string' && !query.rawSql) {
    return savedQuery(query.query, refId);
  }
  return { ...base, ...query, refId: query.refId || refId, format: Format.Table };
}
