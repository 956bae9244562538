// A page that hosts the built module as Grafana does: Grafana's own packages are real, and so is the back end
// behind /api. Stand-ins, since Grafana's server and application are on no registry: the plugin loader
// (SystemJS, as Grafana's is), backendSrv, templateSrv, the choice of data sources, dashboards and panels (drawn
// with the components of @grafana/ui, whose panel plugins are part of the application).
import * as data from '@grafana/data';
import * as runtime from '@grafana/runtime';
import * as ui from '@grafana/ui';
import React from 'react';
import * as rxjs from 'rxjs';
import { fetchFrom } from './backend.js';
import { load } from './loader.js';
import { Panel, text, transformed } from './panel.jsx';
import { render } from './root.js';
import { Templates } from './templates.js';

const { useEffect, useState } = React;
const UID = 'weir';

const templates = new Templates(() => range);
let range = rangeOf('now-7d', 'now');
let source;

runtime.setBackendSrv(fetchFrom(rxjs));
runtime.setTemplateSrv(templates);
runtime.setDataSourceSrv({
  get: async () => source,
  getList: () => [],
  getInstanceSettings: () => source?.instanceSettings,
  reload() {},
});
Object.assign(runtime.config, { featureToggles: {}, buildInfo: { version: window.grafanaVersion }, theme2: data.createTheme() });

function rangeOf(from, to) {
  const at = (text, up) => data.dateMath.parse(text, up, 'utc');
  return { from: at(from, false), to: at(to, true), raw: { from, to } };
}

function instance(plugin, jsonData) {
  const settings = { id: 1, uid: UID, name: 'Weir', type: 'weir-bigquery-datasource', access: 'proxy', url: '', readOnly: false, meta: { id: 'weir-bigquery-datasource' }, jsonData };
  source = new plugin.DataSourceClass(settings);
  return source;
}

/** The page of a data source's settings. */
function Settings({ plugin, jsonData }) {
  const [options, setOptions] = useState({ id: 1, uid: UID, name: 'Weir', jsonData, secureJsonData: {}, secureJsonFields: {} });
  const [said, say] = useState('');
  const Editor = plugin.components.ConfigEditor;
  const save = async () => {
    const { jsonData: saved, secureJsonFields } = await runtime.getBackendSrv().put(`/api/datasources/uid/${UID}`, options);
    setOptions({ ...options, jsonData: saved, secureJsonData: {}, secureJsonFields });
    say((await instance(plugin, saved).testDatasource().catch((error) => error)).message);
  };
  return (
    <main>
      <h2>Weir BigQuery</h2>
      <Editor options={options} onOptionsChange={setOptions} />
      <ui.Button onClick={save}>Save &amp; test</ui.Button>
      <div role="status" aria-label="Test of the data source">{said}</div>
    </main>
  );
}

const PALETTE = { defaults: { color: { mode: 'palette-classic' } }, overrides: [] };
const THERE = { state: 'Done', series: [] };

/** A panel's editor: a query, and what it draws. */
function Editor({ plugin, query: first, title }) {
  const [query, setQuery] = useState({ refId: 'A', ...source.getDefaultQuery('panel-editor'), ...first });
  const [answer, setAnswer] = useState(THERE);
  const QueryEditor = plugin.components.QueryEditor;
  const current = React.useRef(query);
  current.current = query;
  const run = async () => setAnswer(await ask([current.current]));
  window.host.query = () => current.current;
  return (
    <main>
      <Panel panel={{ type: query.format === 1 ? 'table' : 'timeseries', title, fieldConfig: PALETTE }} answer={answer} range={range} width={1200} height={280} />
      <QueryEditor
        datasource={source}
        query={query}
        onChange={(changed) => {
          current.current = changed;
          setQuery(changed);
        }}
        onRunQuery={() => setTimeout(run)}
        data={answer}
        range={range}
      />
    </main>
  );
}

