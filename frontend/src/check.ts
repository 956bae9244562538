// A look ahead at a query: whether it is valid and what it would cost, shortly after the last key.
import { getDefaultTimeRange, TimeRange } from '@grafana/data';
import { useEffect, useState } from 'react';
import type { DataSource } from './datasource';
import { place, Position } from './place';
import { Explanation, Validation } from './resources';
import { WeirQuery } from './types';

const PAUSE_MS = 500;

export type Check =
  | { state: 'empty' | 'checking' }
  | { state: 'valid'; validation: Validation; explanation: Explanation }
  | { state: 'invalid'; message: string; position?: Position }
  | { state: 'failed'; message: string };

export async function check(source: DataSource, query: WeirQuery, range: TimeRange, intervalMs: number): Promise<Check> {
  const asked = { from: range.from.valueOf(), to: range.to.valueOf() };
  try {
    const preview = source.preview(query, intervalMs);
    const validation = await source.resources.validate(preview, asked);
    if (!validation.isValid) {
      const { position } = validation;
      const found = position && place(query.rawSql ?? '', validation.query, position);
      return { state: 'invalid', message: validation.error, position: found };
    }
    return { state: 'valid', validation, explanation: await source.resources.explain(preview, asked) };
  } catch (error) {
    return { state: 'failed', message: messageOf(error) };
  }
}

/** `intervalMs` is the panel's, where it has been run already. */
export function useCheck(source: DataSource, query: WeirQuery, range: TimeRange = getDefaultTimeRange(), intervalMs = 60_000): Check {
  const [found, setFound] = useState<Check>({ state: 'empty' });
  const { rawSql, location, project, dataset, table, format } = query;
  useEffect(() => {
    if (!rawSql?.trim()) {
      setFound({ state: 'empty' });
      return;
    }
    let isWanted = true;
    setFound({ state: 'checking' });
    const timer = setTimeout(() => {
      check(source, query, range, intervalMs).then((now) => isWanted && setFound(now));
    }, PAUSE_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
    // A range that ends now is the same after a refresh.
  }, [source, rawSql, location, project, dataset, table, format, intervalMs, JSON.stringify(query.cache), String(range.raw.from), String(range.raw.to)]);
  return found;
}

export function messageOf(error: unknown): string {
  const { data, message } = error as { data?: { message?: string }; message?: string };
  return data?.message ?? message ?? String(error);
}
