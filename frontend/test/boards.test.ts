import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
// @ts-expect-error The definitions are plain JavaScript.
import { FILES } from '../boards/make.mjs';

interface Panel {
  id: number;
  type: string;
  description?: string;
  datasource?: string;
  gridPos: { x: number; y: number; w: number; h: number };
}

const folder = new URL('../../dashboards/', import.meta.url);

test('dashboards/ holds what the definitions say; npm run boards writes it', () => {
  expect(readdirSync(folder).sort()).toEqual(Object.keys(FILES).sort());
  for (const [name, text] of Object.entries(FILES)) {
    expect(readFileSync(new URL(name, folder), 'utf8')).toBe(text);
  }
});

test.each(Object.entries(FILES))('%s', (_name, text) => {
  const { panels } = JSON.parse(text as string) as { panels: Panel[] };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  for (const { type, description, datasource, gridPos } of panels) {
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    if (type !== 'text') {
      // Old Grafana knows data sources by name or variable only.
      expect([datasource, Boolean(description)]).toEqual(['$datasource', true]);
    }
  }
});

test('the enrollment board has the panels of the board that it follows', () => {
  const { panels } = JSON.parse(FILES['experiment-enrollment.json']) as { panels: Panel[] };
  expect(panels.filter(({ type }) => type !== 'text')).toHaveLength(27);
});
