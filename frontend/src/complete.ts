// What the SQL editor offers at a place in a text. It knows nothing of the editor itself.
import { FUNCTIONS, KEYWORDS, MACROS } from './language';
import { Resources } from './resources';
import { tables, tokens } from './sql';

export interface Offer {
  label: string;
  kind: 'project' | 'dataset' | 'table' | 'column' | 'macro' | 'function' | 'keyword' | 'variable';
  insert: string;
  detail?: string;
}

/** Names where a table's are to be found. */
export type Catalog = Pick<Resources, 'projects' | 'defaultProject' | 'datasets' | 'tables' | 'columns'>;

/** The offers for what ends at `offset`. Lists that cannot be had are left out. */
export async function offers(sql: string, offset: number, catalog: Catalog, variables: string[]): Promise<Offer[]> {
  const before = sql.slice(0, offset);
  const last = tokens(before).pop();
  // A name that has just been closed would otherwise have its Enter taken by the first offer.
  const isClosed = last?.kind === 'quoted' && /.`$/.test(last.text);
  if (last?.kind === 'comment' || isClosed) {
    return [];
  }
  const typed = /(`?)([\w-]*(?:\.[\w-]*)*)$/.exec(before);
  const isTable = /\b(?:FROM|JOIN)\s+`?[\w.-]*$/i.test(before);
  if (isTable && typed) {
    return names(typed[2].split('.').slice(0, -1), catalog);
  }
  if (/\$\{?\w*$/.test(before)) {
    return [...macros(), ...variables.map((name) => offer('variable', `$${name}`, 'dashboard variable'))];
  }
  if (last?.kind === 'string') {
    return [];
  }
  const columns = await columnsOf(sql, catalog);
  return [
    ...columns.map((name) => offer('column', name)),
    ...macros(),
    ...FUNCTIONS.map((name) => ({ ...offer('function', name), insert: `${name}(` })),
    ...KEYWORDS.map((name) => offer('keyword', name)),
  ];
}

/** What is offered where nothing can be asked: for editors whose completion is a plain list. */
export function offline(variables: string[]): Offer[] {
  const dollars = variables.map((name) => offer('variable', `$${name}`, 'dashboard variable'));
  return [...macros(), ...dollars, ...FUNCTIONS.map((name) => ({ ...offer('function', name), insert: `${name}(` }))];
}

function offer(kind: Offer['kind'], label: string, detail?: string): Offer {
  return { label, kind, insert: label, detail };
}

function macros(): Offer[] {
  return MACROS.map(({ text, detail }) => offer('macro', text, detail));
}

/** What follows the names that stand already: projects and datasets, then datasets or tables, then tables. */
async function names(parents: string[], catalog: Catalog): Promise<Offer[]> {
  const [first, second] = parents;
  switch (parents.length) {
    case 0: {
      const project = await settled(catalog.defaultProject(), '');
      const [projects, datasets] = await Promise.all([
        settled(catalog.projects(), []),
        settled(catalog.datasets(project), []),
      ]);
      return [
        ...projects.map((name) => offer('project', name)),
        ...datasets.map((name) => offer('dataset', name, project)),
      ];
    }
    case 1: {
      const datasets = await settled(catalog.datasets(first), []);
      if (datasets.length > 0) {
        return datasets.map((name) => offer('dataset', name, first));
      }
      const project = await settled(catalog.defaultProject(), '');
      return (await settled(catalog.tables(project, first), [])).map((name) => offer('table', name, first));
    }
    case 2:
      return (await settled(catalog.tables(first, second), [])).map((name) => offer('table', name, second));
    default:
      return [];
  }
}

/** Columns of the tables that the text names. */
async function columnsOf(sql: string, catalog: Catalog): Promise<string[]> {
  const lists = await Promise.all(tables(sql).map((table) => columnsOfTable(table, catalog)));
  return [...new Set(lists.reduce((all, list) => [...all, ...list], []))];
}

export async function columnsOfTable(table: string, catalog: Catalog): Promise<string[]> {
  const [name, dataset, project] = table.split('.').reverse();
  const within = project ?? (await settled(catalog.defaultProject(), ''));
  return dataset ? settled(catalog.columns(within, dataset, name), []) : [];
}

function settled<T>(promise: Promise<T>, otherwise: T): Promise<T> {
  return promise.catch(() => otherwise);
}
