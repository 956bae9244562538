// Columns for ad-hoc filters: those of the tables that the page's queries read.
import { MetricFindValue } from '@grafana/data';
import { Member, Resources, Schema } from './resources';
import { backticked, path, tables } from './sql';

const LONGEST_LIST = 200;

interface Column {
  type: string;
  table: string;
  schema: Schema;
}

export class Tags {
  private readonly seen = new Set<string>();
  private readonly columns = new Map<string, Column>();

  constructor(private readonly resources: Resources) {}

  /** Remembers the tables of a query. */
  saw(sql: string): void {
    tables(sql).forEach((table) => this.seen.add(table));
  }

  typeOf(column: string): string | undefined {
    return this.columns.get(column)?.type;
  }

  async keys(): Promise<MetricFindValue[]> {
    await Promise.all([...this.seen].map((table) => this.read(table)));
    return [...this.columns.keys()].sort().map((text) => ({ text, value: text }));
  }

  /** A query for a column's values: of the last day, where its table is partitioned by time. */
  valuesSql(key: string): string | undefined {
    const column = this.columns.get(key);
    if (!column) {
      return undefined;
    }
    const time = column.schema.timePartitioning?.field ?? this.timeOf(column.schema);
    const recent = time ? ` AND ${path(time)} >= ${this.yesterday(column.schema, time)}` : '';
    return (
      `SELECT DISTINCT CAST(${path(key)} AS STRING) AS value FROM ${backticked(column.table)}\n` +
      `WHERE ${path(key)} IS NOT NULL${recent}\nORDER BY 1 LIMIT ${LONGEST_LIST}`
    );
  }

  /** A view has no partitions, but it may have their column. */
  private timeOf(schema: Schema): string | undefined {
    return schema.schema.find((member) => member.type === 'TIMESTAMP' && !member.repeated)?.name;
  }

  private yesterday(schema: Schema, time: string): string {
    const date = 'DATE_SUB(CURRENT_DATE(), INTERVAL 1 DAY)';
    const type = schema.schema.find((member) => member.name === time)?.type;
    return { DATE: date, DATETIME: `DATETIME(${date})` }[type ?? ''] ?? `TIMESTAMP(${date})`;
  }

  private async read(table: string): Promise<void> {
    const [name, dataset, named] = table.split('.').reverse();
    try {
      const project = named ?? (await this.resources.defaultProject());
      const schema = await this.resources.schema(project, dataset, name);
      flat(schema.schema, '').forEach(({ name, type }) => {
        if (!this.columns.has(name)) {
          this.columns.set(name, { type, table: `${project}.${dataset}.${table.split('.').pop()}`, schema });
        }
      });
    } catch {
      // A name that is no table, such as that of a common table expression, has no columns to offer.
    }
  }
}

/** Columns and members of columns that can be compared with a value. */
function flat(members: Member[], prefix: string): Array<{ name: string; type: string }> {
  const lists = members
    .filter((member) => !member.repeated)
    .map((member) =>
      member.schema ? flat(member.schema, `${prefix}${member.name}.`) : [{ name: prefix + member.name, type: member.type }]
    );
  return lists.reduce((all, list) => [...all, ...list], []);
}
