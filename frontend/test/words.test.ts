import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { age, ahead, bytes, mode, money, outcome, REASONS } from '../src/words';
import { place } from '../src/place';

test('sizes, prices and ages', () => {
  expect([0, 1023, 1024, 10_485_760, 107_374_182_400, 2 ** 60].map(bytes)).toEqual([
    '0 B', '1023 B', '1.0 KiB', '10.0 MiB', '100 GiB', '1024 PiB',
  ]);
  const dollars = (amount: number) => money({ amount, currency: 'USD' });
  expect([0, 6.25, 0.0000596, 123.456].map(dollars)).toEqual(['0 USD', '6.25 USD', '0.000060 USD', '123.46 USD']);
  expect([0, 119, 120, 7_200, 200_000].map(age)).toEqual(['0 s', '119 s', '2 min', '2 h', '2 d']);
});

test.each([
  ['local', '', 'local: no job of its own'],
  ['delta', 'buckets', 'delta: settled days are never billed again'],
  ['whole', 'limit', 'whole: LIMIT'],
  ['whole', 'some_new_reason', 'whole: some new reason'],
  ['other', 'a_b', 'other: a b'],
])('%s for %s is said as %s', (way, reason, expected) => {
  expect(mode(way, reason)).toBe(expected);
});

test('the reasons in words are reasons of the backend', () => {
  const source = readFileSync(new URL('../../crates/weir-plan/src/analysis/reason.rs', import.meta.url), 'utf8');
  const codes = [...source.matchAll(/^ {4}[A-Z_]+ = "(\w+)";/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(50);
  expect(Object.keys(REASONS).filter((code) => !codes.includes(code))).toEqual([]);
});

test('a look ahead says what is stored already', () => {
  const segments = [{ status: 'hit', bytes_billed: 20_971_520 }, { status: 'miss', bytes_billed: 10_485_760 }];
  const cost = { amount: 0.0001788, currency: 'USD' };
  const explanation = { mode: 'delta', reason: 'buckets', bytes_processed: 1024, bytes_billed: 31_457_280, cost, segments };
  expect(ahead({ state: 'valid', validation: {} as never, explanation })).toBe(
    'Valid. Reads 1.0 KiB, bills 30.0 MiB (0.00018 USD); 20.0 MiB of that is stored. delta: settled days are never billed again'
  );
  const local = { ...explanation, mode: 'local', reason: 'local' };
  expect(ahead({ state: 'valid', validation: {} as never, explanation: local })).toBe(
    'Valid. local: no job of its own; rows that all such queries share bill 10.0 MiB once'
  );
  const here = { ...local, segments: segments.slice(0, 1) };
  expect(ahead({ state: 'valid', validation: {} as never, explanation: here })).toBe(
    'Valid. local: no job of its own; its rows are here'
  );
  expect(ahead({ state: 'invalid', message: 'Unrecognized name: x at [5:31]', position: { line: 2, column: 8 } })).toBe(
    'Line 2, column 8: Unrecognized name: x'
  );
});

test('a run says what it billed and saved', () => {
  const cost = { amount: 0, currency: 'USD' };
  const provenance = { mode: 'whole', reason: '', status: 'hit', age_s: 3, bytes_billed: 0, bytes_saved: 1048576, cost, cost_saved: cost };
  expect(outcome(provenance)).toBe('billed 0 B (0 USD), saved 1.0 MiB (0 USD), 3 s old, hit');
});

test.each([
  ['SELECT 1\nFORM t', 'SELECT 1\nFORM t', { line: 2, column: 3 }, { line: 2, column: 3 }],
  ["SELECT '$a', nme", "SELECT 'a-long-value', nme", { line: 1, column: 24 }, { line: 1, column: 14 }],
  ['$x, nme, nme', 'value, nme, nme', { line: 1, column: 13 }, { line: 1, column: 10 }],
  ['SELECT $__interval', 'SELECT 5m', { line: 1, column: 8 }, { line: 1, column: 1 }],
])('a mistake in %s is found from %s', (written, expanded, theirs, ours) => {
  expect(place(written, expanded, theirs)).toEqual(ours);
});
