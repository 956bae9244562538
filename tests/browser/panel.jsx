// Panels, as far as boards of ours need them, drawn with the components of @grafana/ui.
import * as data from '@grafana/data';
import { BigValue, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import React from 'react';
import { lastValueFrom } from 'rxjs';

const theme = data.createTheme();

/** Options of fields that Grafana's application registers. */
const PLAIN = ['unit', 'min', 'max', 'decimals', 'displayName', 'color', 'thresholds', 'mappings', 'links', 'noValue', 'custom.displayMode', 'custom.lineWidth', 'custom.fillOpacity', 'custom.drawStyle', 'custom.barAlignment', 'custom.showPoints', 'custom.pointSize', 'custom.stacking', 'custom.axisSoftMin', 'custom.align', 'custom.width', 'custom.spanNulls'];

const registry = new data.FieldConfigOptionsRegistry(() =>
  PLAIN.map((id) => {
    const isCustom = id.startsWith('custom.');
    const path = isCustom ? id.slice('custom.'.length) : id;
    return { id, path, isCustom, name: id, editor: () => null, override: () => null, process: id === 'displayName' ? data.displayNameOverrideProcessor : (value) => value, shouldApply: () => true, settings: { expandTemplateVars: id === 'displayName' } };
  })
);
data.standardFieldConfigEditorRegistry.setInit(() => registry.list());

const { standardTransformers: grafanas } = data;
/** Grafana 13 loads them when they are asked for. */
const given = (transformation) => (parseInt(window.grafanaVersion, 10) < 13 ? transformation : () => Promise.resolve(transformation));
data.standardTransformersRegistry.setInit(() =>
  [grafanas.calculateFieldTransformer, grafanas.filterFieldsByNameTransformer].map((one) => ({ id: one.id, name: one.name, editor: () => null, transformation: given(one) }))
);

/** What a panel makes of its answer before it draws it. */
export async function transformed({ transformations = [] }, answer) {
  for (const { id } of transformations) {
    // Those that are not here would be left out without a word.
    data.standardTransformersRegistry.get(id);
  }
  return { ...answer, series: await lastValueFrom(data.transformDataFrame(transformations, answer.series)) };
}

export function text(error) {
  return error?.data?.message ?? error?.message ?? String(error);
}

function overridden(panel, series, replace = (one) => one) {
  const fieldConfig = { defaults: {}, overrides: [], ...panel.fieldConfig };
  return data.applyFieldOverrides({ data: series, fieldConfig, fieldConfigRegistry: registry, replaceVariables: replace, theme, timeZone: 'utc' });
}

export function Panel({ panel, answer, range, width, height, replace }) {
  if (panel.type === 'text') {
    return <div style={{ padding: 8, fontSize: 13 }}>{panel.options.content}</div>;
  }
  const state = answer?.error ? 'error' : answer ? 'drawn' : 'waiting';
  return (
    <section data-panel={panel.title} data-state={state} aria-label={panel.title}>
      <PanelChrome title={panel.title} width={width} height={height}>
        {(w, h) => (answer?.error ? <div role="alert">{text(answer.error)}</div> : answer ? <Drawn {...{ panel, answer, range, width: w, height: h, replace }} /> : null)}
      </PanelChrome>
    </section>
  );
}

function Drawn({ panel, answer, range, width, height, replace }) {
  const frames = overridden(panel, answer.series, replace).filter((frame) => frame.length > 0);
  if (frames.length === 0) {
    return <div data-empty>No data</div>;
  }
  switch (panel.type) {
    case 'stat':
      return <Stats {...{ panel, frames, width, height, replace }} />;
    case 'table':
      return <Table data={frames[0]} width={width} height={height} initialSortBy={panel.options?.sortBy} />;
    default: {
      const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };
      const hasTime = frames[0].fields.some((field) => field.type === 'time');
      return hasTime ? <TimeSeries {...{ frames, width, height, legend }} timeRange={range} timeZone="utc" structureRev={1} /> : <Table data={frames[0]} width={width} height={height} />;
    }
  }
}

function Stats({ panel, frames, width, height, replace = (one) => one }) {
  const fieldConfig = panel.fieldConfig;
  const values = data.getFieldDisplayValues({ fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: replace, theme, data: frames, timeZone: 'utc' });
  return (
    <div style={{ display: 'flex' }}>
      {values.map((value, at) => (
        <BigValue key={at} value={values.length > 1 ? value.display : { ...value.display, title: undefined }} width={width / values.length} height={height} theme={theme} colorMode="value" graphMode="none" count={values.length} />
      ))}
    </div>
  );
}
