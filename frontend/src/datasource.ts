// The data source in the browser: what Grafana asks of it, as requests to the backend.
import {
  AnnotationQuery,
  AnnotationSupport,
  CoreApp,
  DataFrame,
  DataQuery,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceInstanceSettings,
  MetricFindValue,
  ScopedVars,
  TimeRange,
  getDefaultTimeRange,
} from '@grafana/data';
import { DataSourceWithBackend, getTemplateSrv } from '@grafana/runtime';
import { Filter, filtered } from './adhoc';
import { imported, savedQuery } from './imports';
import { interpolate } from './interpolate';
import { last } from './observable';
import { Resources } from './resources';
import { Tags } from './tags';
import { Format, WeirOptions, WeirQuery } from './types';
import { values } from './values';
import { variableSupport } from './variables';

/** What the template service has beyond what the oldest Grafana declares. */
interface Templates {
  replace(text?: string, scoped?: ScopedVars, format?: unknown): string;
  getVariables(): Array<{ name: string }>;
  getAdhocFilters?(name: string): Filter[];
}

export class DataSource extends DataSourceWithBackend<WeirQuery, WeirOptions> {
  readonly resources: Resources;
  readonly tags: Tags;
  readonly options: WeirOptions;

  constructor(settings: DataSourceInstanceSettings<WeirOptions>) {
    super(settings);
    this.options = settings.jsonData ?? {};
    this.resources = new Resources((route, body) => this.postResource(route, body));
    this.tags = new Tags(this.resources);
    this.annotations = annotations;
    this.variables = variableSupport(this);
  }

  getDefaultQuery(app: CoreApp): Partial<WeirQuery> {
    const format = app === CoreApp.Explore ? Format.Table : Format.TimeSeries;
    return { rawSql: '', format, rawQuery: true, editorMode: 'code' };
  }

  filterQuery(query: WeirQuery): boolean {
    return !query.hide && (Boolean(query.queryType) || Boolean(query.rawSql?.trim()));
  }

  applyTemplateVariables(query: WeirQuery, scoped: ScopedVars, filters?: Filter[]): WeirQuery & Record<string, unknown> {
    return this.withDefaults({ ...query, rawSql: this.filled(query.rawSql, scoped, filters) });
  }

  /**
   * Queries with their variables' values, for Explore and for alert rules made of panels: they are kept, so they
   * take no settings along, and what the builder wrote becomes code, as it would write variables again.
   */
  interpolateVariablesInQueries(queries: WeirQuery[], scoped: ScopedVars, filters?: Filter[]): WeirQuery[] {
    return queries.map((query) => {
      const rawSql = this.filled(query.rawSql, scoped, filters);
      return rawSql === query.rawSql ? query : { ...query, rawSql, builder: undefined, editorMode: 'code' };
    });
  }

  /** The answer of a variable's query. */
  async metricFindQuery(saved: unknown, options?: { range?: TimeRange; scopedVars?: ScopedVars }): Promise<MetricFindValue[]> {
    const query = savedQuery(saved, 'variable');
    if (!this.filterQuery(query)) {
      return [];
    }
    return values(await this.ask(query, options?.range, options?.scopedVars));
  }

  getQueryDisplayText(query: WeirQuery): string {
    return query.rawSql ?? query.queryType ?? '';
  }

  /** From Grafana 8 the origin is a data source, before a plugin's meta. */
  async importQueries(queries: DataQuery[], origin: { id?: unknown; type?: string; meta?: { id: string } }): Promise<WeirQuery[]> {
    const id = origin.meta?.id ?? origin.type ?? origin.id;
    return imported(queries, String(id ?? ''));
  }

  getTagKeys(options?: { queries?: WeirQuery[] }): Promise<MetricFindValue[]> {
    options?.queries?.forEach((query) => this.tags.saw(query.rawSql ?? ''));
    return this.tags.keys();
  }

  /** The values of a column in the newest day of its table. */
  async getTagValues({ key, timeRange }: { key: string; timeRange?: TimeRange }): Promise<MetricFindValue[]> {
    const sql = this.tags.valuesSql(key);
    return sql ? values(await this.ask(savedQuery(sql, 'tags'), timeRange)) : [];
  }

  /** Explore's filters on a value of a table or a log. */
  modifyQuery(query: WeirQuery, action: { type: string; options?: Record<string, string> }): WeirQuery {
    const { key, value } = action.options ?? {};
    const operator = { ADD_FILTER: '=', ADD_FILTER_OUT: '!=' }[action.type];
    if (!operator || !key || !query.rawSql) {
      return query;
    }
    return { ...query, rawSql: filtered(query.rawSql, [{ key, operator, value: value ?? '' }]) };
  }

  /** A query as it is sent, with its variables' values and the filters of the board, for a look ahead. */
  preview(query: WeirQuery, intervalMs: number): WeirQuery & { intervalMs: number } {
    return { ...this.applyTemplateVariables({ ...query, refId: query.refId || 'A' }, {}), intervalMs };
  }

  variableNames(): string[] {
    return templates()
      .getVariables()
      .map((variable) => variable.name);
  }

  private filled(sql: string | undefined, scoped: ScopedVars, filters?: Filter[]): string | undefined {
    if (!sql) {
      return sql;
    }
    const replaced = interpolate(sql, (...all) => templates().replace(...all), scoped);
    this.tags.saw(replaced);
    const applied = filters ?? templates().getAdhocFilters?.(this.name) ?? [];
    return filtered(replaced, applied, (column) => this.tags.typeOf(column));
  }

  private withDefaults(query: WeirQuery): WeirQuery & Record<string, unknown> {
    const { freshSeconds, maxStalenessSeconds } = this.options;
    const { builder, ...sent } = query;
    if (freshSeconds && !sent.queryCachingTTL) {
      sent.queryCachingTTL = freshSeconds * 1000;
    }
    if (maxStalenessSeconds !== undefined && sent.cache?.maxStalenessMs === undefined) {
      sent.cache = { ...sent.cache, maxStalenessMs: maxStalenessSeconds * 1000 };
    }
    return sent as WeirQuery & Record<string, unknown>;
  }

  private async ask(query: WeirQuery, range: TimeRange = getDefaultTimeRange(), scopedVars: ScopedVars = {}): Promise<DataFrame[]> {
    const answer = await last<DataQueryResponse>(
      this.query({
        targets: [query],
        range,
        scopedVars,
        requestId: `weir-${query.refId}-${(requests += 1)}`,
        interval: '1m',
        intervalMs: 60_000,
        maxDataPoints: 1_000,
        timezone: 'utc',
        app: 'dashboard',
        startTime: Date.now(),
      } as unknown as DataQueryRequest<WeirQuery>)
    );
    if (answer?.error) {
      throw answer.error;
    }
    return (answer?.data ?? []) as DataFrame[];
  }
}

let requests = 0;

/** Old annotations have their SQL beside the query; the standard runner wants it in `target`. */
const annotations: AnnotationSupport<WeirQuery> = {
  prepareAnnotation(json: AnnotationQuery<WeirQuery> & { rawQuery?: string; rawSql?: string }) {
    const saved = json.target?.rawSql ? json.target : json.rawSql ?? json.rawQuery ?? json.target;
    return { ...json, target: savedQuery(saved, 'Anno') };
  },
};

function templates(): Templates {
  return getTemplateSrv() as unknown as Templates;
}
