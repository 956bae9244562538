// Writes the boards of dashboards/ from their definitions here.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import cost from './cost.mjs';
import enrollment from './enrollment.mjs';
import overview from './overview.mjs';

/** The text of each file of dashboards/. */
export const FILES = {
  'experiment-enrollment.json': written(enrollment),
  'experiment-overview.json': written(overview),
  'weir-cost.json': written(cost),
};

function written(board) {
  return `${JSON.stringify(board, null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of Object.entries(FILES)) {
    writeFileSync(new URL(`../../dashboards/${name}`, import.meta.url), text);
  }
}
