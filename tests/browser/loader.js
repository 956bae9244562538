/** Loads module.js as Grafana does, through SystemJS, with the packages that are its externals. */
export async function load(packages, DataSourcePlugin) {
  const { plugin } = await (window.System.registerDynamic ? old(packages) : now(packages));
  if (!(plugin instanceof DataSourcePlugin)) {
    throw new Error('module.js exports no data source plugin');
  }
  return plugin;
}

const MODULE = new URL('/dist/module.js', location.href).href;

function now(packages) {
  for (const [name, module] of Object.entries(packages)) {
    window.System.set(`package:${name}`, module);
  }
  window.System.addImportMap({ imports: Object.fromEntries(Object.keys(packages).map((name) => [name, `package:${name}`])) });
  return window.System.import(MODULE);
}

/** SystemJS 0.20, which @grafana/runtime of 7.5 brings itself. */
function old(packages) {
  window.System.config({ baseURL: '/', meta: { '/*': { esModule: true } } });
  for (const [name, contents] of Object.entries(packages)) {
    window.System.registerDynamic(name, [], true, (_require, _exports, module) => {
      module.exports = contents;
    });
  }
  return window.System.import(MODULE);
}
