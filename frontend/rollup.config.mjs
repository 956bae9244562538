// One AMD module for Grafana's loader, old and new; what Grafana brings itself stays outside.
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'rollup-plugin-esbuild';

const here = dirname(fileURLToPath(import.meta.url));

/** What every Grafana from 7.5 gives to plugins, of the things that we use. */
const external = ['@grafana/data', '@grafana/runtime', '@grafana/ui', 'react', 'rxjs'];

/** The import of a sibling has no ending in TypeScript. */
const siblings = {
  name: 'siblings',
  async resolveId(source, importer) {
    if (!importer || !source.startsWith('./')) {
      return null;
    }
    for (const ending of ['.ts', '.tsx']) {
      const found = await this.resolve(resolve(dirname(importer), source + ending), importer, { skipSelf: true });
      if (found) {
        return found;
      }
    }
    return null;
  },
};

export default {
  input: resolve(here, 'src/module.ts'),
  external,
  plugins: [siblings, esbuild({ jsx: 'transform', target: 'es2019', minify: true, tsconfig: false })],
  output: {
    file: resolve(process.env.WEIR_DIST ?? resolve(here, '../dist'), 'module.js'),
    format: 'amd',
    exports: 'named',
    interop: 'auto',
    sourcemap: true,
  },
  onwarn(warning) {
    throw new Error(warning.message);
  },
};
