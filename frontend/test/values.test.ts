import { expect, test } from 'vitest';
import { values } from '../src/values';

function frame(columns: Record<string, unknown[]>) {
  const fields = Object.entries(columns).map(([name, values]) => ({ name, values }));
  return { fields, length: fields[0]?.values.length ?? 0 } as never;
}

test('__text and __value are what is shown and what is meant', () => {
  expect(values([frame({ __text: ['One', 'Two', null], __value: [1, null, 3] })])).toEqual([
    { text: 'One', value: '1' },
    { text: 'Two', value: 'Two' },
  ]);
  expect(values([frame({ other: ['x'], __value: ['a'] })])).toEqual([{ text: 'a', value: 'a' }]);
});

test('else every value of every column is offered once', () => {
  expect(values([frame({ a: ['x', 'x', ''], b: ['y', null, 'x'] }), frame({ c: [] })])).toEqual([
    { text: 'x', value: 'x' },
    { text: '', value: '' },
    { text: 'y', value: 'y' },
  ]);
});

test('the vectors of old Grafana are read too', () => {
  const vector = { get: (row: number) => ['x', 'y'][row], length: 2 };
  expect(values([{ fields: [{ name: 'a', values: vector }], length: 2 } as never]).map(({ text }) => text)).toEqual(['x', 'y']);
});
