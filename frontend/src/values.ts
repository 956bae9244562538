// The values of a query variable, of an ad-hoc filter or of anything else that offers a choice, from frames.
import type { DataFrame, MetricFindValue } from '@grafana/data';

/** `__text` and `__value` if there are such columns; else every value of every column. */
export function values(frames: DataFrame[]): MetricFindValue[] {
  return distinct(frames.reduce<MetricFindValue[]>((all, frame) => [...all, ...valuesOf(frame)], []));
}

function valuesOf(frame: DataFrame): MetricFindValue[] {
  const field = (name: string) => frame.fields.find((one) => one.name.toLowerCase() === name);
  const named = field('__text') ?? field('__value');
  const columns = named ? [named] : frame.fields;
  const found: MetricFindValue[] = [];
  for (const column of columns) {
    const value = named ? field('__value') ?? column : column;
    for (let row = 0; row < frame.length; row++) {
      const text = at(column, row);
      if (text !== null && text !== undefined) {
        found.push({ text: String(text), value: String(at(value, row) ?? text) });
      }
    }
  }
  return found;
}

/** Values are an array now, and were a vector. */
function at(field: { values: unknown }, row: number): unknown {
  const list = field.values as { get?(row: number): unknown } & unknown[];
  return typeof list.get === 'function' ? list.get(row) : list[row];
}

function distinct(all: MetricFindValue[]): MetricFindValue[] {
  const seen = new Set<string>();
  return all.filter(({ text, value }) => {
    const key = JSON.stringify([text, value]);
    return !seen.has(key) && Boolean(seen.add(key));
  });
}
