// Query variables with an editor of their own, where Grafana lets a data source bring one.
import * as data from '@grafana/data';
import type { DataQueryRequest, DataQueryResponse } from '@grafana/data';
import { from, Observable } from 'rxjs';
import type { DataSource } from './datasource';
import { QueryEditor } from './QueryEditor';
import { Format, WeirQuery } from './types';

/** The support that Grafana looks for in `variables`; older ones call `metricFindQuery`. */
export function variableSupport(source: DataSource) {
  // The namespace, since a missing export is no error there.
  const { CustomVariableSupport } = data;
  if (typeof CustomVariableSupport !== 'function') {
    return undefined;
  }
  class Support extends CustomVariableSupport<DataSource, WeirQuery> {
    editor = QueryEditor;

    query(request: DataQueryRequest<WeirQuery>): Observable<DataQueryResponse> {
      const answer = source.metricFindQuery(request.targets[0], request);
      return from(answer.then((found) => ({ data: found } as DataQueryResponse)));
    }

    getDefaultQuery(): Partial<WeirQuery> {
      return { rawSql: '', format: Format.Table, rawQuery: true, editorMode: 'code' };
    }
  }
  return new Support();
}
