// What boards are made of: in the schema of Grafana 7.5, which every later one brings up to date itself.

/** The variable that stands for the data source, by which boards go from one Grafana to another. */
export const DATASOURCE = '$datasource';

export const PROJECT = 'moz-fx-data-shared-prod';
export const EXPERIMENTS = '`moz-fx-data-experiments.monitoring.experimenter_experiments_v1`';

const WIDTH = 24;

/** Panels in rows, from left to right and from top to bottom, numbered. */
export function laidOut(rows) {
  let y = 0;
  let id = 0;
  const panels = [];
  for (const { height, panels: row } of rows) {
    const width = Math.floor(WIDTH / row.length);
    // The first has what is left over.
    const rest = WIDTH - width * row.length;
    row.forEach((panel, at) => {
      id += 1;
      const gridPos = { x: at * width + (at && rest), y, w: width + (at ? 0 : rest), h: height };
      panels.push({ id, gridPos, ...panel });
    });
    y += height;
  }
  return panels;
}

export function board({ uid, title, description, from, refresh, variables, links = [], rows }) {
  const source = {
    name: 'datasource', label: 'Data source', type: 'datasource', query: 'weir-bigquery-datasource', refresh: 1, hide: 0,
  };
  return {
    uid,
    title,
    description,
    tags: ['experiments', 'weir'],
    editable: true,
    schemaVersion: 27,
    version: 1,
    timezone: 'utc',
    time: { from, to: 'now' },
    refresh,
    graphTooltip: 1,
    templating: { list: [source, ...variables] },
    annotations: { list: [] },
    links,
    panels: laidOut(rows),
  };
}

/** A variable whose values are the rows of a query. */
export function variable(name, label, rawSql, isMulti) {
  const all = isMulti ? { current: { selected: true, text: ['All'], value: ['$__all'] } } : {};
  return {
    name, label, type: 'query', datasource: DATASOURCE, query: sql(rawSql, 1, 'variable'),
    refresh: 2, sort: 1, multi: isMulti, includeAll: isMulti, hide: 0, ...all,
  };
}

/** Formats: 0 a time series, 1 a table. */
export function sql(rawSql, format, refId = 'A') {
  return { refId, rawSql, format, rawQuery: true, editorMode: 'code' };
}

export function ledger(by, format = 1) {
  return { refId: 'A', queryType: 'ledger', by, format };
}

function panel(type, title, description, target, rest) {
  return { type, title, description, datasource: DATASOURCE, targets: [target], ...rest };
}

export function text(content) {
  return { type: 'text', title: '', transparent: true, options: { mode: 'markdown', content } };
}

/** Thresholds: pairs of a colour and the value where it begins, the first without one. */
export function thresholds(...steps) {
  return { mode: 'absolute', steps: steps.map(([color, value = null]) => ({ color, value })) };
}

export function field(name, properties) {
  const list = Object.entries(properties).map(([id, value]) => ({ id, value }));
  return { matcher: { id: 'byName', options: name }, properties: list };
}

export function stat(title, description, target, { unit = 'short', steps = [['blue']], overrides = [], calc = 'lastNotNull', fields = '' } = {}) {
  return panel('stat', title, description, target, {
    fieldConfig: { defaults: { unit, thresholds: thresholds(...steps), color: { mode: 'thresholds' } }, overrides },
    options: {
      reduceOptions: { calcs: [calc], fields, values: false }, colorMode: 'value', graphMode: 'none', orientation: 'auto',
      textMode: 'auto', justifyMode: 'auto',
    },
  });
}

export function series(title, description, target, { stack = false, bars = false, unit = 'short', name, overrides = [], transformations = [] } = {}) {
  const custom = {
    // Points show where they are few: a series of one would be nothing but its name.
    drawStyle: bars ? 'bars' : 'line', lineWidth: 1, fillOpacity: bars || stack ? 60 : 0, showPoints: bars ? 'never' : 'auto',
    pointSize: 5, spanNulls: !bars, axisSoftMin: 0,
    stacking: { mode: stack ? 'normal' : 'none', group: 'A' },
    // A bucket's bar begins where the bucket does.
    ...(bars ? { barAlignment: 1 } : {}),
  };
  return panel('timeseries', title, description, target, {
    fieldConfig: { defaults: { unit, custom, color: { mode: 'palette-classic' }, ...(name ? { displayName: name } : {}) }, overrides },
    options: { legend: { displayMode: 'list', placement: 'bottom', calcs: [] }, tooltip: { mode: 'multi' } },
    transformations,
  });
}

export function table(title, description, target, { overrides = [], transformations = [], sortBy = [] } = {}) {
  return panel('table', title, description, target, {
    fieldConfig: { defaults: { custom: { align: 'auto' } }, overrides },
    options: { showHeader: true, sortBy },
    transformations,
  });
}

/** A name of series by their labels. */
export function labels(...names) {
  return names.map((name) => `\${__field.labels.${name}}`).join(' ');
}

/** These columns alone. */
export function only(...names) {
  return { id: 'filterFieldsByName', options: { include: { names } } };
}

/** A column that is one divided by another. */
export function ratio(alias, left, right) {
  return {
    id: 'calculateField',
    options: { mode: 'binary', alias, binary: { left, operator: '/', right, reducer: 'sum' }, replaceFields: false },
  };
}