/** A query, as `asker` (of a board, its and the panel's id). */
function ask(targets, interval = 3_600_000, asker = {}) {
  const request = { ...asker, targets, range, scopedVars: { __interval: { value: '1h' }, __interval_ms: { value: interval } }, intervalMs: interval, maxDataPoints: 1000, requestId: 'Q', timezone: 'utc', app: 'panel-editor', startTime: 0 };
  return new Promise((resolve) => {
    let last = { data: [] };
    const answered = () => resolve({ state: last.error ? 'Error' : 'Done', series: last.data.map((frame) => data.toDataFrame(frame)), error: last.error, request });
    const failed = (error) => resolve({ state: 'Error', series: [], error: { message: text(error) } });
    source.query(request).subscribe({ next: (one) => (last = one), error: failed, complete: answered });
  });
}

/** A board: its variables, then its panels. */
function Board({ board }) {
  const [variables, setVariables] = useState();
  const [answers, setAnswers] = useState({});
  useEffect(() => {
    (async () => {
      await templates.load(board.templating.list, source, new URLSearchParams(location.search));
      setVariables(templates.getVariables());
      const panels = board.panels.filter(({ targets }) => targets);
      const answered = panels.map(async (panel) => {
        const asked = await ask(panel.targets, panel.type === 'timeseries' ? 3_600_000 : 60_000, { dashboardUID: board.uid, panelId: panel.id });
        window.host.provenances[panel.title] = asked.series[0]?.meta?.custom;
        const answer = await transformed(panel, asked);
        setAnswers((before) => ({ ...before, [panel.id]: answer }));
      });
      await Promise.all(answered);
      window.host.done = true;
    })().catch((error) => (window.host.failed = text(error)));
  }, []);
  const unit = 50;
  const height = 34;
  return (
    <main style={{ position: 'relative' }}>
      <h2>{board.title}</h2>
      <p>{(variables ?? []).map(({ name, label, current }) => <span key={name}>{label}: <b>{[].concat(current.text).join(', ')}</b> &nbsp; </span>)}</p>
      <div style={{ position: 'relative', height: Math.max(...board.panels.map(({ gridPos: { y, h } }) => (y + h) * height)) }}>
        {board.panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos;
          return (
            <div key={panel.id} style={{ position: 'absolute', left: x * unit, top: y * height, width: w * unit - 8, height: h * height - 8 }}>
              <Panel panel={panel} answer={answers[panel.id]} range={range} width={w * unit - 8} height={h * height - 8} replace={(one, scoped) => templates.replace(one, scoped)} />
            </div>
          );
        })}
      </div>
    </main>
  );
}

async function main() {
  const params = new URLSearchParams(location.search);
  window.host = { text, provenances: {} };
  const jsonData = await (await fetch('/page/settings.json')).json();
  const plugin = await load({ '@grafana/data': data, '@grafana/runtime': runtime, '@grafana/ui': ui, react: { ...React, default: React }, rxjs }, data.DataSourcePlugin);
  instance(plugin, jsonData);
  Object.assign(window.host, { source, plugin, templates, ask, data });
  range = rangeOf(params.get('from') ?? 'now-7d', 'now');
  const view = params.get('view');
  let page = <Settings plugin={plugin} jsonData={jsonData} />;
  if (view === 'editor') {
    await templates.load([], source, params);
    page = <Editor plugin={plugin} title="Edit panel" query={JSON.parse(params.get('query') ?? '{}')} />;
  } else if (view === 'board') {
    const board = await (await fetch(`/dashboards/${params.get('board')}.json`)).json();
    range = rangeOf(params.get('from') ?? board.time.from, 'now');
    page = <Board board={board} />;
  }
  const place = document.getElementById('root');
  render(<><ui.GlobalStyles /><ui.PortalContainer />{page}</>, place);
}

main().catch((error) => {
  document.getElementById('root').textContent = `The host failed: ${text(error)}`;
  throw error;
});
