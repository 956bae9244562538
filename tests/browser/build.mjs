// Bundles the host page with the packages of one line of Grafana: build.mjs LINE FOLDER.
import { build } from 'esbuild';
import { copyFileSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

export async function host(line, folder) {
  mkdirSync(folder, { recursive: true });
  const modules = join(here, line, 'node_modules');
  await build({
    entryPoints: {
      host: join(here, line === '7' ? 'host7.jsx' : 'host.jsx'),
      ...(line === '7' ? {} : { 'editor.worker': 'monaco-editor/esm/vs/editor/editor.worker.js' }),
    },
    outdir: folder,
    bundle: true,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    jsx: 'transform',
    nodePaths: [modules],
    plugins: [commonJs(modules)],
    mainFields: ['module', 'browser', 'main'],
    loader: { '.ttf': 'dataurl', '.svg': 'dataurl', '.png': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.gif': 'dataurl' },
    define: { 'process.env.NODE_ENV': '"production"', global: 'window', define: 'undefined' },
    logLevel: 'error',
    minify: true,
  });
  const { version } = JSON.parse(readFileSync(join(modules, '@grafana/data/package.json'), 'utf8'));
  const system = resolve(here, 'node_modules/systemjs/dist');
  for (const [file, name] of [['system.min.js', 'system.js'], ['extras/amd.min.js', 'amd.js']]) {
    copyFileSync(join(system, file), join(folder, name));
  }
  writeFileSync(join(folder, 'index.html'), page(version));
}

/** Their CommonJS: a default import from an .mjs is read as Node would, not as the packages mean it. */
function commonJs(modules) {
  return {
    name: 'commonJs',
    setup({ onLoad, onResolve }) {
      // What packages of 7.5 ask for and do not use in a browser.
      onResolve({ filter: /^(fs|stream|tty|util|os|crypto|fast-deep-equal\/react)$/ }, ({ path }) => ({ path, namespace: 'absent' }));
      onLoad({ filter: /.*/, namespace: 'absent' }, () => ({ contents: 'module.exports = { isatty: () => false, inherits() {}, deprecate: (one) => one }' }));
      onResolve({ filter: /^@grafana\/(data|runtime|ui)$/ }, ({ path }) => {
        const { main } = JSON.parse(readFileSync(join(modules, path, 'package.json'), 'utf8'));
        return { path: realpathSync(join(modules, path, main)) };
      });
    },
  };
}

/** What the style sheet of Grafana's application gives its pages. */
const STYLE = '*, *::before, *::after { box-sizing: border-box } body { background: #111217; color: #ccccdc; font: 14px sans-serif } fieldset { border: 0; padding: 0 }';

function page(version) {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Weir in Grafana ${version}</title>
<link rel="stylesheet" href="host.css">
<style>${STYLE}main { padding: 16px; width: 1232px }</style>
<div id="root"></div>
<script>window.process = { browser: true, env: {}, argv: [], platform: 'browser', stderr: {} }; window.__grafana_public_path__ = '/public/'; window.grafanaVersion = '${version}'; window.MonacoEnvironment = { getWorkerUrl: () => 'editor.worker.js' };</script>
<script src="system.js"></script>
<script src="amd.js"></script>
<script src="host.js"></script>
</html>
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await host(process.argv[2], resolve(process.argv[3]));
}
