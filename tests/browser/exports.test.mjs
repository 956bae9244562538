// Every name that the built module takes from Grafana must be there, in each line of Grafana that it is for.
import assert from 'node:assert/strict';
import { readFileSync, existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const frontend = resolve(here, '../../frontend');
const require = createRequire(resolve(frontend, 'package.json'));

/** Taken as a whole, and asked for what may be missing. */
const GUARDED = { '@grafana/data': ['CustomVariableSupport'] };

/** What a build imports, by package. */
async function imports() {
  const { rollup } = await import(pathToFileURL(require.resolve('rollup')));
  const { default: config } = await import(pathToFileURL(resolve(frontend, 'rollup.config.mjs')));
  const bundle = await rollup(config);
  const { output } = await bundle.generate(config.output);
  return output[0].importedBindings;
}

/** The names of a package's CommonJS build. */
function exportsOf(line, name) {
  const folder = resolve(here, line, 'node_modules', name);
  const files = ['index.development.js', 'dist/cjs/index.cjs', 'dist/cjs/index.js'].map((file) => resolve(folder, file));
  const file = files.find(existsSync);
  assert.ok(file, `${folder}: no CommonJS build`);
  const text = readFileSync(file, 'utf8');
  const plain = [...text.matchAll(/^\s*exports\.(\w+)\s*=/gm)].map((match) => match[1]);
  const defined = [...text.matchAll(/Object\.defineProperty\(exports, ["'](\w+)["']/g)].map((match) => match[1]);
  // An enum is defined by assignment inside of a call.
  const enums = [...text.matchAll(/\(exports\.(\w+) \|\| \(exports\.\w+ = \{\}\)\)/g)].map((match) => match[1]);
  return new Set([...plain, ...defined, ...enums]);
}

const bindings = await imports();

for (const line of ['7', '12', '13']) {
  test(`the module's imports are exports of Grafana ${line}`, () => {
    let count = 0;
    for (const name of Object.keys(bindings).filter((name) => name.startsWith('@grafana/'))) {
      const there = exportsOf(line, name);
      for (const binding of bindings[name].filter((binding) => binding !== '*')) {
        assert.ok(there.has(binding), `${name} of Grafana ${line} has no ${binding}`);
        count += 1;
      }
    }
    assert.ok(count > 15, `only ${count} imports were seen`);
  });
}

test('what is taken as a whole is only asked for what is guarded', () => {
  const whole = Object.keys(bindings).filter((name) => name.startsWith('@grafana/') && bindings[name].includes('*'));
  assert.deepEqual(whole, Object.keys(GUARDED));
  assert.match(readFileSync(resolve(frontend, 'src/variables.ts'), 'utf8'), /typeof CustomVariableSupport !== 'function'/);
});
