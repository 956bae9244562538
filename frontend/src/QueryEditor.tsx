// The query editor, of panels, Explore, alert rules, annotations and variables.
import { QueryEditorProps } from '@grafana/data';
import { Button, InlineField, InlineFieldRow, Input, RadioButtonGroup, Select } from '@grafana/ui';
import React, { useState } from 'react';
import { Builder } from './Builder';
import { buildSql, EMPTY } from './builder';
import { useCheck } from './check';
import { CostLine } from './CostLine';
import type { DataSource } from './datasource';
import { savedQuery } from './imports';
import { SqlEditor } from './SqlEditor';
import { Build, CacheMode, Format, WeirOptions, WeirQuery } from './types';

type Props = QueryEditorProps<DataSource, WeirQuery, WeirOptions>;

const FORMATS = [
  { value: Format.TimeSeries, label: 'Time series' },
  { value: Format.Table, label: 'Table' },
  { value: Format.Multi, label: 'Time series, a frame each' },
  { value: Format.Logs, label: 'Logs' },
  { value: Format.Traces, label: 'Traces' },
];

const WAYS = [
  { value: 'code', label: 'Code' },
  { value: 'builder', label: 'Builder' },
  { value: 'ledger', label: 'Ledger' },
];

const CACHES: Array<{ value: CacheMode; label: string }> = [
  { value: 'auto', label: 'auto' },
  { value: 'whole', label: 'whole answers only' },
  { value: 'off', label: 'off: the exact range, a job each time' },
];

const LEDGER = ['day', 'source', 'board', 'panel', 'principal', 'cause'];

export function QueryEditor({ datasource, query: saved, onChange, onRunQuery, data, range }: Props) {
  const query = typeof saved === 'string' || !saved ? savedQuery(saved, 'A') : saved;
  const way = query.queryType === 'ledger' ? 'ledger' : query.editorMode ?? 'code';
  // What stands in the editor, before it is kept.
  const [typed, setTyped] = useState<string>();
  const current = { ...query, rawSql: way === 'code' ? typed ?? query.rawSql : query.rawSql };
  const check = useCheck(datasource, way === 'ledger' ? { refId: query.refId } : current, range, data?.request?.intervalMs);

  const keep = (change: Partial<WeirQuery>) => onChange({ ...query, ...change });
  const written = (rawSql: string) => {
    setTyped(undefined);
    if (rawSql !== query.rawSql) {
      // A text that a person changed is no longer that of the editor that it may have come from.
      keep({ rawSql, rawQuery: true });
    }
  };
  const built = (builder: Build) => keep({ builder, rawSql: buildSql(builder) });
  const chosen = (value?: string) => {
    setTyped(undefined);
    if (value === 'ledger') {
      keep({ queryType: 'ledger', by: query.by ?? LEDGER[0], format: Format.Table });
    } else if (value === 'builder') {
      const builder = query.builder ?? EMPTY;
      keep({ queryType: undefined, editorMode: 'builder', builder, rawSql: buildSql(builder) });
    } else {
      keep({ queryType: undefined, editorMode: 'code' });
    }
  };

  return (
    <div>
      <InlineFieldRow>
        <InlineField>
          <RadioButtonGroup options={WAYS} value={way} onChange={chosen} />
        </InlineField>
        {way !== 'ledger' && (
          <>
            <InlineField label="Format" labelWidth={10}>
              <Select
                aria-label="Format"
                width={26}
                options={FORMATS}
                value={FORMATS.find(({ value }) => value === formatOf(query.format))}
                onChange={({ value }) => keep({ format: value })}
              />
            </InlineField>
            <InlineField label="Location" labelWidth={10} tooltip="Of the job; empty: the data source's">
              <Input
                aria-label="Location"
                width={16}
                placeholder={datasource.options.processingLocation || 'automatic'}
                defaultValue={query.location ?? ''}
                onBlur={(event: React.FocusEvent<HTMLInputElement>) => keep({ location: event.target.value || undefined })}
              />
            </InlineField>
            <InlineField label="Cache" labelWidth={10}>
              <Select
                aria-label="Cache"
                width={30}
                options={CACHES}
                value={query.cache?.mode ?? 'auto'}
                onChange={({ value }) => keep({ cache: { ...query.cache, mode: value } })}
              />
            </InlineField>
          </>
        )}
        {way === 'ledger' && (
          <InlineField label="By" labelWidth={10}>
            <Select
              aria-label="By"
              width={20}
              options={LEDGER.map((value) => ({ value, label: value }))}
              value={query.by}
              onChange={({ value }) => keep({ by: value })}
            />
          </InlineField>
        )}
        <Button size="md" variant="secondary" icon="play" aria-label="Run query" onClick={onRunQuery}>
          Run
        </Button>
      </InlineFieldRow>
      {way === 'builder' && (
        <>
          <Builder build={query.builder ?? EMPTY} onChange={built} />
          <pre aria-label="SQL of the builder">{query.rawSql}</pre>
        </>
      )}
      {way === 'code' && (
        <SqlEditor
          value={query.rawSql ?? ''}
          catalog={datasource.resources}
          variables={datasource.variableNames()}
          mistake={check.state === 'invalid' && check.position ? { ...check.position, message: check.message } : undefined}
          onType={setTyped}
          onChange={written}
          onRun={(sql) => {
            written(sql);
            onRunQuery();
          }}
        />
      )}
      {way !== 'ledger' && <CostLine check={check} frames={data?.series} refId={query.refId} />}
    </div>
  );
}

/** Formats were texts in boards of doitintl's plugin. */
export function formatOf(format: Format | string = Format.TimeSeries): Format {
  const names: Record<string, Format> = {
    time_series: Format.TimeSeries,
    timeseries: Format.TimeSeries,
    table: Format.Table,
    logs: Format.Logs,
    traces: Format.Traces,
    multi: Format.Multi,
  };
  return typeof format === 'number' ? format : names[format.toLowerCase()] ?? (Number(format) as Format);
}
