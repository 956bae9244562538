import { expect, test } from 'vitest';
import { interpolate, value } from '../src/interpolate';

/** Grafana's template service, as far as these tests need it. */
function replace(text: string, _scoped: unknown, format: typeof value = value): string {
  const variables: Record<string, [unknown, object]> = {
    slug: ['plain', {}],
    quote: ["it's", {}],
    one: ['a', { multi: true }],
    many: [['a', "b'\\"], { multi: true }],
    all: ['x', { includeAll: true }],
    __interval: ['17s', {}],
    __interval_ms: ['17000', {}],
    __from: ['1', {}],
    __user: ['me', {}],
  };
  return text.replace(/\$\{(\w+)(?::[\w:]+)?\}|\$(\w+)/g, (whole, braced, bare) => {
    const found = variables[braced ?? bare];
    return found ? format(found[0], found[1]) : whole;
  });
}

test.each([
  ["experiment = '$slug'", "experiment = 'plain'"],
  ['FROM `${slug}`', 'FROM `plain`'],
  // A plain value stays as it is: it may be a name or a part of the text.
  ['$quote', "it's"],
  ['branch IN ($one)', "branch IN ('a')"],
  ['branch IN ($all)', "branch IN ('x')"],
  ['branch IN ($many)', "branch IN ('a','b\\'\\\\')"],
  ['$__timeFilter($slug)', '$__timeFilter(plain)'],
  ['$__timeGroup(t, $__interval)', '$__timeGroup(t, $__interval)'],
  ["$__timeGroup(t, '$__interval')", "$__timeGroup(t, '$__interval')"],
  ['$__interval_ms + ${__interval}', '$__interval_ms + ${__interval}'],
  ["'${__from:date:iso}' ${__to} $slug", "'${__from:date:iso}' ${__to} plain"],
  // A format that only the front end knows, and a bare name that the backend does not see in a literal.
  ["'${__from:date:YYYY}' '$__from'", "'1' '1'"],
  ['${__user}', 'me'],
  ['$unknown', '$unknown'],
])('%s becomes %s', (sql, expected) => {
  expect(interpolate(sql, replace as never)).toBe(expected);
});

test('numbers and nothing are written as they are', () => {
  expect([value(3), value(undefined), value([1, 2], { multi: true })]).toEqual(['3', '', "'1','2'"]);
});

test('a line break in a value does not end the literal', () => {
  expect(value(['a\nb'], { multi: true })).toBe("'a\\nb'");
});
