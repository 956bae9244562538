// The backend's resource routes, typed, and what they said, remembered while the page is open.
import { Cost } from './types';

/** `postResource` of a data source. */
export type Post = <T>(path: string, body: Record<string, unknown>) => Promise<T>;

export interface Member {
  name: string;
  type: string;
  repeated: boolean;
  schema?: Member[];
}

export interface Schema {
  schema: Member[];
  timePartitioning?: { type: string; field?: string };
}

export interface Validation {
  isValid: boolean;
  error: string;
  statistics: { TotalBytesProcessed: number } | null;
  /** The SQL as it would run. */
  query: string;
  bytesBilled?: number;
  price?: Cost;
  position?: { line: number; column: number };
}

export interface Explanation {
  mode: string;
  reason: string;
  bytes_processed: number;
  bytes_billed: number;
  cost: Cost;
  segments: Array<{ status: string; bytes_billed: number }>;
}

export class Resources {
  private readonly known = new Map<string, Promise<unknown>>();

  constructor(private readonly post: Post) {}

  projects(): Promise<string[]> {
    return this.once<Array<{ projectId: string }>>('projects', {}).then((list) => list.map((one) => one.projectId));
  }

  defaultProject(): Promise<string> {
    return this.once('defaultProjects', {});
  }

  datasets(project: string): Promise<string[]> {
    return this.once('datasets', { project });
  }

  tables(project: string, dataset: string): Promise<string[]> {
    return this.once('tables', { project, dataset });
  }

  columns(project: string, dataset: string, table: string): Promise<string[]> {
    return this.once('columns', { project, dataset, table });
  }

  schema(project: string, dataset: string, table: string): Promise<Schema> {
    return this.once('dataset/table/schema', { project, dataset, table });
  }

  validate(query: object, range: Range): Promise<Validation> {
    return this.post('validateQuery', { query, range });
  }

  explain(query: object, range: Range): Promise<Explanation> {
    return this.post('explain', { ...query, ...range });
  }

  async purge(): Promise<void> {
    await this.post('purge', {});
    this.known.clear();
  }

  /** Asks once; a failure is asked again. */
  private once<T>(path: string, body: Record<string, unknown>): Promise<T> {
    const key = `${path} ${JSON.stringify(body)}`;
    const before = this.known.get(key);
    if (before) {
      return before as Promise<T>;
    }
    const answer = this.post<T>(path, body);
    this.known.set(key, answer);
    answer.catch(() => this.known.delete(key));
    return answer;
  }
}

/** Times in epoch milliseconds. */
export interface Range {
  from: number;
  to: number;
}
