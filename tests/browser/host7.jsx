// The page for Grafana 7.5 (React 16): the module loads, its settings and its editor are drawn, and a query is
// answered. There are no panels: those of that age are not in its packages.
import * as data from '@grafana/data';
import * as runtime from '@grafana/runtime';
import * as ui from '@grafana/ui';
import React from 'react';
import ReactDOM from 'react-dom';
import * as rxjs from 'rxjs';
import { fetchFrom } from './backend.js';
import { load } from './loader.js';
import { Templates } from './templates.js';

const range = data.getDefaultTimeRange();
const templates = new Templates(() => range);
runtime.setBackendSrv(fetchFrom(rxjs));
runtime.setTemplateSrv(templates);
// Resources were reached by the data source's number.
const UID = 'weir';

async function main() {
  window.host = {};
  const jsonData = await (await fetch('/page/settings.json')).json();
  const plugin = await load({ '@grafana/data': data, '@grafana/runtime': runtime, '@grafana/ui': ui, react: React, rxjs }, data.DataSourcePlugin);
  const source = new plugin.DataSourceClass({ id: 1, uid: UID, name: 'Weir', type: 'weir-bigquery-datasource', meta: {}, jsonData });
  runtime.setDataSourceSrv({ get: async () => source, getList: () => [] });
  const { ConfigEditor, QueryEditor } = plugin.components;
  const options = { id: 1, name: 'Weir', jsonData, secureJsonFields: {}, secureJsonData: {} };
  const query = { refId: 'A', rawSql: 'SELECT 1 AS n', format: 1, editorMode: new URLSearchParams(location.search).get('mode') ?? 'builder' };
  const nothing = () => undefined;
  ReactDOM.render(
    <main>
      <ConfigEditor options={options} onOptionsChange={nothing} />
      <QueryEditor datasource={source} query={query} onChange={nothing} onRunQuery={nothing} range={range} />
    </main>,
    document.getElementById('root')
  );
  Object.assign(window.host, { source, values: await source.metricFindQuery("SELECT 'a' AS x") });
}

main().catch((error) => {
  window.host.failed = error.stack ?? JSON.stringify(error);
});
