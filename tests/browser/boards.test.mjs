// Our boards against the types of Grafana's own schema. They are written in the schema of 7.5; what Grafana
// itself makes of a data source there (a name, in the newest schema a reference) is made here too.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(here, '../../dashboards');
const tsc = resolve(here, '../../frontend/node_modules/typescript/bin/tsc');

/** Enums stand in JSON as their values. */
const TYPES = `
import type { Dashboard } from '@grafana/schema';
type Plain<T> = T extends string ? \`\${T}\` : T extends (infer One)[] ? Plain<One>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
`;

function migrated(value) {
  if (Array.isArray(value)) {
    return value.map(migrated);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const entries = Object.entries(value).map(([key, one]) => {
    return [key, key === 'datasource' && typeof one === 'string' ? { uid: one } : migrated(one)];
  });
  return Object.fromEntries(entries);
}

function check(board) {
  const place = mkdtempSync(join(tmpdir(), 'weir-boards-'));
  try {
    writeFileSync(join(place, 'board.ts'), `${TYPES}\nexport const board: Plain<Partial<Dashboard>> = ${JSON.stringify(migrated(board), null, 1)};\n`);
    const paths = { '*': [`${here}/13/node_modules/@types/*`, `${here}/13/node_modules/*`] };
    const compilerOptions = { paths, types: [], strict: true, noEmit: true, skipLibCheck: true, module: 'esnext', moduleResolution: 'bundler', target: 'es2021', lib: ['es2021', 'dom'] };
    writeFileSync(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['board.ts'] }));
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', place], { encoding: 'utf8' });
    return status === 0 ? '' : stdout;
  } finally {
    rmSync(place, { recursive: true });
  }
}

const names = readdirSync(folder).filter((name) => name.endsWith('.json'));

test('there are boards', () => assert.ok(names.length >= 3));

for (const name of names) {
  const board = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  test(`${name} is a dashboard of Grafana's schema`, () => assert.equal(check(board), ''));
}

test('a wrong type and an unknown key are found', () => {
  assert.match(check({ title: 3 }), /title|number/);
  assert.match(check({ panels: [{ type: 'stat', tile: 'x' }] }), /tile/);
});
