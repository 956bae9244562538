import { expect, test } from 'vitest';
import { Catalog, offers, offline } from '../src/complete';

const catalog: Catalog = {
  projects: async () => ['p', 'q'],
  defaultProject: async () => 'p',
  datasets: async (project) => (project === 'p' ? ['d', 'e'] : []),
  tables: async (project, dataset) => (project === 'p' && dataset === 'd' ? ['t'] : []),
  columns: async (_project, _dataset, table) => {
    if (table !== 't') {
      throw new Error('no such table');
    }
    return ['time', 'branch'];
  },
};

/** Labels of the offers at `|`. */
async function at(text: string): Promise<string[]> {
  const offset = text.indexOf('|');
  const found = await offers(text.replace('|', ''), offset, catalog, ['experiment_id']);
  return found.map(({ label }) => label);
}

test('names of tables, part by part', async () => {
  expect(await at('SELECT 1 FROM |')).toEqual(['p', 'q', 'd', 'e']);
  expect(await at('SELECT 1 FROM `p.|')).toEqual(['d', 'e']);
  expect(await at('SELECT 1 FROM p.d.|')).toEqual(['t']);
  expect(await at('SELECT 1 FROM d.|')).toEqual(['t']);
  expect(await at('SELECT 1 JOIN x.y.z.|')).toEqual([]);
});

test('columns of the tables in the text, and functions', async () => {
  const found = await at('SELECT | FROM p.d.t JOIN p.d.gone USING (x)');
  expect(found.slice(0, 2)).toEqual(['time', 'branch']);
  expect(found).toContain('TIMESTAMP_TRUNC');
  expect(found).toContain('$__timeFilter(');
});

test('macros and variables after a dollar, inside a string too', async () => {
  for (const text of ['SELECT $|', "SELECT '$|'", 'SELECT $__ti|']) {
    expect(await at(text)).toEqual(expect.arrayContaining(['$__timeFilter(', '$experiment_id']));
  }
});

test('nothing in comments and strings, and after a closed name', async () => {
  expect(await at('SELECT 1 -- FR|')).toEqual([]);
  expect(await at("SELECT 'ab|")).toEqual([]);
  expect(await at('SELECT 1 FROM `p.d.t`|')).toEqual([]);
  expect(await at('SELECT 1 FROM `|')).toEqual(['p', 'q', 'd', 'e']);
});

test('where nothing can be asked there are macros and variables', () => {
  expect(offline(['v']).map(({ label }) => label)).toEqual(expect.arrayContaining(['$__timeGroup(', '$v', 'COUNTIF']));
});
