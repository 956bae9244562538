// The builder: a dataset, a measure, groups and filters.
import { InlineField, InlineFieldRow, Input, MultiSelect, Select } from '@grafana/ui';
import React from 'react';
import { datasetOf, DATASETS, filterable, fitted, MEASURES } from './builder';
import { Build } from './types';

interface Props {
  build: Build;
  onChange: (build: Build) => void;
}

export function Builder({ build, onChange }: Props) {
  const dataset = datasetOf(build);
  const changed = (change: Partial<Build>) => onChange(fitted({ ...build, ...change }));
  return (
    <>
      <InlineFieldRow>
        <InlineField label="Dataset" labelWidth={14}>
          <Select
            aria-label="Dataset"
            width={36}
            options={DATASETS.map(({ name, label }) => ({ value: name, label }))}
            value={dataset.name}
            onChange={({ value }) => changed({ dataset: value })}
          />
        </InlineField>
        <InlineField label="Measure" labelWidth={14}>
          <Select
            aria-label="Measure"
            width={30}
            options={MEASURES.map(({ name, label }) => ({ value: name, label }))}
            value={build.measure}
            onChange={({ value }) => changed({ measure: value })}
          />
        </InlineField>
        <InlineField label="Group by" labelWidth={14}>
          <MultiSelect
            aria-label="Group by"
            width={40}
            options={dataset.dimensions.map((value) => ({ value, label: value }))}
            value={build.groupBy}
            onChange={(chosen) => changed({ groupBy: chosen.map(({ value }) => String(value)) })}
          />
        </InlineField>
      </InlineFieldRow>
      <InlineFieldRow>
        {filterable(dataset).map((column) => (
          <InlineField key={column} label={column} labelWidth={20} tooltip="Values with commas between, or a $variable">
            <Input
              aria-label={`Filter by ${column}`}
              width={28}
              placeholder="any"
              defaultValue={build.filters[column] ?? ''}
              onBlur={(event: React.FocusEvent<HTMLInputElement>) =>
                changed({ filters: { ...build.filters, [column]: event.target.value } })
              }
            />
          </InlineField>
        ))}
      </InlineFieldRow>
    </>
  );
}
